package config

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

// kind is what a setting holds.
type kind int

const (
	textKind kind = iota
	secretKind
	boolKind
	numberKind   // a whole number
	sizeKind     // a whole number of bytes; the key ends in "bytes"
	durationKind // a time.Duration
	listKind     // a list of text
	mapKind      // text by text
	sectionKind  // keys of their own
	sectionsKind // a list of sections
)

// setting is one field of the structs of config.go.
type setting struct {
	key      string // the YAML name
	goName   string
	index    int
	typ      reflect.Type
	kind     kind
	fallback string // the default, as text; empty for none
	min, max string // bounds, as text; both or neither
	enum     []string
}

// isFile says that the value is the path of a file, which all keys ending in _file are.
func (s setting) isFile() bool { return strings.HasSuffix(s.key, "_file") }

// settingsOf lists the settings of a struct in the order of its fields. It panics on a field that it cannot describe,
// which the tests would show first.
func settingsOf(section reflect.Type) []setting {
	settings := make([]setting, 0, section.NumField())
	for i := range section.NumField() {
		field := section.Field(i)
		s := setting{
			key:      field.Tag.Get("yaml"),
			goName:   field.Name,
			index:    i,
			typ:      field.Type,
			fallback: field.Tag.Get("default"),
			min:      field.Tag.Get("min"),
			max:      field.Tag.Get("max"),
		}
		s.kind = kindOf(field.Type, s.key)
		if enum, ok := field.Tag.Lookup("enum"); ok {
			s.enum = strings.Split(enum, ",")
		}
		settings = append(settings, s)
	}
	return settings
}

func kindOf(t reflect.Type, key string) kind {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return durationKind
	case t == reflect.TypeFor[Secret]():
		return secretKind
	case t == reflect.TypeFor[[]string]():
		return listKind
	case t == reflect.TypeFor[map[string]string]():
		return mapKind
	case t.Kind() == reflect.String:
		return textKind
	case t.Kind() == reflect.Bool:
		return boolKind
	case t.Kind() == reflect.Int, t.Kind() == reflect.Int64:
		if strings.HasSuffix(key, "bytes") {
			return sizeKind
		}
		return numberKind
	case t.Kind() == reflect.Struct:
		return sectionKind
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		return sectionsKind
	}
	panic(fmt.Sprintf("config: %s: a setting of type %s cannot be described", key, t))
}

// setDefaults gives every field of section the value of its default tag.
func setDefaults(section reflect.Value) {
	for _, s := range settingsOf(section.Type()) {
		field := section.Field(s.index)
		if s.kind == sectionKind {
			setDefaults(field)
			continue
		}
		if s.fallback == "" {
			continue
		}
		if complaint := setScalar(field, s, s.fallback); complaint != nil {
			panic(fmt.Sprintf("config: default of %s: %s", s.key, complaint.message))
		}
	}
}

// join is the path of key inside the section at path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func element(path string, index int) string { return fmt.Sprintf("%s[%d]", path, index) }
