package v2

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/record"
	"github.com/weir-gateway/weir/core/internal/rest"
	"github.com/weir-gateway/weir/core/internal/telemetry"
)

// acknowledging is a producer that has every record acknowledged at once.
type acknowledging struct{}

func (acknowledging) Produce(_ context.Context, records []record.Record, delivered func(int, record.Receipt)) {
	for i := range records {
		delivered(i, record.Receipt{Partition: 3, Offset: 1234567, Outcome: record.Persisted})
	}
}

// sink is a ResponseWriter that costs nothing.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header              { return s.header }
func (s *sink) WriteHeader(status int)           { s.status = status }
func (s *sink) Write(p []byte) (int, error)      { return len(p), nil }
func (s *sink) SetReadDeadline(time.Time) error  { return nil }
func (s *sink) SetWriteDeadline(time.Time) error { return nil }

// BenchmarkProduce is a produce request's way through the chain and back, access log and metrics on, without net/http's share
// and Kafka's.
func BenchmarkProduce(b *testing.B) {
	settings := config.Default()
	cluster := rest.NewCluster("c", func() (string, bool) { return "id", true }, func() error { return nil }, nil, acknowledging{})
	handler := rest.NewHandler(&settings, rest.Dependencies{Clusters: []*rest.Cluster{cluster}, Routes: Routes(),
		Logger: telemetry.NewLogger(settings.Log, io.Discard), Metrics: telemetry.NewMetrics()})
	for _, batch := range []int{1, 100} {
		b.Run(fmt.Sprint(batch), func(b *testing.B) {
			value := `{"value":{"id":12345678,"name":"` + strings.Repeat("some words of a text ", 46) + `"}}`
			body := []byte(`{"records":[` + value + strings.Repeat(","+value, batch-1) + `]}`)
			request := &http.Request{Method: http.MethodPost, URL: &url.URL{Path: "/topics/orders"}, RequestURI: "/topics/orders", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
				Host: "127.0.0.1:8082", RemoteAddr: "127.0.0.1:54321", ContentLength: int64(len(body)),
				Header: http.Header{"Content-Type": {"application/vnd.kafka.json.v2+json"}, "Accept": {"application/vnd.kafka.v2+json"}}}
			b.ReportAllocs()
			for b.Loop() {
				r := *request
				r.Body = io.NopCloser(bytes.NewReader(body))
				w := sink{header: http.Header{}}
				handler.ServeHTTP(&w, &r)
				if w.status != http.StatusOK {
					b.Fatal(w.status)
				}
			}
		})
	}
}
