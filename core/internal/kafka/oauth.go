package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/config"
)

// tokenSource gets OAUTHBEARER tokens by the client-credentials grant and keeps one until it is nearly used up, so that a
// reconnect of many connections costs one request.
type tokenSource struct {
	settings config.OAuth
	place    string // token_url as errors may show it
	client   *http.Client
	now      func() time.Time

	mu      sync.Mutex
	token   string
	renew   time.Time // from here on a new one is asked for
	expires time.Time // until here the old one serves when none can be had
}

func newTokenSource(settings config.OAuth, timeout time.Duration) (*tokenSource, error) {
	endpoint, err := url.Parse(settings.TokenURL)
	if err != nil || endpoint.Host == "" { // what cannot be taken apart may hold a secret anywhere
		return nil, errors.New("sasl.oauth.token_url is not an absolute URL")
	}
	place := (&url.URL{Scheme: endpoint.Scheme, Host: endpoint.Host, Path: endpoint.Path}).String() // no user, no query: they may be secret
	if endpoint.Scheme != "https" && !(endpoint.Scheme == "http" && isLoopback(endpoint.Hostname())) {
		return nil, fmt.Errorf("sasl.oauth.token_url %q must be https: it takes the client secret", place)
	}
	if settings.ClientID == "" || settings.ClientSecret == "" {
		return nil, errors.New("sasl.mechanism is OAUTHBEARER, which needs sasl.oauth.client_id and sasl.oauth.client_secret")
	}
	return &tokenSource{
		settings: settings,
		place:    place,
		now:      time.Now,
		// A transport of its own: no idle connection outlives a token request. A redirect would carry the secret elsewhere.
		client: &http.Client{
			Timeout:       timeout,
			Transport:     &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Token is called by sarama for each connection that it authenticates.
func (s *tokenSource) Token() (*sarama.AccessToken, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if s.token == "" || !now.Before(s.renew) {
		token, lifetime, err := s.fetch()
		switch {
		case err == nil:
			s.token, s.expires = token, now.Add(lifetime)
			s.renew = now.Add(lifetime * 4 / 5)
		case s.token == "" || !now.Before(s.expires):
			return nil, err
		}
	}
	return &sarama.AccessToken{Token: s.token, Extensions: s.settings.Extensions}, nil
}

const (
	maxTokenAnswer       = 1 << 20
	defaultTokenLifetime = 5 * time.Minute // RFC 6749 §5.1 only recommends expires_in
)

func (s *tokenSource) fetch() (token string, lifetime time.Duration, err error) {
	form := url.Values{"grant_type": {"client_credentials"}}
	if len(s.settings.Scopes) > 0 {
		form.Set("scope", strings.Join(s.settings.Scopes, " "))
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.client.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.settings.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, fmt.Errorf("sasl.oauth: %w", err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	// RFC 6749 §2.3.1: both parts are form-encoded before they go into Basic.
	request.SetBasicAuth(url.QueryEscape(s.settings.ClientID), url.QueryEscape(s.settings.ClientSecret.Reveal()))
	response, err := s.client.Do(request)
	if err != nil {
		var whole *url.Error
		if errors.As(err, &whole) {
			err = whole.Err // without the URL
		}
		return "", 0, fmt.Errorf("sasl.oauth: no token from %s: %w", s.place, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxTokenAnswer))
	if err != nil {
		return "", 0, fmt.Errorf("sasl.oauth: token answer of %s: %w", s.place, err)
	}
	var answer struct {
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"`
		Error       string  `json:"error"`
		Description string  `json:"error_description"`
	}
	parseErr := json.Unmarshal(body, &answer)
	if response.StatusCode != http.StatusOK {
		return "", 0, fmt.Errorf("sasl.oauth: %s answered %s %s %s; check client_id, client_secret and scopes",
			s.place, response.Status, answer.Error, answer.Description)
	}
	if parseErr != nil || answer.AccessToken == "" {
		return "", 0, fmt.Errorf("sasl.oauth: %s answered without an access_token", s.place)
	}
	lifetime = time.Duration(answer.ExpiresIn * float64(time.Second))
	if lifetime <= 0 {
		lifetime = defaultTokenLifetime
	}
	return answer.AccessToken, lifetime, nil
}
