package config

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Redacted is the whole configuration as YAML, defaults included, with each secret that is set as "***". Parse reads it
// back to the same Config but for the secrets.
func (c Config) Redacted() []byte {
	var out bytes.Buffer
	writeSection(&out, reflect.ValueOf(c), "", "")
	return out.Bytes()
}

// writeSection writes one key a line. The first line begins with first, which is a dash for an element of a list.
func writeSection(out *bytes.Buffer, section reflect.Value, first, indent string) {
	for i, s := range settingsOf(section.Type()) {
		if i == 0 {
			out.WriteString(first)
		} else {
			out.WriteString(indent)
		}
		field := section.Field(s.index)
		deeper := indent + "  "
		switch s.kind {
		case sectionKind:
			fmt.Fprintf(out, "%s:\n", s.key)
			writeSection(out, field, deeper, deeper)
		case sectionsKind:
			if field.Len() == 0 {
				fmt.Fprintf(out, "%s: []\n", s.key)
				break
			}
			fmt.Fprintf(out, "%s:\n", s.key)
			for i := range field.Len() {
				writeSection(out, field.Index(i), deeper+"- ", deeper+"  ")
			}
		case listKind:
			items := make([]string, field.Len())
			for i := range items {
				items[i] = quoted(field.Index(i).String())
			}
			fmt.Fprintf(out, "%s: [%s]\n", s.key, strings.Join(items, ", "))
		case mapKind:
			writeMap(out, s.key, field.Interface().(map[string]string), deeper)
		case textKind, secretKind:
			fmt.Fprintf(out, "%s: %s\n", s.key, quoted(scalarText(field, s)))
		default:
			fmt.Fprintf(out, "%s: %s\n", s.key, scalarText(field, s))
		}
	}
}

func writeMap(out *bytes.Buffer, key string, values map[string]string, indent string) {
	if len(values) == 0 {
		fmt.Fprintf(out, "%s: {}\n", key)
		return
	}
	fmt.Fprintf(out, "%s:\n", key)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		fmt.Fprintf(out, "%s%s: %s\n", indent, strconv.Quote(name), quoted(values[name]))
	}
}

// quoted is text as a double-quoted YAML scalar, whose escapes are those of Go, with ${ kept from being a reference.
func quoted(text string) string { return strconv.Quote(strings.ReplaceAll(text, "${", "$${")) }
