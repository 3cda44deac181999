package conformance

import (
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"sort"
	"strings"
)

// vars are the values that ${name} stands for in a case. Each is JSON text: where a whole string is ${name} the value takes
// its place with its type, elsewhere its text is inserted. ${name+1} and ${name-1} count from a number.
type vars map[string]json.RawMessage

var (
	wholeReference = regexp.MustCompile(`"\$\{([a-z][a-z0-9_.]*)([+-][0-9]+)?\}"`)
	anyReference   = regexp.MustCompile(`\$\{([a-z][a-z0-9_.]*)([+-][0-9]+)?\}`)
)

func (v vars) set(name, text string) { v[name] = json.RawMessage(quoteJSON(text)) }

// clone gives a copy that can be added to.
func (v vars) clone() vars {
	c := make(vars, len(v))
	for name, value := range v {
		c[name] = value
	}
	return c
}

// expand replaces the references in a JSON text. A name that v does not have is left as it stands when partial, and is an
// error otherwise.
func (v vars) expand(text []byte, partial bool) ([]byte, error) {
	var failure error
	lookup := func(match [][]byte) (json.RawMessage, bool) {
		value, ok := v[string(match[1])]
		if !ok {
			if !partial && failure == nil {
				failure = fmt.Errorf("${%s} is not known here; known are %s", match[1], v.names())
			}
			return nil, false
		}
		if len(match[2]) == 0 {
			return value, true
		}
		number, isNumber := new(big.Int).SetString(strings.Trim(string(value), `"`), 10)
		difference, _ := new(big.Int).SetString(strings.TrimPrefix(string(match[2]), "+"), 10)
		if !isNumber {
			if failure == nil {
				failure = fmt.Errorf("${%s%s} counts from %s, which is not an integer", match[1], match[2], value)
			}
			return nil, false
		}
		return json.RawMessage(number.Add(number, difference).String()), true
	}
	replace := func(pattern *regexp.Regexp, text []byte, write func(json.RawMessage) []byte) []byte {
		return pattern.ReplaceAllFunc(text, func(found []byte) []byte {
			if value, ok := lookup(pattern.FindSubmatch(found)); ok {
				return write(value)
			}
			return found
		})
	}
	// A value may itself hold references (a variant that names a topic), also a whole one that keeps its type; a few rounds settle
	// them, and a circle ends.
	for range 8 {
		before := string(text)
		text = replace(wholeReference, text, func(value json.RawMessage) []byte { return value })
		if failure == nil && string(text) != before {
			continue
		}
		text = replace(anyReference, text, insertable)
		if failure != nil {
			return nil, failure
		}
		if string(text) == before && (partial || !anyReference.Match(text)) {
			return text, nil
		}
	}
	return nil, fmt.Errorf("references that refer to themselves: %.120s", text)
}

// insertable gives a value as it is written inside a JSON string.
func insertable(value json.RawMessage) []byte {
	if len(value) > 1 && value[0] == '"' {
		return value[1 : len(value)-1]
	}
	quoted := quoteJSON(string(value))
	return []byte(quoted[1 : len(quoted)-1])
}

func (v vars) names() string {
	names := make([]string, 0, len(v))
	for name := range v {
		names = append(names, name)
	}
	sort.Strings(names)
	return strings.Join(names, ", ")
}
