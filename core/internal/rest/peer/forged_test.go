package peer_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/identity"
	"github.com/weir-gateway/weir/core/internal/rest"
)

var anonymous = identity.Anonymous

func newRecorder() *httptest.ResponseRecorder { return httptest.NewRecorder() }

// capture is a node in whose place a test listens: it gives the headers that a peer signed for it.
func capture(t *testing.T, from *testNode, to string, method, target string, principal identity.Principal) string {
	t.Helper()
	r, err := http.NewRequest(method, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	return signed(t, from, to, principal, method, r.URL.RequestURI())
}

// signed makes a header as a node does that has the secret: written anew here, so that a change of what is signed is noticed.
func signed(t *testing.T, from *testNode, to string, principal identity.Principal, method, target string) string {
	t.Helper()
	derive := func(purpose string) []byte {
		h := hmac.New(sha256.New, []byte(secret))
		h.Write([]byte(purpose))
		return h.Sum(nil)
	}
	keys, err := identity.NewKeyring(identity.Key{ID: base64.RawURLEncoding.EncodeToString(derive("weir peer key id v1")[:6]), Secret: derive("weir peer key v1")})
	if err != nil {
		t.Fatal(err)
	}
	request := append([]byte{byte(len(method))}, method...)
	if len(target) > 127 {
		t.Fatal("the target is too long for this test")
	}
	request = append(append(request, byte(len(target))), target...)
	sum := sha256.Sum256(request)
	header, err := keys.Sign(identity.Statement{Principal: principal, Audience: "weir-peer", Facts: map[string]string{
		"from": from.id, "to": to, "request": base64.RawURLEncoding.EncodeToString(sum[:]), "request_id": "id-1", "base_url": "http://base", "remote": "192.0.2.1:1",
	}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return header
}

// Nothing that a client writes on its own listener makes it somebody else, or its request another.
func TestAClientGainsNothingByHeaders(t *testing.T) {
	t.Parallel()
	nodes, c := start(t, 2, nil), client(t)
	made := create(t, c, nodes[0], "g", "")
	for _, through := range nodes {
		path := made.paths[0]
		header := capture(t, nodes[1-index(nodes, through)], through.id, http.MethodGet, through.url+path, identity.Principal{ID: "admin"})
		status, a := do(t, c, http.MethodGet, through.url+path, "", "Weir-Identity", header, "Weir-Identity", header, "Weir-Forwarded", "base=http://evil",
			"X-Forwarded-For", "192.0.2.9", "X-Forwarded-Host", "evil", "Connection", "Weir-Identity, Weir-Forwarded")
		if status != http.StatusOK || a.Principal != "anonymous" || a.BaseURI != through.url || !strings.HasPrefix(a.Remote, "127.0.0.1:") {
			t.Errorf("through %s: %d %+v", through.id, status, a)
		}
		if through != nodes[0] && (strings.Contains(a.Headers, "Weir-")) {
			t.Errorf("through %s the handler sees %q", through.id, a.Headers)
		}
	}
	// A hint that was not made for this very name, or not by these nodes, is part of a plain name, which does not exist.
	path := made.paths[0]
	for _, forged := range []string{path + "A", path[:len(path)-1], strings.Replace(path, "/g/", "/h/", 1), strings.Replace(path, "generated", "Generated", 1)} {
		if status, a := do(t, c, http.MethodGet, nodes[1].url+forged, ""); status != http.StatusNotFound || a.Code != 40403 {
			t.Errorf("%s: %d %+v", forged, status, a)
		}
	}
}

func index(nodes []*testNode, one *testNode) int {
	for i, node := range nodes {
		if node == one {
			return i
		}
	}
	return -1
}

func TestTheInternalListenerBelievesPeersOnly(t *testing.T) {
	t.Parallel()
	nodes, c := start(t, 3, nil), client(t)
	to := nodes[0]
	made := create(t, c, to, "g", "")
	path := made.paths[0]
	target := to.internalURL + path
	somebody := identity.Principal{ID: "anonymous"}
	good := capture(t, nodes[1], to.id, http.MethodGet, target, somebody)
	if status, a := do(t, c, http.MethodGet, target, "", "Weir-Identity", good); status != http.StatusOK || a.BaseURI != "http://base" || a.Remote != "192.0.2.1:1" || a.Headers != "Accept-Encoding=gzip" {
		t.Fatalf("the pattern of all below: %d %+v", status, a)
	}
	other, err := identity.NewKeyring(identity.Key{ID: "k", Secret: []byte("somebody else's secret, not that of peers")})
	if err != nil {
		t.Fatal(err)
	}
	strange, err := other.Sign(identity.Statement{Principal: somebody, Audience: "weir-peer"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	stranger := &testNode{id: "n9"}
	for name, request := range map[string]struct {
		method, path string
		headers      []string
	}{
		"no header":                  {http.MethodGet, path, nil},
		"two headers":                {http.MethodGet, path, []string{good, good}},
		"an empty header":            {http.MethodGet, path, []string{""}},
		"somebody else's key":        {http.MethodGet, path, []string{strange}},
		"another path":               {http.MethodGet, path + "/wait", []string{good}},
		"another query":              {http.MethodGet, path + "?a", []string{good}},
		"another method":             {http.MethodDelete, path, []string{good}},
		"a turned byte":              {http.MethodGet, path, []string{good[:len(good)-1] + string(good[len(good)-1]^1)}},
		"meant for another node":     {http.MethodGet, path, []string{capture(t, nodes[1], nodes[2].id, http.MethodGet, target, somebody)}},
		"from nobody":                {http.MethodGet, path, []string{capture(t, stranger, to.id, http.MethodGet, target, somebody)}},
		"from itself":                {http.MethodGet, path, []string{capture(t, to, to.id, http.MethodGet, target, somebody)}},
		"a ping with a call's":       {http.MethodGet, "/peer/ping", []string{capture(t, nodes[1], to.id, http.MethodGet, to.internalURL+"/peer/ping", somebody)}},
		"claims without a header":    {http.MethodGet, "/peer/claims", nil},
		"a claim with a call's":      {http.MethodPost, "/peer/claims", []string{capture(t, nodes[1], to.id, http.MethodPost, to.internalURL+"/peer/claims", somebody)}},
		"a ping without a header":    {http.MethodGet, "/peer/ping", nil},
		"no client's request at all": {http.MethodPost, "/consumers/g", nil},
	} {
		r, err := http.NewRequest(request.method, to.internalURL+request.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, header := range request.headers {
			r.Header.Add("Weir-Identity", header)
		}
		response, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %s", name, response.Status)
		}
	}
}

// A node with another secret is no peer: it is told apart from one that is down by what the log says.
func TestANodeWithAnotherSecret(t *testing.T) {
	t.Parallel()
	nodes := start(t, 2, nil)
	nodes[1].kill()
	settings := *nodes[1].settings
	settings.Peers.Secret = "a secret that somebody has mistyped, alas"
	nodes[1].settings = &settings
	nodes[1].restart()
	eventually(t, func() bool { return strings.Contains(nodes[1].log.String(), "does not accept our signature") })
	c := client(t)
	made := create(t, c, nodes[0], "g", "")
	if status, a := do(t, c, http.MethodGet, nodes[1].url+made.paths[0], ""); status != http.StatusNotFound || a.Code != 40403 {
		t.Errorf("%d %+v", status, a)
	}
	for i := range 10 {
		create(t, c, nodes[i%2], "g", rest.UUID()) // each on its own
	}
}

func TestAMaskedSecretIsNoSecret(t *testing.T) {
	t.Parallel()
	settings := config.Default()
	settings.Peers = config.Peers{NodeID: "a", Secret: "***", Nodes: map[string]string{"a": "http://a", "b": "http://b"}}
	if err := newPeers(&settings); err == nil {
		t.Error("a masked secret is taken")
	}
}
