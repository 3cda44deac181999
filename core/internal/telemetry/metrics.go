// Package telemetry is what Weir tells its operators: metrics and the log. It is almost a leaf: every package may use it,
// and it knows only the words of package record. Names begin with weir_, units are base units, and every label's values come from a closed set, so that no
// client can make the number of series grow.
package telemetry

import (
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/weir-gateway/weir/core/internal/record"
)

// Metrics is one gateway's own registry: two gateways in a process do not disturb each other.
type Metrics struct {
	registry    *prometheus.Registry
	requests    *prometheus.CounterVec
	durations   *prometheus.HistogramVec
	records     [record.Outcomes]atomic.Int64
	recordBytes [record.Outcomes]atomic.Int64
	read        atomic.Int64
	readBytes   atomic.Int64
	refusals    *prometheus.CounterVec
	kafkaErrors *prometheus.CounterVec
	forwarded   *prometheus.CounterVec
}

// NewMetrics makes the metrics that count events. Gauges are added with Gauge by whoever owns what they measure.
func NewMetrics() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_http_requests_total",
			Help: "Requests answered, by operation and HTTP status."}, []string{"operation", "code"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "weir_http_request_duration_seconds",
			Help:    "Time from a request's header to the end of its answer, by operation.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}}, []string{"operation"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_refused_total",
			Help: "Requests refused at a bound before any work was done, by bound."}, []string{"bound"}),
		kafkaErrors: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_kafka_errors_total",
			Help: "Errors that Kafka or the way to it answered with, by operation and Kafka's name of the error."}, []string{"operation", "error"}),
		forwarded: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_forwarded_requests_total",
			Help: "Requests passed on to the peer that holds their consumer instance, by that peer. They are in weir_http_requests_total of both."}, []string{"node"}),
	}
	version, revision := build()
	info := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "weir_build_info", Help: "1, labelled with what is running.",
		ConstLabels: prometheus.Labels{"version": version, "revision": revision, "go": runtime.Version()}}, func() float64 { return 1 })
	m.registry.MustRegister(m.requests, m.durations, m.refusals, m.kafkaErrors, m.forwarded, info,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.registry.MustRegister(
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "weir_records_read_total", Help: "Records that clients were given."},
			func() float64 { return float64(m.read.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "weir_record_bytes_read_total", Help: "Bytes of keys and values of those records."},
			func() float64 { return float64(m.readBytes.Load()) }))
	for outcome := range record.Outcome(record.Outcomes) {
		labels := prometheus.Labels{"outcome": outcome.String()}
		m.registry.MustRegister(
			prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "weir_records_total", ConstLabels: labels,
				Help: "Records that clients produced, by outcome."}, func() float64 { return float64(m.records[outcome].Load()) }),
			prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "weir_record_bytes_total", ConstLabels: labels,
				Help: "Bytes of keys, values and headers of those records, by outcome."}, func() float64 { return float64(m.recordBytes[outcome].Load()) }))
	}
	return m
}

// build tells the version and the revision that the Go toolchain wrote into the binary.
func build() (version, revision string) {
	version, revision = "devel", "unknown"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return version, revision
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		version = v
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			revision = setting.Value
		}
	}
	return version, revision
}

// Operation counts the requests of one operation; asking for it once keeps label look-ups off the request's way.
type Operation struct {
	duration prometheus.Observer
	requests *prometheus.CounterVec
	ok       prometheus.Counter // status 200, nearly all of them
}

// Operation gives the counters of an operation id, which must come from the route table.
func (m *Metrics) Operation(id string) *Operation {
	requests := m.requests.MustCurryWith(prometheus.Labels{"operation": id})
	return &Operation{duration: m.durations.WithLabelValues(id), requests: requests, ok: requests.WithLabelValues("200")}
}

// Done counts one answered request.
func (o *Operation) Done(status int, duration time.Duration) {
	o.duration.Observe(duration.Seconds())
	if status == http.StatusOK {
		o.ok.Inc()
		return
	}
	o.requests.WithLabelValues(strconv.Itoa(status)).Inc()
}

// Record counts one record and its bytes. It is called for every record, so it is two atomic additions.
func (m *Metrics) Record(outcome record.Outcome, bytes int) {
	m.records[outcome].Add(1)
	m.recordBytes[outcome].Add(int64(bytes))
}

// RecordsRead counts records that a client was given, and the bytes of their keys and values.
func (m *Metrics) RecordsRead(records, bytes int) {
	m.read.Add(int64(records))
	m.readBytes.Add(int64(bytes))
}

// Refused counts a request refused at a bound: "in_flight", "buffered_bytes", "body_bytes" and so on.
func (m *Metrics) Refused(bound string) { m.refusals.WithLabelValues(bound).Inc() }

// KafkaError counts an error of Kafka; name is from the closed list of Kafka's error names.
func (m *Metrics) KafkaError(operation, name string) {
	m.kafkaErrors.WithLabelValues(operation, name).Inc()
}

// Forwarded counts a request that a peer answered; node is one of the configuration.
func (m *Metrics) Forwarded(node string) { m.forwarded.WithLabelValues(node).Inc() }

// Gauge registers a value that is read whenever metrics are. Labels are fixed pairs.
func (m *Metrics) Gauge(name, help string, labels map[string]string, value func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, value))
}

// Handler serves the metrics in Prometheus' text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
