package config

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a value that never prints: every way of formatting it gives "***" (or nothing when it is empty). Reveal gives
// the value, and is called only where it is handed to the other side.
//
// Three ways round cannot be closed here: fmt calls no methods on what it finds in unexported fields, so a struct that keeps
// a Secret in one of those must not be printed as a whole; it calls none under %p, which vet refuses; and encoding/json calls
// none on the keys of a map.
type Secret string

const masked = "***"

func (s Secret) mask() string {
	if s == "" {
		return ""
	}
	return masked
}

// Reveal gives the secret itself.
func (s Secret) Reveal() string { return string(s) }

// Format masks the secret under every verb, also those that ignore String, such as %d.
func (s Secret) Format(state fmt.State, _ rune) {
	// State writes into a buffer of fmt, which cannot fail; Format has no way to say so if it could.
	_, _ = io.WriteString(state, s.mask())
}

// String masks the secret.
func (s Secret) String() string { return s.mask() }

// GoString masks the secret under %#v.
func (s Secret) GoString() string { return s.mask() }

// LogValue masks the secret in logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.mask()) }

// MarshalText masks the secret in JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.mask()), nil }
