//go:build acceptance

package acceptance

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/weir-gateway/weir/core/internal/apachekafka"
	"github.com/weir-gateway/weir/core/internal/history"
)

// background runs a load beside the test. stop ends it, waits for the answers to what is under way and gives the history.
func background(t *testing.T, load history.Load) (recorded *history.History, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	recorded = history.New()
	ended := make(chan error, 1)
	go func() { ended <- load.Run(ctx, recorded) }()
	stopped := false
	stop = func() {
		cancel()
		if stopped {
			return
		}
		stopped = true
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return recorded, stop
}

// end ends a gateway in the orderly way: afterwards nothing is under way any more.
func end(t *testing.T, w *weirProcess) {
	t.Helper()
	w.terminate(t, 45*time.Second)
	if code := w.process.ExitCode(); code != 0 {
		t.Errorf("the gateway ended with exit code %d", code)
	}
}

// check waits until the topics' replicas agree, and holds what clients of a gateway that has ended were told against what the
// topics contain. With an anomaly the history is kept in a file.
func check(t *testing.T, cluster *apachekafka.Cluster, topics []string, recorded ...*history.History) *history.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for _, topic := range topics {
		if err := cluster.AwaitInSync(ctx, topic); err != nil {
			t.Fatal(err)
		}
	}
	log, err := history.ReadLog(ctx, cluster.BootstrapServers(), topics...)
	if err != nil {
		t.Fatal(err)
	}
	var attempts []history.Attempt
	for _, each := range recorded {
		attempts = append(attempts, each.Attempts()...)
		if failures := each.Failures(15); failures != "" {
			t.Logf("answers other than success:\n%s", failures)
		}
	}
	report := history.Check(attempts, log)
	t.Logf("what was told and what is in the log:\n%s", report)
	if report.Err() == nil && report.Silent == 0 {
		return report
	}
	t.Error("the gateway broke its word: see the report above")
	file, err := os.CreateTemp("", "weir-history-*.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for _, each := range recorded {
		_, writeErr := each.WriteTo(file)
		err = errors.Join(err, writeErr)
	}
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	t.Logf("the history is kept in %s", file.Name())
	return report
}
