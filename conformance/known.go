package conformance

import (
	"bufio"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

//go:embed known
var knownFiles embed.FS

// A KnownFailure says that the cases whose ids match fail on a target today, and why. They are run all the same: one that
// passes fails the run, and so does a pattern that matches no case, so that the list cannot rot.
type KnownFailure struct {
	// Pattern is a case id in which * stands for any text.
	Pattern string
	// Reason is why, and what would end it.
	Reason string
}

// KnownFailures gives the list that comes with the suite for a target, known/<target>.txt. A target without one has none.
func KnownFailures(target string) ([]KnownFailure, error) {
	file, err := knownFiles.Open("known/" + target + ".txt")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return ParseKnownFailures("known/"+target+".txt", file)
}

// ParseKnownFailures reads a list: a line for each, PATTERN # REASON; empty lines and lines that begin with # are skipped. An
// error names the file and line.
func ParseKnownFailures(name string, text io.Reader) ([]KnownFailure, error) {
	var list []KnownFailure
	lines := bufio.NewScanner(text)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		pattern, reason, _ := strings.Cut(line, "#")
		pattern, reason = strings.TrimSpace(pattern), strings.TrimSpace(reason)
		if len(reason) < 10 {
			return nil, fmt.Errorf("%s:%d: %s has no reason: write PATTERN # REASON", name, n, pattern)
		}
		list = append(list, KnownFailure{Pattern: pattern, Reason: reason})
	}
	return list, lines.Err()
}

// MatchID reports whether a pattern, in which * stands for any text, matches a whole case id, with or without the suffix of
// its HTTP version.
func MatchID(pattern, id string) bool {
	parts := strings.Split(pattern, "*")
	return matchParts(parts, id) || matchParts(parts, strings.TrimSuffix(id, "@h2"))
}

// matchParts reports whether text is the parts in their order with any text between them.
func matchParts(parts []string, text string) bool {
	if len(parts) == 1 {
		return text == parts[0]
	}
	text, ok := strings.CutPrefix(text, parts[0])
	if !ok {
		return false
	}
	last := len(parts) - 1
	for _, part := range parts[1:last] {
		_, after, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text = after
	}
	return strings.HasSuffix(text, parts[last])
}
