package rawjson

import (
	"bytes"
	"iter"

	"github.com/go-json-experiment/json/jsontext"
)

// Kind is what a checked value is, by its first byte: '{' '[' '"' 't' 'f' 'n', '0' for numbers; 0 for none.
func Kind(value []byte) byte {
	if len(value) == 0 {
		return 0
	}
	if c := value[0]; c == '-' || '0' <= c && c <= '9' {
		return '0'
	}
	return value[0]
}

// IsNull reports whether a checked value is null.
func IsNull(value []byte) bool { return Kind(value) == 'n' }

// Trim takes the white space off both ends of a value.
func Trim(value []byte) []byte { return bytes.Trim(value, " \t\r\n") }

// Members walks the members of a checked object in their order: each name, unquoted, and its value as it stands. A name may
// come twice. Both slices are parts of object, or (a name with escapes) a copy; the loop may change a value's bytes in place.
func Members(object []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for i := skipSpace(object, 1); object[i] != '}'; i = skipSpace(object, i) {
			if object[i] == ',' {
				i = skipSpace(object, i+1)
			}
			nameEnd := stringEnd(object, i)
			name := Unquote(object[i:nameEnd])
			start := skipSpace(object, skipSpace(object, nameEnd)+1) // past the colon
			end := valueEnd(object, start)
			i = end
			if !yield(name, object[start:end:end]) {
				return
			}
		}
	}
}

// Elements walks the elements of a checked array.
func Elements(array []byte) iter.Seq[[]byte] {
	return func(yield func(element []byte) bool) {
		for i := skipSpace(array, 1); array[i] != ']'; i = skipSpace(array, i) {
			if array[i] == ',' {
				i = skipSpace(array, i+1)
			}
			end := valueEnd(array, i)
			start := i
			i = end
			if !yield(array[start:end:end]) {
				return
			}
		}
	}
}

// Unquote gives the bytes of a checked JSON string: a part of it when it has no escapes, else a copy.
func Unquote(quoted []byte) []byte {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner[:len(inner):len(inner)]
	}
	unquoted, err := jsontext.AppendUnquote(nil, quoted)
	if err != nil {
		return inner // unreachable for checked text
	}
	return unquoted
}

// Compact takes the white space between the tokens out of a checked value, in place, and changes nothing else. Text that is
// compact already, which most is, is only looked at.
func Compact(value []byte) []byte {
	i := 0
	for i < len(value) && !space(value[i]) {
		if value[i] == '"' {
			i = stringEnd(value, i)
		} else {
			i++
		}
	}
	to := i
	for i < len(value) {
		switch c := value[i]; {
		case c == '"':
			end := stringEnd(value, i)
			to += copy(value[to:], value[i:end])
			i = end
		case space(c):
			i++
		default:
			value[to] = c
			to++
			i++
		}
	}
	return value[:to:to]
}

func space(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

func skipSpace(text []byte, i int) int {
	for space(text[i]) {
		i++
	}
	return i
}

// stringEnd gives the index after the closing quote of the string that opens at i.
//
// Most strings are short, and calling a search for each costs more than looking at their bytes; long ones are searched, a piece
// at a time, so that one full of escapes costs no more than its length.
func stringEnd(text []byte, i int) int {
	const short, piece = 16, 256
	for i++; ; {
		for end := min(i+short, len(text)); i < end; i++ {
			switch text[i] {
			case '"':
				return i + 1
			case '\\':
				i++
			}
		}
		within := text[i:min(i+piece, len(text))]
		quote := bytes.IndexByte(within, '"')
		if quote >= 0 {
			within = within[:quote]
		}
		switch escape := bytes.IndexByte(within, '\\'); {
		case escape >= 0:
			i += escape + 2
		case quote >= 0:
			return i + quote + 1
		default:
			i += len(within)
		}
	}
}

// valueEnd gives the index after the value that begins at i.
func valueEnd(text []byte, i int) int {
	switch text[i] {
	case '"':
		return stringEnd(text, i)
	case '{', '[':
		for depth := 0; ; {
			switch text[i] {
			case '"':
				i = stringEnd(text, i)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
			i++
		}
	default:
		for i < len(text) && !space(text[i]) && text[i] != ',' && text[i] != '}' && text[i] != ']' {
			i++
		}
		return i
	}
}
