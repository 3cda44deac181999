package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// rootOnly is a server that has nothing but the v2 root, and on other paths answers as no REST Proxy does.
func rootOnly(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.Error(w, "no", http.StatusTeapot)
			return
		}
		w.Header().Set("Content-Type", "application/vnd.kafka.v2+json")
		io.WriteString(w, "{}")
	}))
	t.Cleanup(server.Close)
	return server
}

func conformanceOutput(t *testing.T, args ...string) (string, error) {
	t.Helper()
	command := newConformanceCommand()
	var out bytes.Buffer
	command.SetOut(&out)
	command.SetErr(&out)
	command.SilenceErrors = true
	command.SetArgs(args)
	err := command.ExecuteContext(t.Context())
	return out.String(), err
}

func TestConformanceRun(t *testing.T) {
	t.Parallel()
	server := rootOnly(t)
	report := filepath.Join(t.TempDir(), "report.json")
	out, err := conformanceOutput(t, "run", "--url", server.URL, "--suite", "v2-root/get", "--report", report)
	if err != nil || !strings.Contains(out, "v2-root") {
		t.Errorf("got error %v and output\n%s", err, out)
	}
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	var read struct {
		OK     bool
		Counts struct{ Passed, Failed int }
	}
	if err := json.Unmarshal(text, &read); err != nil || !read.OK || read.Counts.Passed == 0 || read.Counts.Failed > 0 {
		t.Errorf("report: %v, %+v", err, read)
	}
}

func TestConformanceRunFails(t *testing.T) {
	t.Parallel()
	server := rootOnly(t)
	out, err := conformanceOutput(t, "run", "--url", server.URL, "--suite", "v2-negotiation/accepted/topics/any")
	if !errors.Is(err, errNotConformant) || !strings.Contains(out, "got 418") || !strings.Contains(out, "> GET /topics") {
		t.Errorf("got error %v and output\n%s", err, out)
	}
}

func TestConformanceKnownFailures(t *testing.T) {
	t.Parallel()
	server := rootOnly(t)
	known := filepath.Join(t.TempDir(), "known.txt")
	for text, want := range map[string]error{
		"v2-negotiation/accepted/topics/any # this server has none": nil,
		"v2-root/get # it works all the same":                       errNotConformant,
		"v2-root/no-such # there is no such one":                    errNotConformant,
	} {
		if err := os.WriteFile(known, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		pattern, _, _ := strings.Cut(text, " ")
		if strings.HasSuffix(pattern, "no-such") {
			pattern = "v2-root/get"
		}
		out, err := conformanceOutput(t, "run", "--url", server.URL, "--suite", pattern, "--known", known)
		if !errors.Is(err, want) {
			t.Errorf("%s: got error %v, want %v; output\n%s", text, err, want, out)
		}
	}
}

func TestConformanceRefusesFlags(t *testing.T) {
	t.Parallel()
	server := rootOnly(t)
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no URL":             {nil, `required flag(s) "url"`},
		"no server":          {[]string{"--url", "http://127.0.0.1:1"}, "does not answer"},
		"an unknown profile": {[]string{"--url", server.URL, "--profile", "x"}, "want one of advertised"},
		"a bad header":       {[]string{"--url", server.URL, "--header", "x"}, "want 'Name: value'"},
		"a bad limit":        {[]string{"--url", server.URL, "--limit", "x=1"}, "want NAME=NUMBER"},
		"no such list":       {[]string{"--url", server.URL, "--known", "/no/such/file"}, "--known"},
		"nothing matches":    {[]string{"--url", server.URL, "--suite", "nope"}, "no case matches nope/*"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := conformanceOutput(t, append([]string{"run"}, test.args...)...)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestConformanceWaitsForReadiness(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	management := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" || asked.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(management.Close)
	out, err := conformanceOutput(t, "run", "--url", rootOnly(t).URL, "--management", management.URL, "--suite", "v2-root/get")
	if err != nil || asked.Load() != 3 {
		t.Errorf("asked %d times, want 3; error %v; output\n%s", asked.Load(), err, out)
	}
}

func TestConformanceList(t *testing.T) {
	t.Parallel()
	out, err := conformanceOutput(t, "list", "--suite", "v2-root")
	if err != nil || !strings.Contains(out, "v2-root/get@h2") || strings.Contains(out, "v3-") {
		t.Errorf("got error %v and output\n%s", err, out)
	}
}
