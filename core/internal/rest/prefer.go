package rest

import (
	"net/http"
	"strings"
)

// Preferences are what a client asked for with Prefer (RFC 7240) beyond the compatible answers. Those that were honoured are
// named in Preference-Applied.
type Preferences struct {
	// Strict (handling=strict) turns failed records into an honest HTTP status.
	Strict bool
	// Outcomes (outcomes) adds to each receipt what is known about the record and whether sending it again is safe.
	Outcomes bool
}

func parsePreferences(r *http.Request) Preferences {
	var p Preferences
	for _, header := range r.Header["Prefer"] {
		for field := range strings.SplitSeq(header, ",") {
			preference, _, _ := strings.Cut(field, ";")
			name, value, _ := strings.Cut(strings.TrimSpace(preference), "=")
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "handling":
				p.Strict = p.Strict || strings.EqualFold(strings.Trim(strings.TrimSpace(value), `"`), "strict")
			case "outcomes":
				p.Outcomes = true
			}
		}
	}
	return p
}

// applied gives the Preference-Applied header's value, empty for none.
func (p Preferences) applied() string {
	switch {
	case p.Strict && p.Outcomes:
		return "handling=strict, outcomes"
	case p.Strict:
		return "handling=strict"
	case p.Outcomes:
		return "outcomes"
	default:
		return ""
	}
}

// Apply names the preferences in the answer's header; routes that honour them call it.
func (p Preferences) Apply(w http.ResponseWriter) {
	if applied := p.applied(); applied != "" {
		w.Header().Set("Preference-Applied", applied)
	}
}
