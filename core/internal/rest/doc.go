// Package rest is the road that every request takes: request id → recover → limits → identity → route → Bind → policy →
// quota → Serve → error writer. It owns what all APIs share – the route table's type, content negotiation, body limits, the
// error writers, links – and knows no API in particular; those are the packages v2 and v3 below it.
//
// A Route is data and one function, Bind, which reads and bounds the request, validates its names, and gives back the
// Operation (what policy is asked about) and a Serve function (what is done if policy agrees). Only the Handler stands between
// the two, and Kafka is reachable only through the Grant that it makes there, so no handler can forget to ask.
//
// Where to look: handler.go the chain; route.go the table's type; request.go bodies and their bounds; negotiate.go media
// types; errors.go what each fault looks like on the wire; access.go allow and block lists; grant.go what a handler may do.
package rest
