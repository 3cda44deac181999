package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// problems holds a response with its whole body against the expectation and says what differs.
func (want *expectation) problems(response *http.Response, body []byte) []string {
	var all []string
	if response.StatusCode != want.Status {
		all = append(all, fmt.Sprintf("status: want %d, got %d", want.Status, response.StatusCode))
	}
	all = append(all, want.headProblems(response)...)
	all = append(all, fieldProblems("trailer", want.Trailers, response.Trailer)...)
	if want.JSON != nil {
		all = append(all, matchJSON(want.JSON, body)...)
	}
	if want.Receipts != nil {
		all = append(all, receiptProblems(want.Receipts, body)...)
	}
	if want.Body != nil && !bytes.Equal(*want.Body, body) {
		all = append(all, fmt.Sprintf("body: want %q, got %q", trim(string(*want.Body), 300), trim(string(body), 300)))
	}
	if want.Matches != "" && !regexp.MustCompile(want.Matches).Match(body) {
		all = append(all, fmt.Sprintf("body: want a match of %s, got %q", want.Matches, trim(string(body), 300)))
	}
	return all
}

// problems says whether something took less or more time than it may.
func (s *span) problems(took time.Duration) []string {
	switch {
	case s == nil:
		return nil
	case took < time.Duration(s.Least):
		return []string{fmt.Sprintf("took %s, want at least %s", took.Round(time.Millisecond), time.Duration(s.Least))}
	case s.Most > 0 && took > time.Duration(s.Most):
		return []string{fmt.Sprintf("took %s, want at most %s", took.Round(time.Millisecond), time.Duration(s.Most))}
	default:
		return nil
	}
}

// headProblems holds what is known before the body against the expectation.
func (want *expectation) headProblems(response *http.Response) []string {
	var all []string
	if want.Type != "" {
		got := response.Header.Get("Content-Type")
		parsed, _, err := mime.ParseMediaType(got)
		switch {
		case want.Type == matchAbsent && got != "":
			all = append(all, fmt.Sprintf("Content-Type: want none, got %s", got))
		case want.Type != matchAbsent && (err != nil || parsed != mediaType(want.Type)):
			all = append(all, fmt.Sprintf("Content-Type: want %s, got %q", mediaType(want.Type), got))
		}
	}
	return append(all, fieldProblems("header", want.Headers, response.Header)...)
}

// fieldProblems holds header or trailer fields against matchers. A repeated field is seen as one, its values joined by ", ".
func fieldProblems(kind string, want map[string]string, got http.Header) []string {
	var all []string
	for _, name := range sortedKeys(want) {
		values := got.Values(name)
		joined := strings.Join(values, ", ")
		switch matcher := want[name]; {
		case matcher == matchAbsent && len(values) > 0:
			all = append(all, fmt.Sprintf("%s %s: want none, got %q", kind, name, joined))
		case matcher == matchAbsent:
		case len(values) == 0:
			all = append(all, fmt.Sprintf("%s %s: want %q, got none", kind, name, matcher))
		case joined != matcher && !matchesPattern(matcher, joined):
			all = append(all, fmt.Sprintf("%s %s: want %q, got %q", kind, name, matcher, joined))
		}
	}
	return all
}

// receiptProblems reads a body as JSON values one after another and holds them against the expectation as an array.
func receiptProblems(want json.RawMessage, body []byte) []string {
	decoder := json.NewDecoder(bytes.NewReader(body))
	receipts := []json.RawMessage{}
	for {
		var receipt json.RawMessage
		err := decoder.Decode(&receipt)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return []string{fmt.Sprintf("receipt %d is not JSON: %v", len(receipts)+1, err)}
		}
		receipts = append(receipts, receipt)
	}
	list, err := marshal(receipts)
	if err != nil {
		return []string{err.Error()}
	}
	return matchJSON(want, list)
}

var requestID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// invariants are what holds for every answer of a target with a feature, whatever the case is about.
func invariants(targetFeatures []Feature, response *http.Response, body []byte) []string {
	if !slices.Contains(targetFeatures, Weir) {
		return nil
	}
	var all []string
	if ids := response.Header.Values("Weir-Request-Id"); len(ids) != 1 || !requestID.MatchString(ids[0]) {
		all = append(all, fmt.Sprintf("header Weir-Request-Id: want one of 1 to 64 letters, digits, - and _, got %q", ids))
	}
	for name, values := range response.Header {
		for _, value := range values {
			if strings.ContainsFunc(value, isControl) {
				all = append(all, fmt.Sprintf("header %s holds a control character: %q", name, value))
			}
		}
	}
	if response.StatusCode >= http.StatusBadRequest && len(body) > 0 {
		all = append(all, errorShapeProblems(response, body)...)
	}
	return all
}

// errorShapeProblems holds an error's body against the one shape that every error has: {error_code, message}, or RFC 9457's
// with the same code; or, of a produce that answers 401 or 403, the ordinary body of offsets.
func errorShapeProblems(response *http.Response, body []byte) []string {
	var e struct {
		Code    json.Number     `json:"error_code"`
		Message *string         `json:"message"`
		Type    string          `json:"type"`
		Status  int             `json:"status"`
		Offsets json.RawMessage `json:"offsets"`
	}
	parsed, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if err := json.Unmarshal(body, &e); err != nil {
		return []string{fmt.Sprintf("an error's body that is not the JSON of errors: %v", err)}
	}
	_, err := strconv.Atoi(e.Code.String())
	switch {
	case parsed == "application/problem+json":
		if !strings.HasPrefix(e.Type, "urn:weir:error:") || e.Status != response.StatusCode || err != nil {
			return []string{"problem+json: want type urn:weir:error:…, status as sent and error_code"}
		}
	case e.Offsets != nil && (response.StatusCode == http.StatusUnauthorized || response.StatusCode == http.StatusForbidden):
	case err != nil || e.Message == nil:
		return []string{"an error's body without error_code and message"}
	}
	return nil
}
