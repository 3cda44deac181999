package conformance

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

//go:embed cases
var embeddedCases embed.FS

//go:embed case.schema.json
var schemaText []byte

const defaultTimeout = 30 * time.Second

// Cases loads the suites that come with this package.
func Cases() ([]*Case, error) {
	return Load(embeddedCases)
}

// Load reads every *.yaml file of a file system as a suite and gives their cases in the order of the files. It reports every
// problem, each with file and line.
func Load(files fs.FS) ([]*Case, error) {
	schema, err := compileSchema()
	if err != nil {
		return nil, err
	}
	profiles, err := Profiles()
	if err != nil {
		return nil, err
	}
	l := &loader{schema: schema, profiles: profiles, ids: map[string]string{}, suites: map[string]string{}}
	err = fs.WalkDir(files, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".yaml") {
			return err
		}
		text, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		l.file(path, text)
		return nil
	})
	if err := errors.Join(append(l.problems, err)...); err != nil {
		return nil, err
	}
	if len(l.cases) == 0 {
		return nil, errors.New("no *.yaml file with cases")
	}
	return l.cases, nil
}

var compileSchema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(schemaText))
	if err != nil {
		return nil, fmt.Errorf("case.schema.json: %w", err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("case.schema.json", document); err != nil {
		return nil, err
	}
	return compiler.Compile("case.schema.json")
})

type loader struct {
	schema   *jsonschema.Schema
	profiles []Profile
	cases    []*Case
	problems []error
	ids      map[string]string // id → file:line
	suites   map[string]string // suite → file
}

func (l *loader) problem(file string, line int, format string, args ...any) {
	l.problems = append(l.problems, fmt.Errorf("%s:%d: %s", file, line, fmt.Sprintf(format, args...)))
}

func (l *loader) file(path string, text []byte) {
	tree, err := parseYAML(text)
	if err != nil {
		l.problems = append(l.problems, fmt.Errorf("%s: %w", path, err))
		return
	}
	if !l.validate(path, tree) {
		return
	}
	var suite suiteText
	if err := decodeStrict(tree.json(), &suite); err != nil {
		l.problem(path, tree.line, "%v", err)
		return
	}
	if other, ok := l.suites[suite.Suite]; ok {
		l.problem(path, tree.line, "suite %s is already the name of %s", suite.Suite, other)
		return
	}
	l.suites[suite.Suite] = path
	outer, err := variants(suite.Each)
	if err != nil {
		l.problem(path, tree.field("each").line, "%v", err)
		return
	}
	let := vars{}
	if suite.Let != nil {
		if err := json.Unmarshal(suite.Let, &let); err != nil {
			l.problem(path, tree.field("let").line, "%v", err)
			return
		}
	}
	for _, c := range tree.field("cases").values {
		for _, key := range []string{"before", "after"} {
			if c.field(key) == nil && tree.field(key) != nil {
				c.keys, c.values = append(c.keys, key), append(c.values, tree.field(key))
			}
		}
		l.variantsOf(path, &suite, let, outer, c)
	}
}

// validate holds a file against the schema and reports what is wrong at the place in the file where it is.
func (l *loader) validate(path string, tree *node) bool {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(tree.json()))
	if err != nil {
		l.problem(path, tree.line, "%v", err)
		return false
	}
	err = l.schema.Validate(value)
	if err == nil {
		return true
	}
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		l.problem(path, tree.line, "%v", err)
		return false
	}
	printer := message.NewPrinter(language.English)
	worst := deepest(invalid)
	place := worst.InstanceLocation
	if unknown, ok := worst.ErrorKind.(*kind.AdditionalProperties); ok {
		place = append(slices.Clone(place), unknown.Properties[0])
	}
	l.problem(path, tree.lineAt(place), "%s: %s",
		strings.Join(worst.InstanceLocation, "."), worst.ErrorKind.LocalizedString(printer))
	return false
}

// deepest gives the error that lies furthest inside the file: of the alternatives of a schema that is the one that was meant.
// An unknown key beats others at the same depth, since it is most often the slip.
func deepest(e *jsonschema.ValidationError) *jsonschema.ValidationError {
	if len(e.Causes) == 0 {
		return e
	}
	var worst *jsonschema.ValidationError
	for _, cause := range e.Causes {
		found := deepest(cause)
		_, unknown := found.ErrorKind.(*kind.AdditionalProperties)
		switch {
		case worst == nil, len(found.InstanceLocation) > len(worst.InstanceLocation):
			worst = found
		case unknown && len(found.InstanceLocation) == len(worst.InstanceLocation):
			worst = found
		}
	}
	return worst
}

// A variant is one choice on every axis of an `each`.
type variant struct {
	label  string // /label for each axis
	values vars
}

// variants gives the product of the axes of an `each`, or the one empty variant.
func variants(each json.RawMessage) ([]variant, error) {
	all := []variant{{values: vars{}}}
	if each == nil {
		return all, nil
	}
	axes := []json.RawMessage{each}
	if each[0] == '[' {
		if err := json.Unmarshal(each, &axes); err != nil {
			return nil, err
		}
	}
	for _, axis := range axes {
		choices, err := orderedFields(axis)
		if err != nil {
			return nil, err
		}
		var product []variant
		for _, before := range all {
			for _, choice := range choices {
				v := variant{label: before.label + "/" + choice.name, values: before.values.clone()}
				if err := json.Unmarshal(choice.value, &v.values); err != nil {
					return nil, err
				}
				product = append(product, v)
			}
		}
		all = product
	}
	return all, nil
}

type field struct {
	name  string
	value json.RawMessage
}

// orderedFields reads an object's fields in their order.
func orderedFields(object json.RawMessage) ([]field, error) {
	decoder := json.NewDecoder(bytes.NewReader(object))
	if _, err := decoder.Token(); err != nil {
		return nil, err
	}
	var fields []field
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, err
		}
		fields = append(fields, field{name: fmt.Sprint(name), value: value})
	}
	return fields, nil
}

func (l *loader) variantsOf(path string, suite *suiteText, let vars, outer []variant, c *node) {
	var each json.RawMessage
	body := &node{line: c.line, isMap: true}
	for i, key := range c.keys {
		if key == "each" {
			each = c.values[i].json()
			continue
		}
		body.keys, body.values = append(body.keys, key), append(body.values, c.values[i])
	}
	inner, err := variants(each)
	if err != nil {
		l.problem(path, c.line, "each: %v", err)
		return
	}
	for _, o := range outer {
		for _, i := range inner {
			values := let.clone()
			for _, more := range []vars{o.values, i.values} {
				for name, value := range more {
					values[name] = value
				}
			}
			l.variant(path, suite, c.line, values, o.label+i.label, body.json())
		}
	}
}

// variant makes the cases of one variant, one for each version of HTTP.
func (l *loader) variant(path string, suite *suiteText, line int, values vars, label string, body []byte) {
	text, err := values.expand(body, true)
	if err != nil {
		l.problem(path, line, "%v", err)
		return
	}
	var read caseText
	if err := decodeStrict(text, &read); err != nil {
		l.problem(path, line, "%v", err)
		return
	}
	base, err := assemble(suite, &read)
	if err != nil {
		l.problem(path, line, "%s%s: %v", read.Name, label, err)
		return
	}
	base.ID, base.File, base.Line = suite.Suite+"/"+read.Name+label, path, line
	raw := false
	if err := checkCase(base, l.profiles, &raw); err != nil {
		l.problem(path, line, "%s: %v", base.ID, err)
		return
	}
	if other, ok := l.ids[base.ID]; ok {
		l.problem(path, line, "%s is already the name of the case at %s", base.ID, other)
		return
	}
	l.ids[base.ID] = fmt.Sprintf("%s:%d", path, line)
	versions := []Feature{H1, H2}
	if suite.HTTP != nil {
		versions = suite.HTTP
	}
	if read.HTTP != nil {
		versions = read.HTTP
	}
	if raw {
		versions = []Feature{H1}
	}
	for _, version := range versions {
		c := *base
		c.Needs = append(slices.Clone(base.Needs), version)
		if version == H2 {
			c.ID, c.http2 = base.ID+"@h2", true
		}
		l.cases = append(l.cases, &c)
	}
}

// assemble lays a case over its suite.
func assemble(suite *suiteText, read *caseText) (*Case, error) {
	c := &Case{
		Suite: suite.Suite, Doc: read.Doc, Profile: read.Profile, Deviates: read.Deviates, timeout: time.Duration(read.Timeout),
		topics: map[string]*topicSpec{}, faults: read.Faults, steps: read.Steps, kafkaHas: read.KafkaHas, skipOn: map[string]string{},
		Needs: slices.Concat(suite.Needs, read.Needs),
	}
	if c.Profile == "" {
		c.Profile = suite.Profile
	}
	if c.Profile == "" {
		c.Profile = DefaultProfile
	}
	if c.timeout == 0 {
		c.timeout = time.Duration(suite.Timeout)
	}
	if c.timeout == 0 {
		c.timeout = defaultTimeout
	}
	for _, topics := range []map[string]json.RawMessage{suite.Topics, read.Topics} {
		for name, text := range topics {
			var spec *topicSpec
			if err := json.Unmarshal(text, &spec); err != nil {
				return nil, fmt.Errorf("topics.%s: %w", name, err)
			}
			c.topics[name] = spec
		}
	}
	stepDifferences := map[string]json.RawMessage{}
	for trait, text := range read.On {
		var d struct {
			Reason string `json:"reason"`
			Skip   bool   `json:"skip"`
		}
		if err := json.Unmarshal(text, &d); err != nil {
			return nil, fmt.Errorf("on.%s: %w", trait, err)
		}
		if d.Skip {
			c.skipOn[trait] = d.Reason
		} else {
			stepDifferences[trait] = text
		}
	}
	if c.steps == nil {
		only := read.stepFields
		only.On = stepDifferences
		text, err := marshal(only)
		if err != nil {
			return nil, err
		}
		c.steps = []json.RawMessage{text}
	} else if len(stepDifferences) > 0 {
		return nil, errors.New("on: of a case with steps can only skip it; put the expectation at its step")
	}
	c.steps, c.after = slices.Concat(read.Before, c.steps), read.After
	return c, nil
}
