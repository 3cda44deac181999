package conformance

import (
	"fmt"
	"net/http"
	"sort"
	"strings"
	"unicode/utf8"
)

// An exchange is one request and what came back, kept to be shown when a case fails.
type exchange struct {
	request  *http.Request // nil for raw bytes
	sent     []byte
	response *http.Response // nil: none came
	received []byte
	note     string // what happened instead of, or beside, a response
}

// How much of a body a person is shown.
const (
	shownBody   = 1500
	shownHeader = 300
)

// String writes the exchange as people write HTTP: > for what was sent, < for what came back.
func (e *exchange) String() string {
	var b strings.Builder
	if e.request != nil {
		fmt.Fprintf(&b, "> %s %s %s\n", e.request.Method, trim(e.request.URL.RequestURI(), shownHeader), e.request.Proto)
		writeHeader(&b, "> ", e.request.Header)
	}
	writeBody(&b, "> ", e.sent)
	if e.response != nil {
		fmt.Fprintf(&b, "< %s %s\n", e.response.Proto, e.response.Status)
		writeHeader(&b, "< ", e.response.Header)
		writeBody(&b, "< ", e.received)
		writeHeader(&b, "< (trailer) ", e.response.Trailer)
	} else {
		writeBody(&b, "< ", e.received)
	}
	if e.note != "" {
		fmt.Fprintf(&b, "! %s\n", e.note)
	}
	return b.String()
}

func writeHeader(b *strings.Builder, mark string, header http.Header) {
	names := make([]string, 0, len(header))
	for name := range header {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		for _, value := range header[name] {
			fmt.Fprintf(b, "%s%s: %s\n", mark, name, trim(value, shownHeader))
		}
	}
}

func writeBody(b *strings.Builder, mark string, body []byte) {
	if len(body) == 0 {
		return
	}
	text := string(body)
	if !utf8.ValidString(text) || strings.ContainsFunc(text, isControl) {
		text = fmt.Sprintf("%q", trim(text, shownBody))
	} else {
		text = trim(text, shownBody)
	}
	for line := range strings.Lines(text) {
		b.WriteString(mark + strings.TrimRight(line, "\r\n") + "\n")
	}
}

func isControl(r rune) bool {
	return r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == 0x7f
}
