// Package conformance is a black-box test suite for the Confluent REST API (v2 and v3) and for Weir's own extensions of it.
//
// It knows an HTTP client and a base URL, nothing of the server behind it, so that one suite holds a core in the same
// process, a weir binary, a gateway in front of either, and any other server that claims the same API. What it needs of
// Kafka – making topics, reading back what was produced, injecting faults – it asks of an Env, which the caller implements;
// without one, the cases that need it are reported as not supported, apart from those that passed.
//
// Cases are data: YAML files under cases/, one suite a file, checked against case.schema.json. A case states what it needs
// (features), what it sends, what must come back and what must then be in Kafka, byte for byte. Where the API leaves room, a
// case lists the allowed alternatives with their reason; where a broker or a product is known to differ, it says so; where a
// target fails today, the target's known-failing list says so, and a known failure that passes fails the run.
// The file coverage.yaml ties the behavioural reference's rows and error codes to cases.
package conformance
