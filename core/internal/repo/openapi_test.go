package repo

import (
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/weir-gateway/weir/core"
	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/docs/api"
)

var pathParameter = regexp.MustCompile(`\{[^}]+\}`)

// The document and the route table are one list: whoever reads the one knows the other. Paths are compared with their
// parameters' names left out.
func TestRouteTableAndOpenAPIAreTheSameList(t *testing.T) {
	t.Parallel()
	var document struct {
		Paths map[string]map[string]any `yaml:"paths"`
	}
	if err := yaml.Unmarshal(api.Document, &document); err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for path, item := range document.Paths {
		for method, operation := range item {
			fields, ok := operation.(map[string]any)
			if !ok || fields["operationId"] == nil {
				continue // parameters and summaries of the path
			}
			documented[strings.ToUpper(method)+" "+pathParameter.ReplaceAllString(path, "{}")] = fields["operationId"].(string)
		}
	}
	served := map[string]string{}
	for _, route := range core.Routes(config.Default().API) {
		path := strings.TrimSuffix(route.Pattern, "{$}")
		served[route.Method+" "+pathParameter.ReplaceAllString(path, "{}")] = route.ID
	}
	if diff := cmp.Diff(documented, served); diff != "" {
		t.Errorf("docs/api/openapi.yaml (-) and the route table (+) differ:\n%s", diff)
	}
}

// A route of the v1 dialect is an operation of v2's, by which it is allowed, blocked and counted; every other operation has one route.
func TestOperationIDsAreUnique(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, route := range core.Routes(config.Default().API) {
		for _, id := range route.Operations() {
			if known := seen[id]; known != (route.API.Name == "v1") {
				t.Errorf("operation %s of %s: in the route table before: %t", id, route.Pattern, known)
			}
			seen[id] = true
		}
	}
}
