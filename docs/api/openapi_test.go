package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

const documentURL = "openapi.json"

// object is a JSON object of the document.
type object = map[string]any

func read(t *testing.T) object {
	t.Helper()
	text, err := yaml.YAMLToJSON(Document)
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return value.(object)
}

// walk calls visit for every value of the document, with its JSON pointer.
func walk(pointer string, value any, visit func(pointer string, value any)) {
	visit(pointer, value)
	switch value := value.(type) {
	case object:
		for key, child := range value {
			walk(pointer+"/"+escape(key), child, visit)
		}
	case []any:
		for i, child := range value {
			walk(fmt.Sprintf("%s/%d", pointer, i), child, visit)
		}
	}
}

func escape(key string) string {
	return strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
}

// at gives the value at a JSON pointer, or nil.
func at(document any, pointer string) any {
	for _, key := range strings.Split(strings.TrimPrefix(pointer, "/"), "/") {
		key = strings.ReplaceAll(strings.ReplaceAll(key, "~1", "/"), "~0", "~")
		parent, ok := document.(object)
		if !ok {
			return nil
		}
		document = parent[key]
	}
	return document
}

// resolve follows a reference, giving the value and its own pointer.
func resolve(document object, pointer string, value any) (string, object) {
	o, ok := value.(object)
	if !ok {
		return pointer, nil
	}
	if reference, ok := o["$ref"].(string); ok {
		pointer = strings.TrimPrefix(reference, "#")
		o, _ = at(document, pointer).(object)
	}
	return pointer, o
}

func TestReferencesResolve(t *testing.T) {
	t.Parallel()
	document := read(t)
	used := map[string]bool{}
	walk("", document, func(pointer string, value any) {
		o, ok := value.(object)
		if !ok {
			return
		}
		reference, ok := o["$ref"].(string)
		if !ok {
			return
		}
		used[strings.TrimPrefix(reference, "#")] = true
		if !strings.HasPrefix(reference, "#/components/") || at(document, strings.TrimPrefix(reference, "#")) == nil {
			t.Errorf("%s: %s leads nowhere", pointer, reference)
		}
	})
	for kind, components := range document["components"].(object) {
		for name := range components.(object) {
			if pointer := "/components/" + kind + "/" + name; !used[pointer] {
				t.Errorf("%s is used by nothing", pointer)
			}
		}
	}
}

var methods = []string{"get", "put", "post", "delete", "patch", "head", "options", "trace"}

// operations calls visit for every operation, with its pointer and the path's own parameters.
func operations(document object, visit func(path, pointer string, operation object, shared []any)) {
	for path, item := range document["paths"].(object) {
		shared, _ := item.(object)["parameters"].([]any)
		for method, operation := range item.(object) {
			if slices.Contains(methods, method) {
				visit(path, "/paths/"+escape(path)+"/"+method, operation.(object), shared)
			}
		}
	}
}

func TestOperationsAreWhole(t *testing.T) {
	t.Parallel()
	document := read(t)
	tags := map[any]bool{}
	for _, tag := range document["tags"].([]any) {
		tags[tag.(object)["name"]] = true
	}
	seen := map[string]string{}
	name := regexp.MustCompile(`^(api\.v[23]|weir|weir\.v[123])\.[a-z0-9-]+\.?[a-z0-9-]*$`)
	operations(document, func(_, pointer string, operation object, _ []any) {
		id, _ := operation["operationId"].(string)
		if !name.MatchString(id) {
			t.Errorf("%s: operationId %q", pointer, id)
		}
		if other, ok := seen[id]; ok {
			t.Errorf("%s: operationId %s is also that of %s", pointer, id, other)
		}
		seen[id] = pointer
		of, _ := operation["tags"].([]any)
		if len(of) != 1 || !tags[of[0]] {
			t.Errorf("%s: tags %v, want one that is declared", pointer, of)
		}
		if summary, _ := operation["summary"].(string); summary == "" {
			t.Errorf("%s: no summary", pointer)
		}
		responses, _ := operation["responses"].(object)
		if responses["default"] == nil || len(responses) < 2 {
			t.Errorf("%s: responses want a success and a default", pointer)
		}
		for status, response := range responses {
			at, r := resolve(document, pointer+"/responses/"+status, response)
			if text, _ := r["description"].(string); text == "" {
				t.Errorf("%s: no description", at)
			}
			if headers, _ := r["headers"].(object); headers["Weir-Request-Id"] == nil {
				t.Errorf("%s: no Weir-Request-Id", at)
			}
		}
	})
	if len(seen) == 0 {
		t.Error("no operations")
	}
}

func TestPathParametersAreDeclared(t *testing.T) {
	t.Parallel()
	document := read(t)
	inPath := regexp.MustCompile(`\{([a-z_]+)\}`)
	operations(document, func(path, pointer string, operation object, shared []any) {
		var want, got []string
		for _, match := range inPath.FindAllStringSubmatch(path, -1) {
			want = append(want, match[1])
		}
		own, _ := operation["parameters"].([]any)
		names := map[string]bool{}
		for _, p := range append(slices.Clone(shared), own...) {
			where, parameter := resolve(document, pointer, p)
			key := fmt.Sprint(parameter["in"], " ", parameter["name"])
			if names[key] {
				t.Errorf("%s: parameter %s twice", pointer, key)
			}
			names[key] = true
			if parameter["schema"] == nil || parameter["description"] == nil {
				t.Errorf("%s: a parameter without schema or description", where)
			}
			if parameter["in"] == "path" {
				got = append(got, parameter["name"].(string))
				if parameter["required"] != true {
					t.Errorf("%s: a path parameter is required", where)
				}
			}
		}
		if !slices.Equal(want, got) {
			t.Errorf("%s: path parameters %v, declared %v", pointer, want, got)
		}
	})
}

// TestExamplesAreValid holds every example against the schema beside it, and that every media type has one.
func TestExamplesAreValid(t *testing.T) {
	t.Parallel()
	document := read(t)
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	if err := compiler.AddResource(documentURL, document); err != nil {
		t.Fatal(err)
	}
	checked := 0
	walk("", document, func(pointer string, value any) {
		media, ok := value.(object)
		if !ok || media["schema"] == nil || strings.Contains(pointer, "/schemas/") {
			return
		}
		schema, err := compiler.Compile(documentURL + "#" + pointer + "/schema")
		if err != nil {
			t.Errorf("%s: %v", pointer, err)
			return
		}
		examples := map[string]any{}
		if example, ok := media["example"]; ok {
			examples[""] = example
		}
		several, _ := media["examples"].(object)
		for name, e := range several {
			_, resolved := resolve(document, pointer, e)
			examples[name] = resolved["value"]
		}
		if inContent := strings.Contains(pointer, "/content/"); inContent && len(examples) == 0 {
			t.Errorf("%s: no example", pointer)
		}
		for name, example := range examples {
			checked++
			if err := schema.Validate(example); err != nil {
				text, _ := json.Marshal(example)
				t.Errorf("%s: example %s %s: %v", pointer, name, text, err)
			}
		}
	})
	t.Logf("%d examples", checked)
}
