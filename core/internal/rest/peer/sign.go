package peer

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/weir-gateway/weir/core/identity"
)

// The audiences: a header for one use is worth nothing for the other.
const (
	callAudience  = "weir-peer"         // a client's request that is passed on
	talkAudience  = "weir-peer-control" // pings and claims
	talkPrincipal = "peer"              // who asks there
)

// The facts that are signed beside the principal.
const (
	factFrom      = "from"       // the node that signs
	factTo        = "to"         // the node that it is meant for
	factRequest   = "request"    // hash of method and target
	factBody      = "body"       // hash of the body, of control messages only
	factRequestID = "request_id" // the four below: of calls only
	factBaseURL   = "base_url"
	factRemote    = "remote"
)

// signer signs for one node and verifies what others signed for it.
type signer struct {
	self  string
	peers map[string]*node
	keys  *identity.Keyring
}

// newKeyring has the id of each key from its secret, so that nodes agree on it whichever of two secrets is the current one.
func newKeyring(secrets ...string) (*identity.Keyring, error) {
	keys := make([]identity.Key, len(secrets))
	for i, secret := range secrets {
		id := base64.RawURLEncoding.EncodeToString(derive(secret, "weir peer key id v1")[:6])
		keys[i] = identity.Key{ID: id, Secret: derive(secret, "weir peer key v1")}
	}
	return identity.NewKeyring(keys...)
}

// hash stands for texts in a statement.
func hash(texts ...string) string {
	sum := sha256.Sum256(joined(texts...))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// sign gives the header for a request to a node. facts are what is to be told beside where it goes and comes from.
func (s *signer) sign(audience, to string, principal identity.Principal, method, target string, facts map[string]string) (string, error) {
	facts[factFrom], facts[factTo], facts[factRequest] = s.self, to, hash(method, target)
	return s.keys.Sign(identity.Statement{Principal: principal, Audience: audience, Facts: facts}, time.Now())
}

// verify gives what a request's header says, and takes the header away.
func (s *signer) verify(r *http.Request, audience string) (identity.Statement, error) {
	values := r.Header.Values(identity.Header)
	r.Header.Del(identity.Header)
	if len(values) != 1 {
		return identity.Statement{}, fmt.Errorf("it has %d headers %s", len(values), identity.Header)
	}
	statement, _, err := s.keys.Verify(values[0], audience, time.Now())
	switch {
	case err != nil:
		return identity.Statement{}, err
	case statement.Facts[factTo] != s.self:
		return identity.Statement{}, fmt.Errorf("it is meant for node %q", statement.Facts[factTo])
	case s.peers[statement.Facts[factFrom]] == nil:
		return identity.Statement{}, fmt.Errorf("it comes from %q, which is no other node of peers.nodes", statement.Facts[factFrom])
	case statement.Facts[factRequest] != hash(r.Method, r.RequestURI):
		return identity.Statement{}, errors.New("it was signed for another request")
	}
	return statement, nil
}
