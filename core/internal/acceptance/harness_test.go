//go:build acceptance

package acceptance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weir-gateway/weir/core/internal/apachekafka"
	"github.com/weir-gateway/weir/core/internal/child"
)

// soak reports whether the full counts are asked for.
func soak() bool { return os.Getenv("WEIR_SOAK") == "1" }

// scaled gives a count for this run.
func scaled(acceptance, full int) int {
	if soak() {
		return full
	}
	return acceptance
}

// binary builds the weir command once for all tests.
var binary = sync.OnceValues(func() (string, error) {
	directory, err := os.MkdirTemp("", "weir-acceptance-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(directory, "weir")
	build := exec.Command("go", "build", "-o", path, "github.com/weir-gateway/weir/core/cmd/weir")
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build weir: %w\n%s", err, output)
	}
	return path, nil
})

// weirEnvironment is the environment for weir: without what the tests themselves are told by WEIR_… variables, which weir would
// refuse as settings that it does not know.
func weirEnvironment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "WEIR_") })
}

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := binary(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// startKafka starts a cluster that ends with the test.
func startKafka(t *testing.T, options apachekafka.Options) *apachekafka.Cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	began := time.Now()
	cluster, err := apachekafka.Start(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Close(); err != nil {
			t.Log(err)
		}
	})
	t.Logf("Kafka is up after %s", time.Since(began).Round(100*time.Millisecond))
	return cluster
}

// weirProcess is a running weir serve.
type weirProcess struct {
	url        string // of the clients' listener
	management string
	process    *child.Process
	log        string // file with its standard error
}

// startWeir starts weir serve with a configuration; the listeners are added. It ends with the test. environment is added to
// the process's.
func startWeir(t *testing.T, configuration string, environment ...string) *weirProcess {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	ports, err := apachekafka.FreePorts(2)
	if err != nil {
		t.Fatal(err)
	}
	clients, management := fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])
	directory := t.TempDir()
	file := filepath.Join(directory, "weir.yaml")
	text := fmt.Sprintf("listen: {address: %q}\nmanagement: {address: %q}\n%s", clients, management, configuration)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(directory, "weir.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	command := exec.Command(path, "serve", "--config", file)
	command.Env = append(weirEnvironment(), environment...)
	command.Stdout, command.Stderr = log, log
	process, err := child.Start(command)
	if err != nil {
		t.Fatal(err)
	}
	w := &weirProcess{url: "http://" + clients, management: "http://" + management, process: process, log: log.Name()}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the gateway's log ends with:\n%s", w.logTail(30))
		}
		if err := process.Kill(); err != nil {
			t.Log(err)
		}
	})
	return w
}

// serveKafka starts a gateway in front of a cluster and waits until it is ready. extra is further configuration.
func serveKafka(t *testing.T, cluster *apachekafka.Cluster, extra string, environment ...string) *weirProcess {
	t.Helper()
	w := startWeir(t, clusterConfiguration("main", cluster.BootstrapServers())+extra, environment...)
	w.waitReady(t, 30*time.Second)
	return w
}

func clusterConfiguration(name string, servers []string) string {
	return fmt.Sprintf("clusters:\n  - name: %s\n    bootstrap_servers: [%s]\n", name, strings.Join(servers, ", "))
}

// waitReady waits until the gateway reports itself ready.
func (w *weirProcess) waitReady(t *testing.T, within time.Duration) {
	t.Helper()
	last := ""
	eventually(t, within, "the gateway is ready", func() bool {
		status, body, err := get(w.management + "/readyz")
		last = fmt.Sprint(status, " ", body, err)
		return status == http.StatusOK
	}, &last)
}

// clusterID asks the gateway for the id of its first cluster.
func (w *weirProcess) clusterID(t *testing.T) string {
	t.Helper()
	status, body, err := get(w.url + "/v3/clusters")
	_, after, found := strings.Cut(body, `"cluster_id":"`)
	id, _, ended := strings.Cut(after, `"`)
	if err != nil || status != http.StatusOK || !found || !ended {
		t.Fatalf("GET /v3/clusters: %d %s %v", status, body, err)
	}
	return id
}

// residentMemory is the process's RSS in bytes.
func (w *weirProcess) residentMemory(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.process.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	t.Fatal("no VmRSS in the process's status")
	return 0
}

// terminate sends SIGTERM and waits for the end.
func (w *weirProcess) terminate(t *testing.T, within time.Duration) {
	t.Helper()
	if err := syscall.Kill(w.process.PID(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-w.process.Done():
	case <-time.After(within):
		t.Fatalf("the gateway did not end within %s of SIGTERM", within)
	}
}

func (w *weirProcess) logTail(lines int) string {
	text, err := os.ReadFile(w.log)
	if err != nil {
		return err.Error()
	}
	all := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines):], []byte("\n")))
}

var plainClient = &http.Client{Timeout: time.Minute}

func get(url string) (status int, body string, err error) {
	response, err := plainClient.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	return response.StatusCode, string(read), err
}

func post(url, contentType, body string, header ...string) (status int, answer string, err error) {
	request, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Content-Type", contentType)
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := plainClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	return response.StatusCode, string(read), err
}

// eventually polls until ok or the time is over. detail, if given, is shown then.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool, detail ...*string) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !ok() {
		if time.Now().After(deadline) {
			text := ""
			for _, d := range detail {
				text += " " + *d
			}
			t.Fatalf("not within %s: %s;%s", within, what, text)
		}
		time.Sleep(50 * time.Millisecond) // a poll with a deadline
	}
}

// curl runs the real curl and gives its output.
func curl(t *testing.T, stdin string, arguments ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "curl", append([]string{"--silent", "--show-error"}, arguments...)...)
	command.Stdin = strings.NewReader(stdin)
	output, err := command.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		t.Fatalf("curl %s: %v", strings.Join(arguments, " "), err)
	}
	return string(output)
}
