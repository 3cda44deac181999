package config_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/weir-gateway/weir/core/config"
)

func TestGeneratedFilesAreCurrent(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][]byte{
		"config.md":          config.Markdown(),
		"config.schema.json": config.JSONSchema(),
	} {
		file := filepath.Join("..", "..", "docs", name)
		got, err := os.ReadFile(file)
		if err != nil {
			t.Errorf("%v: run make generate", err)
			continue
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is not what core/config makes: run make generate (-made +on disk):\n%s", file, diff)
		}
	}
}

// The examples in the reference are configurations that load.
func TestExamplesLoad(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	for _, name := range []string{"tls/gateway.pem", "tls/gateway.key", "secrets/kafka-password"} {
		file := filepath.Join(directory, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("content\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	blocks := strings.Split(string(config.Markdown()), "```yaml\n")[1:]
	if len(blocks) != 2 {
		t.Errorf("the reference has %d examples, want 2", len(blocks))
	}
	for _, block := range blocks {
		text, _, _ := strings.Cut(block, "```")
		if _, err := config.Parse(filepath.Join(directory, "weir.yaml"), []byte(text), []string{"METRICS_BROKERS=a:1,b:2"}); err != nil {
			t.Errorf("the example\n%s\nhas the problems\n%v", text, err)
		}
	}
}

// schemaCannotKnow are the bad fixtures that are well-formed: relations, references, the environment, and texts whose form
// the schema does not describe. All other bad fixtures that are YAML at all must fail the schema.
var schemaCannotKnow = []string{
	"address", "address-empty", "addresses-equal", "addresses-overlap", "advertised-urls", "authority", "bootstrap-servers",
	"bootstrap-servers-empty", "client-id", "cluster-id", "cluster-ids-twice", "cluster-name", "cluster-names-twice",
	"cluster-without-anything", "duration-too-long", "duration-too-short", "empty", "environment-appends-incomplete",
	"environment-index", "environment-section", "environment-skips", "environment-unknown", "environment-values", "file-is-a-directory",
	"file-missing", "kafka-version", "kafka-version-four-parts", "kafka-version-old", "no-cluster", "nothing-offered", "oauth-extensions",
	"oauth-http", "oauth-url", "oauth-url-with-password", "oauth-without-anything", "operation-names", "produce-outlives-request",
	"record-larger-than-buffers", "reference-device", "reference-file-binary", "reference-file-directory", "reference-file-missing",
	"reference-forms", "reference-in-secret", "reference-not-set", "reference-number", "reference-open", "reference-pairs",
	"peers-address", "peers-address-of-management", "peers-address-taken", "peers-alone", "peers-certificate-without-https",
	"peers-https-without-certificate", "peers-node-id-unknown", "peers-node-ids", "peers-secret-short", "peers-tls-incomplete",
	"peers-urls", "peers-without-anything", "peers-without-node-id",
	"number-is-hexadecimal", "record-larger-than-body", "sasl-without-credentials", "sasl-without-mechanism", "sasl-without-tls",
	"size-overflows", "size-too-large", "stall-outlives-produce", "heartbeat-outlives-session", "wait-outlives-longest", "tag",
	"tls-certificate-without-key", "tls-client-ca-alone", "tls-key-without-certificate", "tls-off", "two-documents",
}

func TestSchemaJudgesTheFixtures(t *testing.T) {
	t.Parallel()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(config.JSONSchema()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	if err := compiler.AddResource("config.schema.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("config.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	// judge gives what the schema says, and whether the file could be put before it.
	judge := func(file string) (verdict error, readable bool) {
		data, _ := readFixture(t, file)
		asJSON, err := yaml.YAMLToJSON(data)
		if err != nil {
			return nil, false //nolint:nilerr // unreadable is what is told
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
		if err != nil {
			return nil, false //nolint:nilerr // unreadable is what is told
		}
		return schema.Validate(value), true
	}
	for _, file := range fixtures(t, ".good.yaml") {
		if verdict, readable := judge(file); !readable || verdict != nil {
			t.Errorf("%s: %v (readable %v)", file, verdict, readable)
		}
	}
	refused := 0
	for _, file := range fixtures(t, ".bad.yaml") {
		verdict, readable := judge(file)
		if !readable {
			continue
		}
		name := strings.TrimSuffix(filepath.Base(file), ".bad.yaml")
		if known := slices.Contains(schemaCannotKnow, name); known != (verdict == nil) {
			t.Errorf("%s: the schema says %v; in the list of what it cannot know: %v", name, verdict, known)
		}
		if verdict != nil {
			refused++
		}
	}
	if refused == 0 {
		t.Error("the schema refused nothing")
	}
	for _, name := range schemaCannotKnow {
		if _, err := os.Stat(filepath.Join("testdata", name+".bad.yaml")); err != nil {
			t.Errorf("the list of what the schema cannot know: %v", err)
		}
	}
}
