//go:build acceptance

package acceptance

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-gateway/weir/core/internal/apachekafka"
)

// The conformance suite passes against the command in front of a real Kafka, as it does against one with the embedded broker.
func TestConformanceOnRealKafka(t *testing.T) {
	cluster := startKafka(t, apachekafka.Options{})
	w := serveKafka(t, cluster, "")
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	report := filepath.Join(t.TempDir(), "report.json")
	command := exec.CommandContext(ctx, path, "conformance", "run", "--url", w.url, "--management", w.management,
		"--bootstrap", strings.Join(cluster.BootstrapServers(), ","), "--trait", "apache", "--known", "../../../conformance/known/weir.txt", "--keep-topics", "--report", report)
	command.Env = weirEnvironment()
	output, err := command.CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(output)), "\n")
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	t.Logf("%s", strings.Join(lines[max(0, len(lines)-12):], "\n"))
}
