package kafka

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/weir-gateway/weir/core/config"
)

// TestTokenURLStaysSecret: a user and a query may be part of it, and errors go to logs and to /ready.
func TestTokenURLStaysSecret(t *testing.T) {
	t.Parallel()
	var body string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
	gone := httptest.NewServer(http.NotFoundHandler())
	goneHost := strings.TrimPrefix(gone.URL, "http://")
	gone.Close()
	defer server.Close()
	for _, c := range []struct{ name, url, names string }{
		{"nothing listens", "http://user:hidden-1@" + goneHost + "/token?key=hidden-2", goneHost + "/token"},
		{"no token in the answer", strings.Replace(server.URL, "http://", "http://user:hidden-1@", 1) + "/token?key=hidden-2", "/token"},
		{"not https", "http://user:hidden-1@id.example/token?key=hidden-2", "http://id.example/token"},
		{"no URL", "https://user:hidden-1@id.example:port/?hidden-2", "token_url"},
	} {
		s, err := newTokenSource(config.OAuth{TokenURL: c.url, ClientID: "a", ClientSecret: "b"}, time.Second)
		if err == nil {
			_, err = s.Token()
		}
		if err == nil || strings.Contains(err.Error(), "hidden") || !strings.Contains(err.Error(), c.names) {
			t.Errorf("%s: %v; want it to name %s and no secret", c.name, err, c.names)
		}
	}
}
