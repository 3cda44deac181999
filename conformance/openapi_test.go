package conformance_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/weir-gateway/weir/docs/api"
)

// openAPI holds answers against docs/api/openapi.yaml: what is documented is what is sent. Answers to what is no operation of
// the document (unknown paths, other methods) are none of its business.
type openAPI struct {
	document map[string]any
	compiler *jsonschema.Compiler
	paths    []documentedPath

	mu       sync.Mutex
	schemas  map[string]*jsonschema.Schema
	problems map[string]string // the first of each kind
	answered map[string]bool   // operationId and status
}

type documentedPath struct {
	pattern  *regexp.Regexp
	template string
}

const documentURL = "openapi.json"

func readOpenAPI(t *testing.T) *openAPI {
	t.Helper()
	text, err := yaml.YAMLToJSON(api.Document)
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	o := &openAPI{
		document: document.(map[string]any), compiler: jsonschema.NewCompiler(),
		schemas: map[string]*jsonschema.Schema{}, problems: map[string]string{}, answered: map[string]bool{},
	}
	o.compiler.DefaultDraft(jsonschema.Draft2020)
	if err := o.compiler.AddResource(documentURL, document); err != nil {
		t.Fatal(err)
	}
	parameter := regexp.MustCompile(`\\\{[a-z]+\\\}`)
	for template := range o.document["paths"].(map[string]any) {
		expression := parameter.ReplaceAllString(regexp.QuoteMeta(template), "[^/]+")
		o.paths = append(o.paths, documentedPath{regexp.MustCompile("^" + expression + "$"), template})
	}
	return o
}

// observe is for Options.Observe.
func (o *openAPI) observe(response *http.Response, body []byte) {
	path := strings.TrimPrefix(response.Request.URL.EscapedPath(), "/kafka")
	if path != "/" {
		path = strings.TrimSuffix(path, "/")
	}
	for _, p := range o.paths {
		if p.pattern.MatchString(path) {
			o.hold(p.template, response, body)
		}
	}
}

func (o *openAPI) hold(template string, response *http.Response, body []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	operation, pointer := o.at("", "paths", template, strings.ToLower(response.Request.Method))
	if operation == nil || noRoute(response, body) {
		return
	}
	status := strconv.Itoa(response.StatusCode)
	documented, at := o.at(pointer, "responses", status)
	if documented == nil {
		documented, at = o.at(pointer, "responses", "default")
	}
	where := fmt.Sprintf("%v %s", operation["operationId"], status)
	o.answered[where] = true
	note := func(format string, args ...any) {
		if _, ok := o.problems[where]; !ok {
			o.problems[where] = fmt.Sprintf(format, args...)
		}
	}
	headers, _ := documented["headers"].(map[string]any)
	for name := range response.Header {
		if headers[name] == nil && (strings.HasPrefix(name, "Weir-") || name == "Location" || name == "Retry-After" || name == "Preference-Applied") {
			note("the header %s is not documented", name)
		}
	}
	content, _ := documented["content"].(map[string]any)
	parsed, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")) // an unreadable type is documented by nobody
	if name, old := strings.CutSuffix(parsed, ".v1+json"); old && content[parsed] == nil {
		parsed = name + ".v2+json" // the v1 dialect: v2's answers under older types
	}
	switch {
	case len(body) == 0:
	case content[parsed] == nil:
		note("the media type %s is not documented", parsed)
	case strings.HasSuffix(parsed, "json"):
		schema, err := o.schema(at + "/content/" + escape(parsed) + "/schema")
		if err != nil {
			note("%v", err)
			return
		}
		if err := validateAll(schema, body); err != nil {
			note("%v\n%.400s", err, body)
		}
	}
}

// noRoute reports whether the answer is that of a path that is served by nothing: of an API that is switched off, or a
// spelling that only looks like a path of the document.
func noRoute(response *http.Response, body []byte) bool {
	return response.StatusCode == http.StatusNotFound && response.Header.Get("Content-Type") == "application/json" &&
		(len(body) == 0 || bytes.Contains(body, []byte(`"HTTP 404 Not Found"`)))
}

// validateAll holds each JSON value of a body against the schema: a record stream has one for each record.
func validateAll(schema *jsonschema.Schema, body []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	for {
		var text json.RawMessage
		if err := decoder.Decode(&text); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			return err
		}
		if err := schema.Validate(value); err != nil {
			return err
		}
	}
}

func (o *openAPI) schema(pointer string) (*jsonschema.Schema, error) {
	if s, ok := o.schemas[pointer]; ok {
		return s, nil
	}
	s, err := o.compiler.Compile(documentURL + "#" + pointer)
	o.schemas[pointer] = s
	return s, err
}

func escape(key string) string {
	return strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
}

// at goes down from a JSON pointer by keys, following references. It gives nil where there is nothing.
func (o *openAPI) at(pointer string, keys ...string) (map[string]any, string) {
	value := o.resolve(pointer)
	for _, key := range keys {
		next, ok := value[key].(map[string]any)
		if !ok {
			return nil, ""
		}
		value, pointer = next, pointer+"/"+escape(key)
		if reference, ok := value["$ref"].(string); ok {
			pointer = strings.TrimPrefix(reference, "#")
			value = o.resolve(pointer)
		}
	}
	return value, pointer
}

func (o *openAPI) resolve(pointer string) map[string]any {
	value := o.document
	for _, key := range strings.Split(pointer, "/")[1:] {
		value, _ = value[strings.ReplaceAll(strings.ReplaceAll(key, "~1", "/"), "~0", "~")].(map[string]any)
	}
	return value
}

func (o *openAPI) report(t *testing.T) {
	t.Helper()
	for where, problem := range o.problems {
		t.Errorf("docs/api/openapi.yaml: %s: %s", where, problem)
	}
	t.Logf("%d operations and statuses were held against docs/api/openapi.yaml", len(o.answered))
}
