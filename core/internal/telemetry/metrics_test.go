package telemetry

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/weir-gateway/weir/core/internal/record"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	m := NewMetrics()
	operation := m.Operation("api.v2.topics.list")
	operation.Done(http.StatusOK, 3*time.Millisecond)
	operation.Done(http.StatusNotFound, time.Millisecond)
	m.Record(record.Persisted, 10)
	m.Record(record.Unknown, 5)
	m.Refused("in_flight")
	m.KafkaError("produce", "NOT_LEADER_OR_FOLLOWER")
	m.Gauge("weir_cluster_ready", "1 when ready.", map[string]string{"cluster": "main"}, func() float64 { return 1 })
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`weir_http_requests_total{code="200",operation="api.v2.topics.list"} 1`, `weir_http_requests_total{code="404",operation="api.v2.topics.list"} 1`,
		`weir_http_request_duration_seconds_count{operation="api.v2.topics.list"} 2`, `weir_records_total{outcome="persisted"} 1`,
		`weir_records_total{outcome="unknown"} 1`, `weir_records_total{outcome="not_persisted"} 0`, `weir_record_bytes_total{outcome="persisted"} 10`,
		`weir_refused_total{bound="in_flight"} 1`, `weir_kafka_errors_total{error="NOT_LEADER_OR_FOLLOWER",operation="produce"} 1`,
		`weir_cluster_ready{cluster="main"} 1`, `weir_build_info{`, "go_goroutines", "process_resident_memory_bytes",
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("missing: %s", want)
		}
	}
	name := regexp.MustCompile(`^(weir|go|process)_[a-z_]+$`)
	for line := range strings.Lines(string(body)) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[1] == "TYPE" && !name.MatchString(fields[2]) {
			t.Errorf("metric name %s", fields[2])
		}
	}
}
