package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// finding is a problem of a Config, without a place. With names the other settings that it is about: when one of them could
// not be read, the finding may be wrong and is dropped.
type finding struct {
	path string
	complaint
	with []string
}

// Validate checks bounds, choices, relations between settings, and that the files named exist and can be read. It changes
// nothing. The error is a Problems with every problem, without places: Load and Parse give those.
func (c Config) Validate() error {
	var problems Problems
	for _, f := range c.findings() {
		problems = append(problems, Problem{Path: f.path, Message: f.message, Cure: f.cure})
	}
	return problems.orNil()
}

func (c Config) findings() []finding {
	v := &validator{wrong: map[string]bool{}}
	v.section(reflect.ValueOf(c), "")
	v.relations(c)
	return v.found
}

// validator collects findings. A relation to a setting that is wrong by itself says nothing, so it is left out.
type validator struct {
	found []finding
	wrong map[string]bool
}

func (v *validator) add(path, message, cure string, with ...string) {
	if slices.ContainsFunc(with, func(other string) bool { return v.wrong[other] }) {
		return
	}
	v.wrong[path] = true
	v.found = append(v.found, finding{path, complaint{message, cure}, with})
}

// section checks what each setting says about itself.
func (v *validator) section(section reflect.Value, path string) {
	for _, s := range settingsOf(section.Type()) {
		at, field := join(path, s.key), section.Field(s.index)
		switch s.kind {
		case sectionKind:
			v.section(field, at)
		case sectionsKind:
			for i := range field.Len() {
				v.section(field.Index(i), element(at, i))
			}
		case numberKind, sizeKind, durationKind:
			v.bounds(field, s, at)
		case textKind:
			if s.enum != nil && !slices.Contains(s.enum, field.String()) {
				v.choice(field.String(), s, at)
			}
			if s.isFile() && field.String() != "" {
				v.file(field.String(), at)
			}
		}
	}
}

func (v *validator) bounds(field reflect.Value, s setting, path string) {
	if s.min == "" {
		return
	}
	low, high := bound(s, s.min), bound(s, s.max)
	n := field.Int()
	if n >= low && n <= high {
		return
	}
	written := scalarText(field, s)
	if n < low {
		v.add(path, fmt.Sprintf("%s is too small", written), "the least is "+boundText(s, low))
	} else {
		v.add(path, fmt.Sprintf("%s is too large", written), "the most is "+boundText(s, high))
	}
}

// bound reads a min or max tag.
func bound(s setting, tag string) int64 {
	value := reflect.New(s.typ).Elem()
	if complaint := setScalar(value, s, tag); complaint != nil {
		panic(fmt.Sprintf("config: bound of %s: %s", s.key, complaint.message))
	}
	return value.Int()
}

func boundText(s setting, n int64) string {
	switch s.kind {
	case durationKind:
		return durationText(time.Duration(n))
	case sizeKind:
		return sizeText(n)
	}
	return fmt.Sprint(n)
}

func (v *validator) choice(value string, s setting, path string) {
	var choices []string
	for _, choice := range s.enum {
		if choice != "" {
			choices = append(choices, choice)
		}
	}
	cure := "write " + alternatives(choices)
	if near := nearest(value, choices); near != "" {
		cure = fmt.Sprintf("did you mean %s? The choices are %s", near, alternatives(choices))
	}
	v.add(path, shown(value)+" is not a choice", cure)
}

// alternatives is a list with an "or" before the last.
func alternatives(choices []string) string {
	if len(choices) < 2 {
		return strings.Join(choices, "")
	}
	last := len(choices) - 1
	return strings.Join(choices[:last], ", ") + " or " + choices[last]
}

func (v *validator) file(path, at string) {
	if _, err := readRegular(path, maxFileBytes); err != nil {
		v.add(at, fmt.Sprintf("the file %s %s", shown(path), err), "correct the path or the file's permissions")
	}
}
