package v3

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-gateway/weir/core/internal/record"
	"github.com/weir-gateway/weir/core/internal/rest"
	"github.com/weir-gateway/weir/core/internal/telemetry"
)

// produce is a producer made of a function.
type produce func(records []record.Record, delivered func(int, record.Receipt))

func (p produce) Produce(_ context.Context, records []record.Record, delivered func(int, record.Receipt)) {
	p(records, delivered)
}

func serve(t *testing.T, producer produce) *httptest.Server {
	t.Helper()
	cluster := rest.NewCluster("c", func() (string, bool) { return "id", true }, func() error { return nil }, nil, producer)
	server := httptest.NewServer(rest.NewHandler(settings(), rest.Dependencies{Clusters: []*rest.Cluster{cluster}, Routes: Routes(),
		Logger: slog.New(slog.DiscardHandler), Metrics: telemetry.NewMetrics()}))
	t.Cleanup(server.Close)
	return server
}

const recordsPath = "/v3/clusters/id/topics/t/records"

// A stream whose first record has no answer yet holds the receipts of those behind it, and not their data, which Kafka has.
func TestStreamHoldsReceiptsAndNoData(t *testing.T) {
	const records, size = 120, 900_000
	var mu sync.Mutex
	var first func()
	delivered := 0
	server := serve(t, func(_ []record.Record, deliver func(int, record.Receipt)) {
		mu.Lock()
		defer mu.Unlock()
		if delivered++; delivered == 1 {
			first = func() { deliver(0, record.Receipt{Outcome: record.Persisted}) }
			return
		}
		deliver(0, record.Receipt{Outcome: record.Persisted})
	})
	body, in := io.Pipe()
	answers := make(chan string, 1)
	go func() {
		response, err := http.Post(server.URL+recordsPath, "application/json", body)
		if err != nil {
			answers <- err.Error()
			return
		}
		defer response.Body.Close()
		receipts, err := io.ReadAll(response.Body)
		if err != nil {
			answers <- err.Error()
			return
		}
		answers <- string(receipts)
	}()
	one := `{"value":{"type":"STRING","data":"` + strings.Repeat("x", size) + `"}}`
	for range records {
		if _, err := io.WriteString(in, one); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); ; <-time.After(time.Millisecond) {
		mu.Lock()
		done := delivered == records
		mu.Unlock()
		if done {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d records were handed over", delivered)
		}
	}
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	if held := memory.HeapAlloc; held > records*size/4 {
		t.Errorf("%d MB are held for %d receipts", held>>20, records)
	}
	mu.Lock()
	first()
	mu.Unlock()
	in.Close()
	if got := strings.Count(<-answers, `"error_code":200`); got != records {
		t.Errorf("%d receipts", got)
	}
}

// A panic while a record is handed over ends that stream and leaves nothing behind.
func TestStreamThatPanics(t *testing.T) {
	server := serve(t, func([]record.Record, func(int, record.Receipt)) { panic("a defect") })
	before := runtime.NumGoroutine()
	for range 10 {
		response, err := http.Post(server.URL+recordsPath, "application/json", io.MultiReader(strings.NewReader(`{}{}`))) // chunked
		if err == nil {
			if _, err = io.ReadAll(response.Body); err == nil {
				t.Error("the answer ends as if it were whole")
			}
			response.Body.Close()
		}
	}
	http.DefaultClient.CloseIdleConnections()
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before+2; <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines before, %d after", before, runtime.NumGoroutine())
		}
	}
}
