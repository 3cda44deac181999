package rawjson

import "unicode/utf8"

// scan passes over the value that begins at i. It reports whether the value is correct and within the limits, where it ends,
// and whether there is white space between its tokens.
//
// It knows the grammar and nothing of errors: text that it does not take is given to jsontext, which decides and says what is
// wrong. So this is the place where speed matters and not what is told, and a fuzz test holds both to the same verdict.
func scan(text []byte, i int, limits Limits) (end int, spaced, ok bool) {
	var open nesting
	for i >= 0 && i < len(text) { // a value begins at i
		switch c := text[i]; c {
		case '"':
			i = scanString(text, i)
		case '{', '[':
			if open.depth >= limits.Depth {
				return 0, spaced, false
			}
			open.push(c == '{')
			if i++; i < len(text) && space(text[i]) {
				i, spaced = skipAny(text, i), true
			}
			if i < len(text) && text[i] == c+2 { // } and ] are two after { and [
				break // it is empty: go on as after its last value
			}
			if c == '{' {
				i, spaced = scanName(text, i, spaced)
			}
			continue
		case 't':
			i = scanLiteral(text, i, "true")
		case 'f':
			i = scanLiteral(text, i, "false")
		case 'n':
			i = scanLiteral(text, i, "null")
		default:
			from := i
			if i = scanNumber(text, i); i-from > limits.NumberLength {
				return 0, spaced, false
			}
		}
		if i < 0 {
			break
		}
		// A value has ended: up through all containers that end here, and on to the next value.
		for {
			if open.depth == 0 {
				return i, spaced, true
			}
			if i < len(text) && space(text[i]) {
				i, spaced = skipAny(text, i), true
			}
			if i >= len(text) {
				return 0, spaced, false
			}
			object := open.object()
			if text[i] == ',' {
				if i++; i < len(text) && space(text[i]) {
					i, spaced = skipAny(text, i), true
				}
				if object {
					i, spaced = scanName(text, i, spaced)
				}
				break
			}
			if object != (text[i] == '}') || !object && text[i] != ']' {
				return 0, spaced, false
			}
			open.pop()
			i++
		}
	}
	return 0, spaced, false
}

// The scanners of tokens give the index after the token, or -1.

// scanName passes over a member's name and colon, to its value.
func scanName(text []byte, i int, spaced bool) (int, bool) {
	if i >= len(text) || text[i] != '"' {
		return -1, spaced
	}
	i = scanString(text, i)
	if i < 0 {
		return -1, spaced
	}
	if i < len(text) && space(text[i]) {
		i, spaced = skipAny(text, i), true
	}
	if i >= len(text) || text[i] != ':' {
		return -1, spaced
	}
	if i++; i < len(text) && space(text[i]) {
		i, spaced = skipAny(text, i), true
	}
	return i, spaced
}

// plain are the bytes that may stand in a string and mean nothing but themselves.
var plain = func() (table [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		table[c] = c != '"' && c != '\\'
	}
	return table
}()

func scanString(text []byte, i int) int {
	i++
	for {
		for i < len(text) && plain[text[i]] {
			i++
		}
		if i >= len(text) {
			return -1
		}
		switch c := text[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			if i = scanEscape(text, i); i < 0 {
				return -1
			}
		case c < utf8.RuneSelf: // a control character
			return -1
		default:
			r, size := utf8.DecodeRune(text[i:])
			if r == utf8.RuneError && size == 1 {
				return -1
			}
			i += size
		}
	}
}

func scanEscape(text []byte, i int) int {
	if i+1 >= len(text) {
		return -1
	}
	switch text[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
	default:
		return -1
	}
	const high, low, end = 0xD800, 0xDC00, 0xE000 // surrogates
	switch unit := hex4(text, i+2); {
	case unit < 0 || low <= unit && unit < end:
		return -1
	case unit < high || unit >= end:
		return i + 6
	}
	if i+7 >= len(text) || text[i+6] != '\\' || text[i+7] != 'u' {
		return -1
	}
	if second := hex4(text, i+8); second < low || second >= end {
		return -1
	}
	return i + 12
}

// hex4 gives the value of four hexadecimal digits, or -1.
func hex4(text []byte, i int) int {
	if i+4 > len(text) {
		return -1
	}
	value := 0
	for _, c := range text[i : i+4] {
		switch {
		case '0' <= c && c <= '9':
			value = value<<4 | int(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			value = value<<4 | int(c|0x20-'a'+10)
		default:
			return -1
		}
	}
	return value
}

func scanLiteral(text []byte, i int, literal string) int {
	if end := i + len(literal); end <= len(text) && string(text[i:end]) == literal {
		return end
	}
	return -1
}

func scanNumber(text []byte, i int) int {
	if text[i] == '-' {
		i++
	}
	if i < len(text) && text[i] == '0' {
		i++
	} else if i = scanDigits(text, i); i < 0 {
		return -1
	}
	if i < len(text) && text[i] == '.' {
		if i = scanDigits(text, i+1); i < 0 {
			return -1
		}
	}
	if i < len(text) && text[i]|0x20 == 'e' {
		i++
		if i < len(text) && (text[i] == '+' || text[i] == '-') {
			i++
		}
		i = scanDigits(text, i)
	}
	return i
}

// scanDigits passes over at least one digit.
func scanDigits(text []byte, i int) int {
	from := i
	for i < len(text) && '0' <= text[i] && text[i] <= '9' {
		i++
	}
	if i == from {
		return -1
	}
	return i
}

// skipAny gives the index of the next byte that is not white space, or the text's length.
func skipAny(text []byte, i int) int {
	for i < len(text) && space(text[i]) {
		i++
	}
	return i
}

// nesting remembers which of the open containers are objects: one bit each, sixty-four in a word, the rest aside.
type nesting struct {
	depth int
	bits  uint64
	aside []uint64
}

func (n *nesting) push(object bool) {
	if n.depth > 0 && n.depth%64 == 0 {
		n.aside = append(n.aside, n.bits)
	}
	n.bits <<= 1
	if object {
		n.bits |= 1
	}
	n.depth++
}

func (n *nesting) pop() {
	n.depth--
	n.bits >>= 1
	if n.depth > 0 && n.depth%64 == 0 {
		n.bits = n.aside[len(n.aside)-1]
		n.aside = n.aside[:len(n.aside)-1]
	}
}

func (n *nesting) object() bool { return n.bits&1 == 1 }
