package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// The matchers, written where a value is expected. An object matches exactly unless it has the key "...", and an array
// matches exactly unless it is written as an object of the three array matchers.
const (
	matchAny      = "<any>"
	matchAbsent   = "<absent>" // the key must not be there
	matchString   = "<string>"
	matchInt      = "<int>"
	matchNumber   = "<number>"
	matchBool     = "<bool>"
	matchInstant  = "<instant>" // an ISO-8601 instant in UTC
	matchRegexp   = "<re:"      // <re:EXPRESSION>: a string in which the expression is found
	matchPrefix   = "<prefix:"  // <prefix:TEXT>: a string that begins with the text
	matchOpen     = "..."       // in an object: further keys are allowed
	matchEach     = "<each>"    // in place of an array: every element matches
	matchLength   = "<len>"     // in place of an array: so many elements
	matchContains = "<has>"     // in place of an array: for each of these some element matches
)

// matchJSON compares a JSON text with an expectation and gives the differences, each with its path. None: it matches.
func matchJSON(want json.RawMessage, got []byte) []string {
	wanted, err := decodeValue(want)
	if err != nil {
		return []string{"the expectation is not JSON: " + err.Error()}
	}
	value, err := decodeValue(got)
	if err != nil {
		return []string{fmt.Sprintf("not JSON: %v: %s", err, trim(string(got), 400))}
	}
	return differences("$", wanted, value)
}

func decodeValue(text []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	if decoder.More() {
		return nil, fmt.Errorf("more than one JSON value")
	}
	return value, nil
}

func differences(path string, want, got any) []string {
	differ := func() []string {
		return []string{fmt.Sprintf("%s: want %s, got %s", path, show(want), show(got))}
	}
	switch want := want.(type) {
	case string:
		if text, ok := got.(string); ok && text == want || matchesPattern(want, got) {
			return nil
		}
		return differ()
	case json.Number:
		if number, ok := got.(json.Number); ok && equalNumbers(want, number) {
			return nil
		}
		return differ()
	case map[string]any:
		if isArrayMatcher(want) {
			list, ok := got.([]any)
			if !ok {
				return differ()
			}
			return arrayDifferences(path, want, list)
		}
		object, ok := got.(map[string]any)
		if !ok {
			return differ()
		}
		return objectDifferences(path, want, object)
	case []any:
		list, ok := got.([]any)
		if !ok {
			return differ()
		}
		var all []string
		for i := range max(len(want), len(list)) {
			at := path + "[" + strconv.Itoa(i) + "]"
			switch {
			case i >= len(list):
				all = append(all, fmt.Sprintf("%s: want %s, got nothing", at, show(want[i])))
			case i >= len(want):
				all = append(all, fmt.Sprintf("%s: want nothing, got %s", at, show(list[i])))
			default:
				all = append(all, differences(at, want[i], list[i])...)
			}
		}
		return all
	default: // null, true, false
		if want == got {
			return nil
		}
		return differ()
	}
}

func objectDifferences(path string, want, got map[string]any) []string {
	var all []string
	_, open := want[matchOpen]
	for _, key := range sortedKeys(want) {
		if key == matchOpen {
			continue
		}
		value, ok := got[key]
		switch {
		case want[key] == matchAbsent:
			if ok {
				all = append(all, fmt.Sprintf("%s.%s: want no such key, got %s", path, key, show(value)))
			}
		case !ok:
			all = append(all, fmt.Sprintf("%s.%s: want %s, got no such key", path, key, show(want[key])))
		default:
			all = append(all, differences(path+"."+key, want[key], value)...)
		}
	}
	for _, key := range sortedKeys(got) {
		if _, ok := want[key]; !ok && !open {
			all = append(all, fmt.Sprintf("%s.%s: want no such key, got %s", path, key, show(got[key])))
		}
	}
	return all
}

func isArrayMatcher(want map[string]any) bool {
	if len(want) == 0 {
		return false
	}
	for key := range want {
		if key != matchEach && key != matchLength && key != matchContains {
			return false
		}
	}
	return true
}

func arrayDifferences(path string, want map[string]any, got []any) []string {
	var all []string
	if length, ok := want[matchLength]; ok {
		all = append(all, differences(path+".length", length, json.Number(strconv.Itoa(len(got))))...)
	}
	if each, ok := want[matchEach]; ok {
		for i, value := range got {
			all = append(all, differences(path+"["+strconv.Itoa(i)+"]", each, value)...)
		}
	}
	if contains, ok := want[matchContains].([]any); ok {
		for _, element := range contains {
			matches := func(value any) bool { return len(differences(path, element, value)) == 0 }
			if !slices.ContainsFunc(got, matches) {
				all = append(all, fmt.Sprintf("%s: want an element %s, got %s", path, show(element), show(got)))
			}
		}
	}
	return all
}

// matchesPattern reports whether a string of an expectation is a matcher that accepts the value.
func matchesPattern(want string, got any) bool {
	text, isString := got.(string)
	number, isNumber := got.(json.Number)
	switch want {
	case matchAny:
		return true
	case matchString:
		return isString
	case matchNumber:
		return isNumber
	case matchInt:
		_, ok := new(big.Int).SetString(number.String(), 10)
		return isNumber && ok
	case matchBool:
		_, ok := got.(bool)
		return ok
	case matchInstant:
		_, err := time.Parse(time.RFC3339Nano, text)
		return isString && err == nil && strings.HasSuffix(text, "Z")
	}
	if expression, ok := strings.CutPrefix(want, matchRegexp); ok {
		pattern, err := regexp.Compile(strings.TrimSuffix(expression, ">"))
		return err == nil && isString && pattern.MatchString(text)
	}
	if prefix, ok := strings.CutPrefix(want, matchPrefix); ok {
		return isString && strings.HasPrefix(text, strings.TrimSuffix(prefix, ">"))
	}
	return false
}

// checkMatchers finds the strings of an expectation that look like a matcher and are none, so that a slip is not taken for
// text that never matches.
func checkMatchers(want json.RawMessage) error {
	value, err := decodeValue(want)
	if err != nil {
		return err
	}
	return checkMatcherValue(value)
}

func checkMatcherValue(want any) error {
	switch want := want.(type) {
	case string:
		return checkMatcher(want)
	case []any:
		for _, value := range want {
			if err := checkMatcherValue(value); err != nil {
				return err
			}
		}
	case map[string]any:
		for key, value := range want {
			if isMatcherKey := key == matchEach || key == matchLength || key == matchContains; isMatcherKey && !isArrayMatcher(want) {
				return fmt.Errorf("%s stands with other keys, so it is no matcher", key)
			}
			if err := checkMatcherValue(value); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkMatcher(want string) error {
	if !strings.HasPrefix(want, "<") || !strings.HasSuffix(want, ">") {
		return nil
	}
	switch want {
	case matchAny, matchAbsent, matchString, matchInt, matchNumber, matchBool, matchInstant:
		return nil
	}
	if expression, ok := strings.CutPrefix(want, matchRegexp); ok {
		if _, err := regexp.Compile(strings.TrimSuffix(expression, ">")); err != nil {
			return fmt.Errorf("%s: %w", want, err)
		}
		return nil
	}
	if strings.HasPrefix(want, matchPrefix) {
		return nil
	}
	return fmt.Errorf("%s is no matcher", want)
}

func equalNumbers(a, b json.Number) bool {
	if a == b {
		return true
	}
	if strings.ContainsAny(a.String()+b.String(), "eE") {
		return false // an exponent can be beyond reason; a case spells such a number as it expects it
	}
	x, okX := new(big.Rat).SetString(a.String())
	y, okY := new(big.Rat).SetString(b.String())
	return okX && okY && x.Cmp(y) == 0
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}

func show(value any) string {
	if text, ok := value.(string); ok && strings.HasPrefix(text, "<") {
		return text
	}
	text, err := marshal(value)
	if err != nil {
		return fmt.Sprintf("%v", value)
	}
	return trim(string(text), 300)
}

// trim shortens text for a person, saying how much is left out.
func trim(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return text[:most*2/3] + fmt.Sprintf(" … %d bytes … ", len(text)-most) + text[len(text)-most/3:]
}
