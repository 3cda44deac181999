// Package load sends requests to an HTTP server and measures how it answers, at as little cost to the computer as a Go
// program can manage: generator and server share its cores, so what the one burns the other lacks.
//
// It speaks just enough HTTP/1.1 for that, over plain connections: requests are bytes made beforehand, and of an answer only
// the status, the length and – every so often – the entries are looked at. Requests (Requests) and record streams (Streams)
// bring records, Reads takes them out with consumer instances. Each is driven closed, where every connection has one request
// outstanding, or, for requests, open, at a fixed rate with latencies counted from the instant at which a request was due, so
// that a server that stalls cannot make its own measurement look better.
//
// Drive brings work, warm-up and window together and calls back at both ends of the window, for the caller to read the
// server's CPU time at the very instants between which requests were counted.
package load
