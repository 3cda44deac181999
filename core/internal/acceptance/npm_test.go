//go:build acceptance

package acceptance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/weir-gateway/weir/core/internal/apachekafka"
)

// The unmodified npm client kafka-rest 0.0.5, a client of the first API, lists, produces and consumes.
func TestTheNpmClientProducesAndConsumes(t *testing.T) {
	cluster := startKafka(t, apachekafka.Options{})
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	const topic = "npm"
	if err := cluster.CreateTopic(ctx, topic, 2, 1, nil); err != nil {
		t.Fatal(err)
	}
	w := serveKafka(t, cluster, "")
	directory := t.TempDir()
	for _, name := range []string{"package.json", "client.js"} {
		text, err := os.ReadFile(filepath.Join("testdata", "npm", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(directory, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run(ctx, t, directory, "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts")
	output := run(ctx, t, directory, "node", "client.js", w.url, topic)
	var seen struct {
		Brokers     int      `json:"brokers"`
		Topics      []string `json:"topics"`
		Partitions  int      `json:"partitions"`
		Produced    int      `json:"produced"`
		ToPartition int      `json:"toPartition"`
		Received    []struct {
			Key   *string `json:"key"`
			Value string  `json:"value"`
		} `json:"received"`
	}
	if err := json.Unmarshal(output, &seen); err != nil {
		t.Fatalf("%v in %s", err, output)
	}
	if seen.Brokers != 1 || !slices.Contains(seen.Topics, topic) || seen.Partitions != 2 || seen.Produced != 20 || seen.ToPartition != 0 {
		t.Errorf("saw %s", output)
	}
	got := map[string]string{}
	for _, r := range seen.Received {
		key := "none"
		if r.Key != nil {
			key = *r.Key
		}
		got[r.Value] = key
	}
	for i := range 20 {
		if value := fmt.Sprintf("message %d", i); got[value] != fmt.Sprintf("key%d", i%5) {
			t.Errorf("%s came with the key %q", value, got[value])
		}
	}
	if len(seen.Received) != 21 || got["to partition 0"] != "none" {
		t.Errorf("received %d messages: %v", len(seen.Received), got)
	}
}

// run runs a program to its end and gives its output.
func run(ctx context.Context, t *testing.T, directory, name string, arguments ...string) []byte {
	t.Helper()
	command := exec.CommandContext(ctx, name, arguments...)
	command.Dir = directory
	var failure bytes.Buffer
	command.Stderr = &failure
	output, err := command.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", name, err, output, failure.Bytes())
	}
	return output
}
