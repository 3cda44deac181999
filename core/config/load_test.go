package config_test

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-gateway/weir/core/config"
)

var update = flag.Bool("update", false, "write what the code makes into testdata")

// fixtures lists the files of testdata whose names end in ending.
func fixtures(t testing.TB, ending string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "*"+ending))
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures *%s (%v)", ending, err)
	}
	return files
}

// readFixture gives the text of a fixture and the environment that its first lines ask for: "# env: NAME=value".
func readFixture(t testing.TB, file string) (data []byte, environ []string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		pair, ok := strings.CutPrefix(lines.Text(), "# env: ")
		if !ok {
			break
		}
		environ = append(environ, pair)
	}
	return data, environ
}

func problemsOf(t testing.TB, err error) config.Problems {
	t.Helper()
	var problems config.Problems
	if !errors.As(err, &problems) {
		t.Fatalf("got %T (%v), want config.Problems", err, err)
	}
	return problems
}

func TestGoodFilesLoad(t *testing.T) {
	t.Parallel()
	for _, file := range fixtures(t, ".good.yaml") {
		data, environ := readFixture(t, file)
		loaded, err := config.Parse(file, data, environ)
		if err != nil {
			t.Errorf("%s:\n%v", file, err)
			continue
		}
		if err := loaded.Validate(); err != nil {
			t.Errorf("%s: Validate of what Parse accepted: %v", file, err)
		}
	}
}

func TestBadFilesTellEveryProblem(t *testing.T) {
	t.Parallel()
	const least = 50
	files := fixtures(t, ".bad.yaml")
	if len(files) < least {
		t.Errorf("got %d bad fixtures, want at least %d", len(files), least)
	}
	for _, file := range files {
		data, environ := readFixture(t, file)
		_, err := config.Parse(file, data, environ)
		if err == nil {
			t.Errorf("%s: no problem was found", file)
			continue
		}
		got := problemsOf(t, err).Error() + "\n"
		golden := strings.TrimSuffix(file, ".yaml") + ".txt"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Errorf("%v (go test -update writes it)", err)
			continue
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
	}
}

func TestValuesArrive(t *testing.T) {
	t.Parallel()
	load := func(name string) config.Config {
		file := filepath.Join("testdata", name+".good.yaml")
		data, environ := readFixture(t, file)
		loaded, err := config.Parse(file, data, environ)
		if err != nil {
			t.Fatal(err)
		}
		return loaded
	}
	cluster := func(name string, servers ...string) config.Cluster {
		c := config.DefaultCluster()
		c.Name, c.BootstrapServers = name, servers
		return c
	}
	tests := map[string]func(*config.Config){
		"smallest": func(c *config.Config) { c.Clusters = []config.Cluster{cluster("main", "localhost:9092")} },
		"references": func(c *config.Config) {
			main := cluster("main", "localhost:9092")
			main.SASL = config.SASL{Mechanism: "PLAIN", Username: "weir-prod", Password: "s3cret", AllowPlaintext: true}
			c.Clusters = []config.Cluster{main}
			c.Listen.MaxConnections, c.Listen.IdleTimeout = 7, 90*time.Second
			c.Produce.MaxRecordBytes, c.Produce.Compression = 2_000_000, "zstd"
			c.Limits.BodyBytes = 64 << 20
		},
		"lists-from-references": func(c *config.Config) {
			main := cluster("main", "broker1:9092", "broker2:9092")
			main.SASL = config.SASL{Mechanism: "OAUTHBEARER", AllowPlaintext: true, OAuth: config.OAuth{
				TokenURL: "http://127.0.0.1:1/token", ClientID: "a", ClientSecret: "b",
				Extensions: map[string]string{"logicalCluster": "lkc-1", "identityPoolId": "pool-1"},
			}}
			c.Clusters = []config.Cluster{main}
			c.API.Allowlist = []string{"api.v3.topics.*", "api.v2.root.get"}
		},
		"literal-dollar": func(c *config.Config) {
			main := cluster("main", "localhost:9092")
			main.SASL = config.SASL{Mechanism: "PLAIN", Username: "a${b", Password: "${env:HOME} $x $$y", AllowPlaintext: true}
			c.Clusters = []config.Cluster{main}
		},
		"anchors": func(c *config.Config) {
			a, b := cluster("a", "a:1"), cluster("b", "a:1")
			a.AdminTimeout, b.AdminTimeout, b.DialTimeout = 20*time.Second, 20*time.Second, 20*time.Second
			c.Clusters = []config.Cluster{a, b}
		},
		"environment-only": func(c *config.Config) {
			main := cluster("main", "a:1", "b:2")
			main.SASL = config.SASL{Mechanism: "PLAIN", Username: "u", Password: "s3cret", AllowPlaintext: true}
			c.Clusters = []config.Cluster{main, cluster("second", "c:3")}
			c.API.V2, c.Produce.MaxRecordBytes = false, 2<<20
		},
		"environment-over-file": func(c *config.Config) {
			main := cluster("main", "localhost:9092")
			main.ClientID = "other"
			c.Clusters, c.Listen.Address = []config.Cluster{main}, ":2"
		},
	}
	secrets := cmp.Comparer(func(a, b config.Secret) bool { return a.Reveal() == b.Reveal() })
	for name, change := range tests {
		want := config.Default()
		change(&want)
		if diff := cmp.Diff(want, load(name), secrets); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestFilesAreRelativeToTheConfiguration(t *testing.T) {
	t.Parallel()
	file := filepath.Join("testdata", "security.good.yaml")
	loaded, err := config.Load(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := loaded.Clusters[0].TLS.CAFile, filepath.Join("testdata", "files", "ca.pem"); got != want {
		t.Errorf("ca_file is %s, want %s", got, want)
	}
	if got, want := loaded.Clusters[0].KafkaVersion, "2.1.0"; got != want {
		t.Errorf("kafka_version is %s, want %s", got, want)
	}
}

func TestLoadWithoutAFile(t *testing.T) {
	t.Parallel()
	loaded, err := config.Load("", []string{"WEIR_CLUSTERS_0_NAME=main", "WEIR_CLUSTERS_0_BOOTSTRAP_SERVERS=a:1"})
	if err != nil || len(loaded.Clusters) != 1 || loaded.Clusters[0].Name != "main" {
		t.Errorf("got clusters %v and %v, want main", loaded.Clusters, err)
	}
	directory := t.TempDir()
	missing := filepath.Join(directory, "none.yaml")
	for path, want := range map[string]string{
		"": "environment: clusters: has no cluster. Give one with a name and bootstrap_servers, or set WEIR_CLUSTERS_0_NAME " +
			"and WEIR_CLUSTERS_0_BOOTSTRAP_SERVERS.",
		missing:   missing + ": does not exist. Give the path of a configuration file.",
		directory: directory + ": is a directory. Give the path of a configuration file.",
	} {
		if _, err := config.Load(path, nil); err == nil || err.Error() != want {
			t.Errorf("Load(%q) gave\n%v\nwant\n%s", path, err, want)
		}
	}
}

func TestFileThatIsTooLarge(t *testing.T) {
	t.Parallel()
	_, err := config.Parse("big.yaml", bytes.Repeat([]byte("#\n"), 1<<19+1), nil)
	want := "big.yaml:1:1: is larger than 1048576 bytes. Give a configuration file."
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// Text that is made to be slow or to overflow the stack of a parser that recurses.
func TestHostileTextIsRefusedInTime(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	fill := func(piece string) string { return strings.Repeat(piece, (size-100)/len(piece)) }
	var staircase strings.Builder
	for depth := 0; staircase.Len() < size-3000; depth++ {
		staircase.WriteString(strings.Repeat(" ", depth) + "a:\n")
	}
	for name, hostile := range map[string]string{
		"brackets":    fill("["),
		"braces":      fill("{"),
		"pairs":       fill("[{a: "),
		"dashes":      fill("- "),
		"questions":   fill("? "),
		"anchors":     fill("&a "),
		"tags":        fill("!a "),
		"colons":      fill(": "),
		"keys":        fill("a: "),
		"quotes":      fill(`"`),
		"staircase":   staircase.String(),
		"escapes":     `"` + fill(`\u0041`) + `"`,
		"empty lines": fill("\n"),
		"comments":    fill("#\n"),
		"references":  "listen: {address: '" + fill("${env:A}") + "'}",
		"many keys":   strings.Repeat("aaaaaaa: b\n", 16_000),
		"one word":    fill("a"),
		"keys a line": fill("aaaaaaa: b\n"),
		"long list":   "api: {allowlist: [" + fill("a,") + "]}",
		"block text":  "a: |\n" + fill(" a\n"),
	} {
		begin := time.Now()
		if _, err := config.Parse("hostile.yaml", []byte(hostile), []string{"A=a"}); err == nil {
			t.Errorf("%s: accepted", name)
		}
		took := time.Since(begin)
		t.Logf("%-12s %s", name, took)
		if most := 20 * time.Second; took > most {
			t.Errorf("%s took %s, more than %s", name, took, most)
		}
	}
}
