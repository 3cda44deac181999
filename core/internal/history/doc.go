// Package history loads a gateway with records that can be told apart, keeps what the gateway said about each of them, and
// compares that with what lies in the topics afterwards.
//
// Load speaks to a gateway over HTTP as clients do: single records and lists through the v2 API, streams on HTTP/1.1 and on
// HTTP/2 and batches through the v3 API, with connections cut at random in the middle of requests and of answers. It asks
// for outcomes (Prefer: outcomes) and writes every record and every answer into a History. ReadLog reads the topics with
// franz-go, which shares no code with the gateway, and Check holds the one against the other: a Report counts each way in
// which a gateway can break its word.
//
// A record is sent at most once. Whoever was cut off before the answer knows nothing, and neither presence nor absence of
// such a record is held against the gateway.
package history
