package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/kafka"
	"github.com/weir-gateway/weir/core/internal/kafka/admin"
	"github.com/weir-gateway/weir/core/internal/kafka/consumer"
	"github.com/weir-gateway/weir/core/internal/kafka/producer"
	"github.com/weir-gateway/weir/core/internal/kafka/reader"
	"github.com/weir-gateway/weir/core/internal/rest"
	"github.com/weir-gateway/weir/core/internal/rest/peer"
	"github.com/weir-gateway/weir/core/internal/rest/v1"
	"github.com/weir-gateway/weir/core/internal/rest/v2"
	"github.com/weir-gateway/weir/core/internal/rest/v3"
	"github.com/weir-gateway/weir/core/internal/telemetry"
	"github.com/weir-gateway/weir/docs/api"
)

// Core is one gateway. It is safe for concurrent use.
type Core struct {
	handler  *rest.Handler
	logger   *slog.Logger
	metrics  *telemetry.Metrics
	clusters []*cluster
	peers    *peer.Peers // nil: alone
	state    state
}

// cluster is one Kafka cluster's parts, in the order in which they were opened.
type cluster struct {
	name      string
	client    *kafka.Client
	producer  *producer.Producer
	reader    *reader.Reader
	consumers *consumer.Consumers
}

// New builds a gateway. It returns without waiting for any broker: Ready says when they have answered. settings must have
// come through config.Load or config.Parse, or be config.Default with clusters; an error names a setting that cannot work.
// ctx bounds the building only.
func New(ctx context.Context, settings config.Config, logger *slog.Logger) (*Core, error) {
	if len(settings.Clusters) == 0 {
		return nil, errors.New("core: no Kafka cluster is configured; add one under clusters")
	}
	if err := CheckOperations(settings.API); err != nil {
		return nil, err
	}
	c := &Core{metrics: telemetry.NewMetrics(), logger: logger}
	served := make([]*rest.Cluster, 0, len(settings.Clusters))
	for _, one := range settings.Clusters {
		opened, err := c.open(ctx, one, &settings, logger)
		if err != nil {
			return nil, errors.Join(err, c.Close(ctx))
		}
		served = append(served, opened)
	}
	peers, err := c.connect(&settings, logger)
	if err != nil {
		return nil, errors.Join(err, c.Close(ctx))
	}
	c.handler = rest.NewHandler(&settings, rest.Dependencies{Clusters: served, Routes: Routes(settings.API), Logger: logger, Metrics: c.metrics, Peers: peers})
	return c, nil
}

// Operations gives the ids of every operation that Weir knows, whether it is offered or not: the names for api.allowlist and
// api.blocklist.
func Operations() []string {
	var ids []string
	for _, route := range Routes(config.API{V1: true, V2: true, V3: true}) {
		ids = append(ids, route.Operations()...)
	}
	return ids
}

// CheckOperations reports every entry of the allow and block lists that names no operation: a misspelt entry of a blocklist would
// leave open what it was meant to close.
func CheckOperations(offered config.API) error {
	operations := Operations()
	var problems config.Problems
	for path, entries := range map[string][]string{"api.allowlist": offered.Allowlist, "api.blocklist": offered.Blocklist} {
		for i, entry := range entries {
			if !rest.Covers(entry, operations) {
				problems = append(problems, config.Problem{Path: fmt.Sprintf("%s[%d]", path, i), Message: fmt.Sprintf("%q names no operation", entry),
					Cure: "The names are the operationIds of docs/api/openapi.yaml; api.v3.topics.* is a family."})
			}
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return problems
}

// Routes gives the route table for what api offers.
func Routes(offered config.API) []*rest.Route {
	routes := []*rest.Route{rest.OpenAPIRoute(api.Document)}
	switch {
	case offered.V1 && offered.V2:
		routes = append(routes, v1.Extend(v2.Routes())...)
	case offered.V2:
		routes = append(routes, v2.Routes()...)
	}
	if offered.V3 {
		routes = append(routes, v3.Routes()...)
	}
	return routes
}

func (c *Core) open(ctx context.Context, settings config.Cluster, all *config.Config, logger *slog.Logger) (*rest.Cluster, error) {
	client, err := kafka.Open(ctx, settings, all.Produce, logger)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", settings.Name, err)
	}
	part := &cluster{name: settings.Name, client: client}
	c.clusters = append(c.clusters, part)
	if part.producer, err = producer.New(client, all.Produce, c.metrics); err != nil {
		return nil, fmt.Errorf("cluster %s: %w", settings.Name, err)
	}
	part.reader = reader.New(client, all.Consume, c.metrics)
	part.consumers = consumer.New(client, part.reader, all.Consume, c.metrics)
	labels := map[string]string{"cluster": settings.Name}
	c.metrics.Gauge("weir_producer_buffer_records", "Records handed to Kafka's client that have no answer yet.", labels, func() float64 {
		records, _ := part.producer.Buffered()
		return float64(records)
	})
	c.metrics.Gauge("weir_producer_buffer_bytes", "Bytes of those records.", labels, func() float64 {
		_, bytes := part.producer.Buffered()
		return float64(bytes)
	})
	c.metrics.Gauge("weir_reader_buffer_bytes", "Bytes of records that are held for reads.", labels, func() float64 { return float64(part.reader.Buffered()) })
	for name, gauge := range map[string]struct {
		help  string
		value func(consumer.Statistics) int64
	}{
		"weir_consumer_instances":  {"Consumer instances that this gateway holds.", func(s consumer.Statistics) int64 { return int64(s.Instances) }},
		"weir_consumer_members":    {"Of them, those that are settled members of their groups.", func(s consumer.Statistics) int64 { return int64(s.Members) }},
		"weir_consumer_polls":      {"Reads that are open.", func(s consumer.Statistics) int64 { return int64(s.Polls) }},
		"weir_consumer_rebalances": {"Rebalances that the instances took part in, since the start.", func(s consumer.Statistics) int64 { return s.Rebalances }},
	} {
		c.metrics.Gauge(name, gauge.help, labels, func() float64 { return float64(gauge.value(part.consumers.Stats())) })
	}
	c.metrics.Gauge("weir_cluster_ready", "1 when the cluster can be used, else 0.", labels, func() float64 {
		if part.ready() != nil {
			return 0
		}
		return 1
	})
	served := rest.NewCluster(settings.Name, client.ID, part.ready, admin.New(client).WithObserver(c.metrics), part.producer)
	return served.WithReading(part.reader, part.consumers), nil
}

// ready is nil, or why the cluster cannot be used. A producer that has begun knows nothing of brokers that have gone since, and
// one that has not says of the client only what the client says itself.
func (c *cluster) ready() error {
	if err := c.client.Ready(); err != nil {
		return err
	}
	return c.producer.Ready()
}

// ServeHTTP serves clients.
func (c *Core) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.handler.ServeHTTP(w, r) }

// Drain begins the end: the gateway reports itself not ready at once, and answers go on.
func (c *Core) Drain() {
	c.state.drain()
	c.leavePeers()
}

// EndStreams ends what would last: streams stop reading and finish what they have read, reads that wait answer with what they have,
// and kept-alive connections close after their next answer. Consumer groups are left at once, so that other members own the
// partitions while this gateway is still finishing.
func (c *Core) EndStreams() {
	c.handler.Drain()
	for _, part := range c.clusters {
		go func() { // ends within leaveTime; Close waits for the same
			ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
			defer cancel()
			if err := part.consumers.Close(ctx); err != nil {
				c.logger.Warn("leaving consumer groups", "cluster", part.name, "error", err)
			}
		}()
	}
}

// leaveTime is how long leaving all groups of a cluster may take.
const leaveTime = 10 * time.Second

// Wait waits until no request is being served, or until ctx ends. Call it when http.Server.Shutdown has returned, which does not
// count the streams that are ending.
func (c *Core) Wait(ctx context.Context) error { return c.handler.Wait(ctx) }

// Close finishes what was accepted and leaves the clusters. Records that Kafka has not answered when ctx ends are told as
// unknown; the error says of which cluster. Nothing may be served any more.
func (c *Core) Close(ctx context.Context) error {
	c.state.drain()
	c.closePeers()
	var failed []error
	for _, part := range c.clusters {
		if part.consumers != nil {
			if err := part.consumers.Close(ctx); err != nil {
				failed = append(failed, fmt.Errorf("cluster %s: %w", part.name, err))
			}
			part.reader.Close()
		}
		if part.producer != nil {
			if err := part.producer.Close(ctx); err != nil {
				failed = append(failed, fmt.Errorf("cluster %s: %w", part.name, err))
			}
		}
		if err := part.client.Close(ctx); err != nil {
			failed = append(failed, fmt.Errorf("cluster %s: %w", part.name, err))
		}
	}
	return errors.Join(failed...)
}
