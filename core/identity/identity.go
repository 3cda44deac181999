// Package identity says who a caller is. It imports the standard library only, because it is linked into gateways whose own
// dependencies must not be disturbed.
//
// A Principal is only ever made from something that was verified; nothing in it comes from a header that a client could have
// written. A core without a gateway in front serves everyone as Anonymous.
package identity

// Principal is a caller.
type Principal struct {
	// ID names the caller in logs, policies and bills.
	ID string
}

// Anonymous is the caller of a core that asks nobody who they are.
var Anonymous = Principal{ID: "anonymous"}
