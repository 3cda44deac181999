package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// decoder puts a tree of nodes into the structs. It remembers where each setting was given, for the problems that Validate
// finds, and which ones it could not read, so that these are not complained about twice.
type decoder struct {
	expander expander
	problems Problems
	places   map[string]place
	broken   map[string]bool
}

func (d *decoder) fail(at place, path string, complaints ...complaint) {
	d.broken[path] = true
	for _, c := range complaints {
		d.problems = append(d.problems, at.problem(path, c.message, c.cure))
	}
}

// section puts n, which is a section, into the struct into.
func (d *decoder) section(n *node, into reflect.Value, path string) {
	settings := settingsOf(into.Type())
	for _, e := range n.entries {
		at := join(path, e.key)
		known := false
		for _, s := range settings {
			if s.key == e.key {
				known = true
				d.setting(e, into.Field(s.index), s, at)
			}
		}
		if !known {
			cure, meant := suggestKey(into.Type(), e.key)
			if meant != "" {
				d.broken[join(path, meant)] = true
			}
			d.fail(e.place, at, complaint{"is not a setting", cure})
		}
	}
}

func (d *decoder) setting(e entry, field reflect.Value, s setting, path string) {
	d.places[path] = e.place
	if e.value == nil { // told already
		d.broken[path] = true
		return
	}
	n := e.value
	switch s.kind {
	case sectionKind:
		switch n.shape {
		case section:
			d.section(n, field, path)
		case nothing: // all its keys are commented out
		default:
			d.fail(e.place, path, complaint{"expected a section, got " + d.describe(n, field.Type()), "write its keys below it, indented"})
		}
	case sectionsKind:
		d.sections(n, field, path)
	case listKind:
		d.list(n, field, s, path)
	case mapKind:
		d.textMap(n, field, s, path)
	default:
		d.scalar(n, field, s, path)
	}
}

// describe says what n is. What stands in place of a section that holds secrets is not shown: it may be one.
func (d *decoder) describe(n *node, t reflect.Type) string { return n.describe(holdsSecrets(t)) }

func holdsSecrets(t reflect.Type) bool {
	if t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return t == reflect.TypeFor[Secret]()
	}
	for _, s := range settingsOf(t) {
		if s.kind == secretKind || (s.kind == sectionKind || s.kind == sectionsKind) && holdsSecrets(s.typ) {
			return true
		}
	}
	return false
}

func (d *decoder) sections(n *node, field reflect.Value, path string) {
	switch n.shape {
	case nothing:
		return
	case list:
	default:
		d.fail(n.place, path, complaint{"expected a list of sections, got " + d.describe(n, field.Type()),
			"begin each element with a dash, as \"- name: main\""})
		return
	}
	made := reflect.MakeSlice(field.Type(), len(n.items), len(n.items))
	for i, item := range n.items {
		at := element(path, i)
		setDefaults(made.Index(i))
		switch {
		case item == nil:
			d.broken[at] = true
		case item.shape == section:
			d.places[at] = item.place
			d.section(item, made.Index(i), at)
		default:
			d.fail(item.place, at, complaint{"expected a section, got " + d.describe(item, field.Type()),
				"write its keys after the dash, as \"- name: main\""})
		}
	}
	field.Set(made)
}

func (d *decoder) list(n *node, field reflect.Value, s setting, path string) {
	items, given := n.items, n.shape
	if parts, ok := d.parts(n, path); ok {
		given, items = list, nil
		for _, part := range parts {
			items = append(items, &node{place: n.place, shape: resolved, text: part})
		}
	}
	switch given {
	case nothing:
		return
	case list:
	default:
		if !d.broken[path] {
			d.fail(n.place, path, complaint{"expected a list, got " + n.describe(false), "write " + s.key + ": [one, two]"})
		}
		return
	}
	made := make([]string, len(items))
	for i, item := range items {
		at := element(path, i)
		if item == nil {
			d.broken[at] = true
			continue
		}
		d.places[at] = item.place
		d.scalar(item, reflect.ValueOf(made).Index(i), setting{key: s.key, kind: textKind}, at)
	}
	field.Set(reflect.ValueOf(made))
}

func (d *decoder) textMap(n *node, field reflect.Value, s setting, path string) {
	entries, given := n.entries, n.shape
	if parts, ok := d.parts(n, path); ok {
		given, entries = section, nil
		for _, part := range parts {
			key, value, ok := strings.Cut(part, "=")
			if !ok || !keyName.MatchString(key) {
				d.fail(n.place, path, complaint{"expected name=value pairs with commas between", "write name=value,name=value"})
				return
			}
			entries = append(entries, entry{key, n.place, &node{place: n.place, shape: resolved, text: value}})
		}
	}
	switch given {
	case nothing:
		return
	case section:
	default:
		if !d.broken[path] {
			d.fail(n.place, path, complaint{"expected names and values, got " + n.describe(false), "write name: value below it, indented"})
		}
		return
	}
	made := make(map[string]string, len(entries))
	for _, e := range entries {
		at := join(path, e.key)
		d.places[at] = e.place
		if e.value == nil {
			d.broken[at] = true
			continue
		}
		value := reflect.New(reflect.TypeFor[string]()).Elem()
		d.scalar(e.value, value, setting{key: s.key, kind: textKind}, at)
		made[e.key] = value.String()
	}
	field.Set(reflect.ValueOf(made))
}

// parts splits a list or map that is given as one text with commas: by a WEIR_… variable, or by a reference.
func (d *decoder) parts(n *node, path string) (parts []string, ok bool) {
	if n.shape != loose && n.shape != text {
		return nil, false
	}
	expanded, dynamic, complaints := d.expander.expand(n.text)
	if len(complaints) > 0 {
		d.fail(n.place, path, complaints...)
		return nil, false
	}
	if !dynamic && n.shape == text {
		return nil, false
	}
	for part := range strings.SplitSeq(expanded, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts, true
}

// scalar puts one value into field. A text with a reference in it, like a WEIR_… variable, has the type of the setting;
// other values must be written as what they are.
func (d *decoder) scalar(n *node, field reflect.Value, s setting, path string) {
	value, dynamic := n.text, n.shape == loose || n.shape == resolved
	if n.shape == text || n.shape == loose {
		expanded, references, complaints := d.expander.expand(n.text)
		if len(complaints) > 0 {
			d.fail(n.place, path, complaints...)
			return
		}
		value, dynamic = expanded, dynamic || references
	}
	secret := s.kind == secretKind
	if !dynamic {
		if wrong := mistyped(n, s); wrong != nil {
			d.fail(n.place, path, *wrong)
			return
		}
	}
	if strings.ContainsRune(value, 0) || !utf8.ValidString(value) {
		d.fail(n.place, path, complaint{"holds bytes that are not UTF-8 text", "write plain text"})
		return
	}
	if wrong := setScalar(field, s, value); wrong != nil {
		d.fail(n.place, path, *wrong)
		return
	}
	if s.isFile() && !secret {
		field.SetString(inDirectory(d.expander.directory, value))
	}
}

// mistyped says why what is written in the file cannot be the value of s, if it cannot.
func mistyped(n *node, s setting) *complaint {
	secret := s.kind == secretKind
	given := n.describe(secret)
	if n.shape == nothing {
		return &complaint{"is given without a value", emptyCure(s)}
	}
	switch s.kind {
	case textKind, secretKind:
		switch n.shape {
		case text:
			return nil
		case number, boolean:
			cure := "put it in quotes"
			if !secret && len(n.text) < 40 {
				cure += ": " + strconv.Quote(n.text)
			}
			return &complaint{"expected text, got " + given, cure}
		}
		return &complaint{"expected text, got " + given, "write one value"}
	case boolKind:
		if n.shape == boolean && (n.text == "true" || n.text == "false") {
			return nil
		}
		return &complaint{"expected true or false, got " + given, "write true or false, without quotes"}
	case numberKind:
		if n.shape == number {
			return nil // its digits are looked at next
		}
		return &complaint{"expected a whole number, got " + given, "write digits only, without quotes"}
	case sizeKind:
		if n.shape == number || n.shape == text {
			return nil
		}
		return &complaint{"expected a size, got " + given, sizeCure}
	case durationKind:
		if n.shape == number || n.shape == text {
			return nil
		}
		return &complaint{"expected a duration, got " + given, `write numbers with units, as "30s", "1m30s" or "250ms"`}
	}
	panic(fmt.Sprintf("config: %s is not a scalar", s.key))
}

func emptyCure(s setting) string {
	if s.kind == textKind || s.kind == secretKind {
		return `leave the key out for the default, or write ""`
	}
	return "leave the key out for the default"
}
