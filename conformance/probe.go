package conformance

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Probe finds out what a server that is not known has: which APIs, which versions of HTTP, and whether it is Weir. What
// cannot be seen from outside is assumed: a server on http is taken to be reached by raw sockets, and Weir to enforce its
// limits. The error is for a server that does not answer at all.
func Probe(ctx context.Context, target Target) ([]Feature, error) {
	p := &prober{target: &target, client: newClient(false)}
	defer p.client.CloseIdleConnections()
	if target.Client != nil {
		p.client = target.Client
	}
	var found []Feature
	response, err := p.ask(ctx, p.client, "/", "v2")
	if err != nil {
		return nil, fmt.Errorf("%s does not answer: %w", target.BaseURL, err)
	}
	found = append(found, H1)
	if response.StatusCode == http.StatusOK {
		found = append(found, V2)
	}
	if response, err := p.ask(ctx, p.client, "/", "application/vnd.kafka.v1+json"); err == nil && response.StatusCode == http.StatusOK {
		found = append(found, V1)
	}
	isWeir := response.Header.Get("Weir-Request-Id") != ""
	if response, err := p.ask(ctx, p.client, "/v3/clusters", "v3"); err == nil && response.StatusCode == http.StatusOK {
		found = append(found, V3, Duplex, TopicAdmin)
	}
	client2 := newClient(true)
	defer client2.CloseIdleConnections()
	if response, err := p.ask(ctx, client2, "/", "*/*"); err == nil && response.ProtoMajor == 2 {
		found = append(found, H2)
	}
	if base, err := url.Parse(target.BaseURL); err == nil && base.Scheme == "http" {
		found = append(found, Raw)
	}
	if isWeir {
		found = append(found, Weir, Limits)
	}
	return found, nil
}

type prober struct {
	target *Target
	client *http.Client
}

func (p *prober) ask(ctx context.Context, client *http.Client, path, accept string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(p.target.BaseURL, "/")+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	for name, values := range p.target.Header {
		request.Header[name] = values
	}
	request.Header.Set("Accept", mediaType(accept))
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(response.Body, maxResponse))
	return response, err
}
