package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-gateway/weir/core/config"
)

const (
	goodConfig = `clusters:
  - name: main
    bootstrap_servers: ["localhost:9092"]
    sasl: {mechanism: PLAIN, username: weir, password: hunter2, allow_plaintext: true}
`
	badConfig = `clusters:
  - name: main
    bootstrap_server: ["localhost:9092"]
produce: {timeout: 30}
`
)

// runConfig runs weir config with arguments and gives what it wrote and its error.
func runConfig(t *testing.T, arguments ...string) (out, problem string, err error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	command := newConfigCommand()
	command.SetArgs(arguments)
	command.SetOut(&stdout)
	command.SetErr(&stderr)
	err = command.ExecuteContext(t.Context())
	return stdout.String(), stderr.String(), err
}

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "weir.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestConfigCheck(t *testing.T) {
	good, bad := writeConfig(t, goodConfig), writeConfig(t, badConfig)
	for name, test := range map[string]struct {
		arguments    []string
		out, problem string
		err          error
	}{
		"good": {[]string{"check", good}, good + ": ok\n", "", nil},
		"bad": {[]string{"check", bad}, "",
			bad + ":3:5: clusters[0].bootstrap_server: is not a setting. Did you mean bootstrap_servers?\n" +
				bad + ":4:20: produce.timeout: expected a duration, got 30 without a unit. Write the unit, as \"30s\" or \"30ms\".\n",
			errReported},
		"missing": {[]string{"check", good + ".none"}, "",
			good + ".none: does not exist. Give the path of a configuration file.\n", errReported},
		"good as JSON": {[]string{"check", "-o", "json", good},
			"{\n  \"file\": \"" + good + "\",\n  \"ok\": true,\n  \"problems\": []\n}\n", "", nil},
	} {
		out, problem, err := runConfig(t, test.arguments...)
		if out != test.out || problem != test.problem || !errors.Is(err, test.err) {
			t.Errorf("%s: got %q, %q and %v, want %q, %q and %v", name, out, problem, err, test.out, test.problem, test.err)
		}
	}
}

func TestConfigCheckJSON(t *testing.T) {
	bad := writeConfig(t, badConfig)
	out, problem, err := runConfig(t, "check", "--output=json", bad)
	if !errors.Is(err, errReported) || problem != "" {
		t.Errorf("got %q and %v, want nothing on standard error and errReported", problem, err)
	}
	var got struct {
		File     string
		OK       bool
		Problems config.Problems
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	want := config.Problem{File: bad, Line: 3, Column: 5, Path: "clusters[0].bootstrap_server", Message: "is not a setting",
		Cure: "did you mean bootstrap_servers?"}
	if got.OK || got.File != bad || len(got.Problems) != 2 {
		t.Fatalf("got %+v, want two problems of %s", got, bad)
	}
	if diff := cmp.Diff(want, got.Problems[0]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestConfigCheckOfTheEnvironmentAlone(t *testing.T) {
	t.Setenv("WEIR_CLUSTERS_0_NAME", "main")
	if _, problem, err := runConfig(t, "check"); !errors.Is(err, errReported) || !strings.Contains(problem, "clusters[0].bootstrap_servers: is required") {
		t.Errorf("got %q and %v, want a problem about bootstrap_servers", problem, err)
	}
	t.Setenv("WEIR_CLUSTERS_0_BOOTSTRAP_SERVERS", "localhost:9092")
	if out, _, err := runConfig(t, "check"); out != "environment: ok\n" || err != nil {
		t.Errorf("got %q and %v, want environment: ok", out, err)
	}
}

func TestConfigShow(t *testing.T) {
	t.Setenv("WEIR_LOG_LEVEL", "debug")
	out, problem, err := runConfig(t, "show", writeConfig(t, goodConfig))
	if err != nil || problem != "" {
		t.Fatalf("got %q and %v", problem, err)
	}
	if strings.Contains(out, "hunter2") {
		t.Errorf("the password shows in\n%s", out)
	}
	for _, want := range []string{"password: \"***\"", "level: \"debug\"", "timeout: 30s"} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is missing in\n%s", want, out)
		}
	}
	if out, problem, err := runConfig(t, "show", writeConfig(t, badConfig)); out != "" || problem == "" || !errors.Is(err, errReported) {
		t.Errorf("of a bad file: got %q, %q and %v, want problems only", out, problem, err)
	}
}

func TestConfigTexts(t *testing.T) {
	for name, want := range map[string][]byte{"docs": config.Markdown(), "schema": config.JSONSchema()} {
		if out, problem, err := runConfig(t, name); err != nil || problem != "" || out != string(want) {
			t.Errorf("config %s: got %q and %v and %d bytes, want %d bytes", name, problem, err, len(out), len(want))
		}
	}
}

func TestConfigArguments(t *testing.T) {
	good := writeConfig(t, goodConfig)
	for _, arguments := range [][]string{{"check", "-o", "xml", good}, {"check", good, good}, {"show", good, good}, {"docs", "x"}, {"check", "--no"}, {"nonsense"}} {
		if out, _, err := runConfig(t, arguments...); err == nil || errors.Is(err, errReported) {
			t.Errorf("%v: got %q and %v, want an error about the arguments", arguments, out, err)
		}
	}
	if out, _, err := runConfig(t); err != nil || !strings.Contains(out, "check") {
		t.Errorf("without a subcommand: got %q and %v, want help", out, err)
	}
}
