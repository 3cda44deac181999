// Package identity says who a caller is, and carries that from one process to another in a signed header. It imports the standard
// library only, because it is linked into gateways whose own dependencies must not be disturbed.
//
// A Principal is only ever made from something that was verified; nothing in it comes from a header that a client could have
// written. A core without a gateway in front serves everyone as Anonymous.
//
// The header is Weir-Identity: v1.<key id>.<base64url JSON>.<base64url HMAC-SHA256>. Whoever signs holds a key, whoever verifies has
// a Keyring of all keys that it trusts; the id of the key says who signed. A header lives for half a minute and may be seen and sent
// again in that time: what must not be repeated is bound into it as a Fact that the verifier compares, such as the request's path.
package identity

// Header is the name of the header that carries a signed Statement.
const Header = "Weir-Identity"

// Principal is a caller. Fields may be added; a verifier that does not know a field refuses the statement, since the field might
// say what the caller must not do.
type Principal struct {
	// ID names the caller in logs, policies and bills. It is never empty.
	ID string `json:"id"`
}

// Anonymous is the caller of a core that asks nobody who they are.
var Anonymous = Principal{ID: "anonymous"}
