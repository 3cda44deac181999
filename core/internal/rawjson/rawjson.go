// Package rawjson reads JSON text as text: it checks a value once, strictly, and then walks it without building trees,
// copying, or changing a byte of what it does not have to change.
//
// What JSON is, is jsontext's to say (the reference implementation of Go's encoding/json/v2): full grammar, valid UTF-8, no
// lone surrogates. A scanner of our own comes to the same verdict in half the time, bounds nesting and the length of numbers,
// and leaves what it does not take to jsontext, for the words. Cursor checks a text while it reads it; the walkers (Members,
// Elements, Compact) trust their input to have been checked and never check it again.
package rawjson

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// Limits bound a value beyond the grammar. See config.JSON for what they mean.
type Limits struct {
	Depth        int
	NumberLength int
}

// SyntaxError is text that is not JSON. Offset counts bytes from the start of the text or stream.
type SyntaxError struct {
	Offset int64
	Reason string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s at byte %d", e.Reason, e.Offset)
}

// LimitError is JSON that is correct but beyond a limit.
type LimitError struct{ Reason string }

func (e *LimitError) Error() string { return e.Reason }

// decoding allows duplicate names: what a name twice means is for the reader of an envelope or for a codec to say.
var decoding = jsontext.AllowDuplicateNames(true)

// checker is a decoder with the buffer that it reads; jsontext reads a bytes.Buffer in place, without a copy.
type checker struct {
	decoder jsontext.Decoder
	buffer  bytes.Buffer
}

var checkers = sync.Pool{New: func() any { return new(checker) }}

// Check reports whether text is exactly one JSON value within the limits: nil, a *SyntaxError or a *LimitError.
func Check(text []byte, limits Limits) error {
	if end, _, ok := scan(text, skipAny(text, 0), limits); ok && skipAny(text, end) == len(text) {
		return nil
	}
	return explain(text, limits)
}

// explain is Check by jsontext, which has words for what is wrong.
func explain(text []byte, limits Limits) error {
	c := checkers.Get().(*checker)
	defer checkers.Put(c)
	c.buffer = *bytes.NewBuffer(text)
	c.decoder.Reset(&c.buffer, decoding)
	_, err := c.decoder.ReadValue()
	end := c.decoder.InputOffset()
	c.buffer = bytes.Buffer{}
	c.decoder.Reset(&c.buffer, decoding) // let go of the text
	if err != nil {
		return syntaxError(err)
	}
	if rest := bytes.TrimLeft(text[end:], " \t\r\n"); len(rest) > 0 {
		return &SyntaxError{Offset: int64(len(text) - len(rest)), Reason: "unexpected data after the JSON value"}
	}
	return CheckLimits(text, limits)
}

// CheckLimits reports a *LimitError when a checked value is nested too deeply or holds too long a number.
//
// Both questions are first asked in a way that costs next to nothing and settles nearly every value: a value with fewer
// brackets than the limit cannot be too deep, and a number longer than the limit must cover one of the bytes at every
// limit-th place, in a run of at least as many bytes as numbers are made of. Only such a run, which may stand in a string, has
// the whole value looked at, once.
func CheckLimits(value []byte, limits Limits) error {
	if openers := bytes.Count(value, []byte{'{'}) + bytes.Count(value, []byte{'['}); openers > limits.Depth {
		if depth(value) > limits.Depth {
			return &LimitError{fmt.Sprintf("JSON is nested deeper than %d levels", limits.Depth)}
		}
	}
	for i := limits.NumberLength; i < len(value); i += limits.NumberLength + 1 {
		if runAround(value, i) <= limits.NumberLength {
			continue
		}
		if longestNumber(value) > limits.NumberLength {
			return &LimitError{fmt.Sprintf("a number is longer than %d characters", limits.NumberLength)}
		}
		break
	}
	return nil
}

func numberByte(c byte) bool {
	return '0' <= c && c <= '9' || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E'
}

// runAround gives the length of the run of bytes that may stand in a number around a place.
func runAround(value []byte, at int) int {
	from, to := at, at
	for to < len(value) && numberByte(value[to]) {
		to++
	}
	for from > 0 && to > at && numberByte(value[from-1]) {
		from--
	}
	return to - from
}

func depth(value []byte) int {
	depth, deepest := 0, 0
	for i := 0; i < len(value); i++ {
		switch value[i] {
		case '"':
			i = stringEnd(value, i) - 1
		case '{', '[':
			depth++
			deepest = max(deepest, depth)
		case '}', ']':
			depth--
		}
	}
	return deepest
}

func longestNumber(value []byte) int {
	longest := 0
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '"':
			i = stringEnd(value, i) - 1
		case c == '-' || '0' <= c && c <= '9':
			start := i
			for i+1 < len(value) && numberByte(value[i+1]) {
				i++
			}
			longest = max(longest, i+1-start)
		}
	}
	return longest
}

// syntaxError words jsontext's errors as ours: place and reason without the package's name.
func syntaxError(err error) error {
	var syntactic *jsontext.SyntacticError
	if errors.As(err, &syntactic) {
		reason := "unexpected end of JSON"
		if !errors.Is(syntactic.Err, io.ErrUnexpectedEOF) {
			reason = strings.TrimPrefix(syntactic.Err.Error(), "jsontext: ")
		}
		return &SyntaxError{Offset: syntactic.ByteOffset, Reason: reason}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &SyntaxError{Reason: "unexpected end of JSON"}
	}
	return err
}
