package rest

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/weir-gateway/weir/core/config"
)

// links writes absolute URLs: with the advertised base for the request's scheme if there is one, else with the request's own
// scheme and Host. Segments are not percent-encoded, as clients of the REST Proxy expect.
type links struct {
	advertised map[string]string // scheme → base without a trailing slash
}

func newLinks(api config.API) links {
	l := links{advertised: map[string]string{}}
	for _, base := range api.AdvertisedURLs {
		if u, err := url.Parse(base); err == nil {
			l.advertised[u.Scheme] = strings.TrimRight(base, "/")
		}
	}
	return l
}

// base gives the URL that paths are appended to.
func (l links) base(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	if base, found := l.advertised[scheme]; found {
		return base
	}
	return scheme + "://" + r.Host
}
