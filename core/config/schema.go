package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
)

// member and object are a JSON object with its names in order, so that editors offer settings in the order of the structs.
type member struct {
	name  string
	value any
}

type object []member

// MarshalJSON writes the members in order.
func (o object) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	out.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			out.WriteByte(',')
		}
		encoder := json.NewEncoder(&out)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(m.name); err != nil {
			return nil, err
		}
		out.WriteByte(':')
		if err := encoder.Encode(m.value); err != nil {
			return nil, err
		}
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

const (
	durationPattern = `^[+-]?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$`
	sizePattern     = `^[+-]?[0-9]+ *(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)?$`
	reference       = `\$\{(env|file):`
)

// JSONSchema is a JSON Schema (draft 2020-12) of a configuration file, docs/config.schema.json. It knows keys, types, choices
// and the bounds of numbers; what a reference stands for and relations between settings it cannot know. Nothing is required
// in it, since the environment may give what the file does not.
func JSONSchema() []byte {
	described := readComments()
	root := append(object{
		{"$schema", "https://json-schema.org/draft/2020-12/schema"},
		{"title", "Weir configuration"},
		{"description", asDescription(described["Config"], "Config", "")},
	}, sectionSchema(described, reflect.TypeFor[Config]())...)
	root = append(root, member{"$defs", object{{"reference", object{
		{"description", "A value from the environment or from a file."},
		{"type", "string"},
		{"pattern", reference},
	}}}})
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(root); err != nil {
		panic(fmt.Sprintf("config: schema: %s", err)) // it holds strings, numbers and objects only
	}
	return out.Bytes()
}

func sectionSchema(described comments, section reflect.Type) object {
	var properties object
	for _, s := range settingsOf(section) {
		properties = append(properties, member{s.key, settingSchema(described, section, s)})
	}
	return object{
		{"type", []string{"object", "null"}}, // null: all keys are commented out
		{"additionalProperties", false},
		{"properties", properties},
	}
}

func settingSchema(described comments, owner reflect.Type, s setting) object {
	switch s.kind {
	case sectionKind:
		return append(object{{"description", described.section(owner, s)}}, sectionSchema(described, s.typ)...)
	case sectionsKind:
		return object{
			{"description", described.section(owner, s)},
			{"type", []string{"array", "null"}},
			{"items", sectionSchema(described, s.typ.Elem())},
		}
	}
	description := described.setting(owner, s)
	if s.kind == durationKind && s.min != "" {
		description += fmt.Sprintf(" From %s to %s.", boundWords(s, s.min), boundWords(s, s.max))
	}
	schema := object{{"description", description}}
	if s.fallback != "" {
		schema = append(schema, member{"default", defaultValue(s)})
	}
	return append(schema, valueSchema(s)...)
}

func defaultValue(s setting) any {
	switch s.kind {
	case boolKind:
		return s.fallback == "true"
	case numberKind, sizeKind:
		return bound(s, s.fallback)
	}
	return s.fallback
}

func valueSchema(s setting) object {
	text := object{{"type", "string"}}
	whole := object{{"type", "integer"}}
	if s.min != "" && s.kind != durationKind {
		whole = append(whole, member{"minimum", bound(s, s.min)}, member{"maximum", bound(s, s.max)})
	}
	switch s.kind {
	case secretKind:
		return append(text, member{"writeOnly", true})
	case boolKind:
		return orReference(object{{"type", "boolean"}})
	case numberKind:
		return orReference(whole)
	case sizeKind:
		return orReference(whole, append(text, member{"pattern", sizePattern}))
	case durationKind:
		return orReference(append(text, member{"pattern", durationPattern}))
	case listKind:
		return orReference(object{{"type", []string{"array", "null"}}, {"items", text}})
	case mapKind:
		return orReference(object{{"type", []string{"object", "null"}}, {"additionalProperties", text}})
	}
	if s.enum != nil {
		return orReference(object{{"enum", s.enum}})
	}
	return text
}

func orReference(schemas ...object) object {
	return object{{"anyOf", append(schemas, object{{"$ref", "#/$defs/reference"}})}}
}
