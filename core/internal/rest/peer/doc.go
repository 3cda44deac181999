// Package peer makes several gateways one: any of them serves any consumer instance, because a call that reaches another node than
// the one that holds the instance is passed on to that, once.
//
// Where an instance is, is said by its name. A generated name and every base URI end in a signed hint of the node (hint.go). A name that
// a client chose belongs to a node that all compute alike; what is not where it would be looked for is claimed by its node, and claims
// are told to all (ownership.go). Which nodes are there is found out by pings (liveness.go). Requests are passed on by forward.go and
// taken by internal.go, over a listener of their own.
//
// What peers tell each other is signed with the secret that they share (sign.go): who asks, for which node, which method and path.
// Whoever sees such a header can send the same call again within its half minute of life; so peers.nodes are https URLs wherever
// others can see or change what goes between them.
package peer
