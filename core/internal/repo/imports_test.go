package repo

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/weir-gateway/weir"

// layers is the order of the packages: a package imports only packages of lower layers. Packages of one layer do not know
// each other. This is docs/design.md, "Imports point down".
var layers = map[string]int{
	"core/identity": 0, "core/internal/fault": 0, "core/internal/rawjson": 0, "core/internal/record": 0, "core/config": 0, "docs/api": 0,
	"core/internal/child":  0,
	"core/internal/format": 1, "core/internal/telemetry": 1,
	"core/internal/kafka": 2, "core/internal/kafka/producer": 3, "core/internal/kafka/admin": 3,
	"core/internal/kafka/reader": 3, "core/internal/kafka/consumer": 4,
	"core/internal/rest": 5, "core/internal/rest/v1": 7, "core/internal/rest/v2": 6, "core/internal/rest/v3": 6, "core/internal/rest/peer": 6,
	"core":        8,
	"conformance": 1, "conformance/kafkaenv": 2,
	"core/internal/embedded": 1, "core/internal/apachekafka": 1, "core/internal/history": 1,
	"core/coretest":                 9,
	"core/config/internal/generate": 1,
	"core/cmd/weir":                 10, "core/cmd/weir-bench": 10, "core/cmd/weir-kafka": 10,
	"core/internal/acceptance": 11, "core/internal/repo": 11,
}

// homes are libraries that live in one place, so that exchanging or distrusting one is one package's matter. Tests may use
// franz-go anywhere: it checks what sarama did.
var homes = map[string][]string{
	"github.com/IBM/sarama":                 {"core/internal/kafka", "core/cmd/weir-bench"},
	"github.com/xdg-go/scram":               {"core/internal/kafka"},
	"github.com/open-policy-agent/opa":      {"core/internal/policy", "policies"},
	"github.com/twmb/franz-go/pkg/kfake":    {"core/internal/embedded"},
	"github.com/twmb/franz-go":              {"core/internal/embedded", "conformance/kafkaenv", "core/internal/apachekafka", "core/internal/history", "core/cmd/weir-bench"},
	"github.com/prometheus/client_golang":   {"core/internal/telemetry"},
	"github.com/spf13/cobra":                {"core/cmd"},
	"github.com/goccy/go-yaml":              {"core/config", "conformance"},
	"github.com/go-json-experiment/json":    nil, // everywhere
	"github.com/santhosh-tekuri/jsonschema": {"conformance"},
	"golang.org/x/net":                      {"core/cmd", "conformance", "core/internal/history"},
}

type source struct {
	pkg, file string
	test      bool
	ast       *ast.File
}

// sources parses every Go file of the module, up to its imports and comments.
func sources(t *testing.T) []source {
	t.Helper()
	root := repositoryRoot(t)
	var all []source
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (strings.HasPrefix(entry.Name(), ".") && path != root || entry.Name() == "testdata" || entry.Name() == "bin") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		all = append(all, source{pkg: filepath.ToSlash(filepath.Dir(relative)), file: relative, test: strings.HasSuffix(path, "_test.go"), ast: file})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func repositoryRoot(t *testing.T) string {
	t.Helper()
	directory, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(directory, "go.mod")); err == nil {
			return directory
		}
		parent := filepath.Dir(directory)
		if parent == directory {
			t.Fatal("no go.mod above the test")
		}
		directory = parent
	}
}

func imports(t *testing.T, file *ast.File) []string {
	t.Helper()
	var paths []string
	for _, spec := range file.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

// layerOf gives a package's layer. What lies under a command's own internal directory is just below the commands.
func layerOf(pkg string) (layer int, known bool) {
	if strings.HasPrefix(pkg, "core/cmd/") && strings.Contains(pkg, "/internal/") {
		return layers["core/coretest"], true
	}
	layer, known = layers[pkg]
	return layer, known
}

func TestImportsPointDown(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		layer, known := layerOf(s.pkg)
		if !known {
			t.Errorf("%s: package %s has no layer; give it one in layers, and a line in docs/design.md", s.file, s.pkg)
			continue
		}
		for _, path := range imports(t, s.ast) {
			ours, found := strings.CutPrefix(path, module+"/")
			if !found || s.test {
				continue
			}
			if theirs, _ := layerOf(ours); theirs >= layer {
				t.Errorf("%s (layer %d) imports %s (layer %d): imports point down", s.file, layer, ours, theirs)
			}
		}
	}
}

func TestTheConformanceSuiteKnowsNothingOfTheCore(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if s.test || s.pkg != "conformance" && !strings.HasPrefix(s.pkg, "conformance/") {
			continue
		}
		for _, path := range imports(t, s.ast) {
			if ours, found := strings.CutPrefix(path, module+"/"); found && ours != "core/identity" && !strings.HasPrefix(ours, "conformance") {
				t.Errorf("%s imports %s: the suite is black-box", s.file, ours)
			}
		}
	}
}

func TestLibrariesStayAtHome(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		for _, path := range imports(t, s.ast) {
			for library, home := range homes {
				if home == nil || path != library && !strings.HasPrefix(path, library+"/") {
					continue
				}
				if s.test && library != "github.com/IBM/sarama" {
					continue
				}
				if library == "github.com/twmb/franz-go" && strings.HasPrefix(path, "github.com/twmb/franz-go/pkg/kfake") {
					continue // has a rule of its own
				}
				if !within(s.pkg, home) {
					t.Errorf("%s imports %s, which lives in %s only", s.file, path, strings.Join(home, ", "))
				}
			}
			if s.pkg == "core/identity" && strings.Contains(path, ".") && !s.test {
				t.Errorf("%s imports %s: core/identity is linked into gateways and uses the standard library only", s.file, path)
			}
		}
	}
}

// No HTTP below rest: what Kafka does must not depend on how it was asked. The one client is that of the token endpoint.
func TestNothingBelowRestKnowsHTTP(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if s.test || !within(s.pkg, []string{"core/internal/kafka", "core/internal/record", "core/internal/fault", "core/internal/format", "core/internal/rawjson"}) || filepath.Base(s.file) == "oauth.go" {
			continue
		}
		for _, path := range imports(t, s.ast) {
			if path == "net/http" {
				t.Errorf("%s imports net/http", s.file)
			}
		}
	}
}

func within(pkg string, homes []string) bool {
	for _, home := range homes {
		if pkg == home || strings.HasPrefix(pkg, home+"/") {
			return true
		}
	}
	return false
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	t.Parallel()
	comments := map[string]string{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		comments[s.pkg] += ""
		if s.ast.Doc != nil {
			comments[s.pkg] += s.ast.Doc.Text()
		}
	}
	for pkg, comment := range comments {
		if sentences := strings.Count(comment, ".") + strings.Count(comment, ":"); sentences < 3 {
			t.Errorf("package %s: its comment must tell a newcomer where they are, in three sentences or more; it is %q", pkg, comment)
		}
	}
}
