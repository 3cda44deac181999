package config

import (
	"bytes"
	_ "embed" // for the texts
	"fmt"
	"reflect"
	"strings"
	"time"
)

// introduction is the part of docs/config.md that no struct knows. EXAMPLE stands for the example.
//
//go:embed introduction.md
var introduction string

//go:embed example.yaml
var example string

// Markdown is the reference of all settings, docs/config.md.
func Markdown() []byte {
	var out bytes.Buffer
	out.WriteString(strings.Replace(introduction, "EXAMPLE\n", example, 1))
	described := readComments()
	root := reflect.TypeFor[Config]()
	out.WriteString("\n## Sections\n\n")
	for _, s := range settingsOf(root) {
		heading := s.key
		if s.kind == sectionsKind {
			heading += "[]"
		}
		fmt.Fprintf(&out, "- [`%s`](#%s): %s\n", heading, s.key, described.setting(root, s))
	}
	writeReference(&out, described, root, "", variablePrefix)
	return out.Bytes()
}

// writeReference writes a table of the settings of section, and then its inner sections.
func writeReference(out *bytes.Buffer, described comments, section reflect.Type, path, prefix string) {
	var inner []setting
	var rows []setting
	for _, s := range settingsOf(section) {
		if s.kind == sectionKind || s.kind == sectionsKind {
			inner = append(inner, s)
		} else {
			rows = append(rows, s)
		}
	}
	if len(rows) > 0 {
		out.WriteString("\n| Setting | Takes | Default | Meaning |\n|---|---|---|---|\n")
	}
	for _, s := range rows {
		fmt.Fprintf(out, "| `%s`<br>`%s` | %s | %s | %s |\n", s.key, prefix+strings.ToUpper(s.key), takes(s), defaultText(s),
			strings.ReplaceAll(described.setting(section, s), "|", `\|`))
	}
	for _, s := range inner {
		at, variables, of := join(path, s.key), prefix+strings.ToUpper(s.key)+"_", s.typ
		if s.kind == sectionsKind {
			at, variables, of = at+"[]", variables+"0_", s.typ.Elem()
		}
		level := "##"
		if path != "" {
			level = "###"
		}
		fmt.Fprintf(out, "\n%s `%s`\n\n%s\n", level, at, described.section(section, s))
		writeReference(out, described, of, at, variables)
	}
}

// takes says type and bounds of s.
func takes(s setting) string {
	var name string
	switch s.kind {
	case secretKind:
		name = "secret text"
	case boolKind:
		name = "`true` or `false`"
	case numberKind:
		name = "whole number"
	case sizeKind:
		name = "size"
	case durationKind:
		name = "duration"
	case listKind:
		name = "list of texts"
	case mapKind:
		name = "names and values"
	default:
		name = "text"
		if s.isFile() {
			name = "file"
		}
		if s.enum != nil {
			var choices []string
			for _, choice := range s.enum {
				if choice != "" {
					choices = append(choices, "`"+choice+"`")
				}
			}
			name = alternatives(choices)
		}
	}
	if s.min != "" {
		name += ", " + boundWords(s, s.min) + " to " + boundWords(s, s.max)
	}
	return name
}

func boundWords(s setting, tag string) string {
	n := bound(s, tag)
	switch s.kind {
	case sizeKind:
		return shortSize(n)
	case durationKind:
		return durationText(time.Duration(n))
	}
	return fmt.Sprint(n)
}

func defaultText(s setting) string {
	switch {
	case s.fallback != "" && s.kind == sizeKind:
		return "`" + shortSize(bound(s, s.fallback)) + "`"
	case s.fallback != "":
		return "`" + s.fallback + "`"
	}
	return "none"
}

// shortSize writes n with the largest unit that divides it, in the form that a file takes.
func shortSize(n int64) string {
	best, unit := n, ""
	for _, u := range sizeUnits {
		if n != 0 && u.name != "kB" && n%u.bytes == 0 && n/u.bytes < best {
			best, unit = n/u.bytes, u.name
		}
	}
	return fmt.Sprintf("%d%s", best, unit)
}
