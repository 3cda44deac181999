package conformance

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxResponse bounds what is read of one response.
const maxResponse = 64 << 20

// newClient makes a client that speaks one version of HTTP and shows answers as they are: no redirect is followed, nothing is
// decompressed.
func newClient(http2 bool) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	protocols.SetUnencryptedHTTP2(http2)
	return &http.Client{
		Transport:     &http.Transport{Protocols: protocols, DisableCompression: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// newRequest makes a request whose path is sent exactly as the case spells it.
func (a *attempt) newRequest(ctx context.Context, r *request, body io.Reader, length int64) (*http.Request, error) {
	path, query, hasQuery := strings.Cut(a.run.base.Path+string(r.Path), "?")
	decoded, err := url.PathUnescape(path)
	if err != nil {
		return nil, fmt.Errorf("path %s: %w; send it as raw bytes", trim(path, shownHeader), err)
	}
	made, err := http.NewRequestWithContext(ctx, r.Method, a.run.base.Scheme+"://"+a.run.base.Host, body)
	if err != nil {
		return nil, err
	}
	made.URL.Path, made.URL.RawPath, made.URL.RawQuery, made.URL.ForceQuery = decoded, path, query, hasQuery && query == ""
	if sent := made.URL.RequestURI(); sent != path && !strings.HasPrefix(sent, path+"?") {
		return nil, fmt.Errorf("path %s would be sent as %s; send it as raw bytes", trim(path, shownHeader), trim(sent, shownHeader))
	}
	made.ContentLength = length
	made.Header.Set("User-Agent", "weir-conformance")
	for name, values := range a.run.target.Header {
		made.Header[name] = values
	}
	if r.Type != "" {
		made.Header.Set("Content-Type", mediaType(r.Type))
	}
	if r.Accept != "" {
		made.Header.Set("Accept", mediaType(r.Accept))
	}
	for name, value := range r.Headers {
		values, err := headerValues(value)
		if err != nil {
			return nil, fmt.Errorf("header %s: %w", name, err)
		}
		if strings.EqualFold(name, "Host") {
			made.Host = values[0]
			continue
		}
		made.Header[http.CanonicalHeaderKey(name)] = values
	}
	return made, nil
}

// headerValues reads a header's value: OCTETS, or a list of strings for a repeated field.
func headerValues(value json.RawMessage) ([]string, error) {
	var list []string
	if json.Unmarshal(value, &list) == nil && len(list) > 0 {
		return list, nil
	}
	var one octets
	if err := json.Unmarshal(value, &one); err != nil {
		return nil, err
	}
	return []string{string(one)}, nil
}

// content gives the request's body, and its length, which is -1 when it is not told.
func (r *request) content() (io.Reader, []byte, int64) {
	var body []byte
	switch {
	case r.JSON != nil:
		body = r.JSON
	case r.Body != nil:
		body = *r.Body
	default:
		return http.NoBody, nil, 0
	}
	if r.Chunked {
		return io.MultiReader(bytes.NewReader(body)), body, -1 // a reader whose length the client cannot see
	}
	if len(body) == 0 {
		return http.NoBody, nil, 0
	}
	return bytes.NewReader(body), body, int64(len(body))
}

// send makes one request and holds the answer against what is wanted, or against an alternative.
func (a *attempt) send(ctx context.Context, s *step) []string {
	body, sent, length := s.Send.content()
	made, err := a.newRequest(ctx, s.Send, body, length)
	if err != nil {
		return []string{err.Error()}
	}
	e := &exchange{request: made, sent: sent}
	a.exchanges = append(a.exchanges, e)
	began := time.Now()
	response, err := a.client().Do(made)
	if err != nil {
		e.note = err.Error()
		return []string{"no response: " + err.Error()}
	}
	defer response.Body.Close()
	e.response = response
	e.received, err = io.ReadAll(io.LimitReader(response.Body, maxResponse))
	if err != nil {
		e.note = "the response broke off: " + err.Error()
		return []string{e.note}
	}
	if a.run.options.Observe != nil {
		a.run.options.Observe(response, e.received)
	}
	want := a.wanted(s)
	problems := append(want.problems(response, e.received), want.Took.problems(time.Since(began))...)
	for _, other := range s.Also {
		if other.Want != nil && len(problems) > 0 && len(other.Want.problems(response, e.received)) == 0 {
			problems = nil
		}
	}
	problems = append(problems, invariants(a.run.target.Features, response, e.received)...)
	if len(problems) == 0 {
		problems = a.capture(s.Capture, response, e.received, s.Gather != nil)
	}
	return problems
}

// wanted gives the step's expectation, or the one declared for a trait of the target.
func (a *attempt) wanted(s *step) *expectation {
	for _, trait := range a.run.target.Traits {
		if d, ok := s.On[trait]; ok && d.Want != nil {
			return d.Want
		}
	}
	return s.Want
}

// capture takes values out of an answer for the steps that follow. When keep is set a header that the answer does not have leaves
// the value as it is.
func (a *attempt) capture(names map[string]string, response *http.Response, body []byte, keep bool) []string {
	for name, place := range names {
		if header, ok := strings.CutPrefix(place, "header:"); ok {
			if response.Header.Get(header) == "" && keep && a.vars[name] != nil {
				continue
			}
			if response.Header.Get(header) == "" {
				return []string{fmt.Sprintf("capture %s: no header %s", name, header)}
			}
			a.vars.set(name, response.Header.Get(header))
			continue
		}
		value, err := valueAt(body, place)
		if err != nil {
			return []string{fmt.Sprintf("capture %s: %v", name, err)}
		}
		a.vars[name] = value
	}
	return nil
}

// valueAt gives the JSON value at a place like $.data[0].cluster_id.
func valueAt(body []byte, place string) (json.RawMessage, error) {
	value := json.RawMessage(body)
	steps := strings.FieldsFunc(strings.TrimPrefix(place, "$"), func(r rune) bool { return r == '.' || r == '[' || r == ']' })
	for _, step := range steps {
		var object map[string]json.RawMessage
		var list []json.RawMessage
		var index int
		switch {
		case json.Unmarshal(value, &object) == nil && object[step] != nil:
			value = object[step]
		case json.Unmarshal(value, &list) == nil && json.Unmarshal([]byte(step), &index) == nil && index >= 0 && index < len(list):
			value = list[index]
		default:
			return nil, fmt.Errorf("nothing at %s, step %q", place, step)
		}
	}
	return value, nil
}
