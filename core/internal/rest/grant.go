package rest

import (
	"context"
	"sync"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/identity"
	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka"
	"github.com/weir-gateway/weir/core/internal/kafka/admin"
	"github.com/weir-gateway/weir/core/internal/kafka/consumer"
	"github.com/weir-gateway/weir/core/internal/record"
)

// Cluster is one Kafka cluster as handlers see it. Its producer is out of their reach: records go through the Grant.
type Cluster struct {
	// Name is the configuration's name of the cluster.
	Name string
	// ID gives the cluster's id; false while no broker has told it and none is pinned.
	ID func() (string, bool)
	// Ready is nil, or why the cluster cannot be used now.
	Ready func() error
	Admin
	producer  Producer
	reader    Reader
	consumers *consumer.Consumers
}

// NewCluster puts a cluster together.
func NewCluster(name string, id func() (string, bool), ready func() error, admin Admin, producer Producer) *Cluster {
	return &Cluster{Name: name, ID: id, Ready: ready, Admin: admin, producer: producer}
}

// Producer hands records to Kafka. See producer.Producer for the promises; delivered is called exactly once for each record.
type Producer interface {
	Produce(ctx context.Context, records []record.Record, delivered func(index int, receipt record.Receipt))
}

// Admin is the metadata and topic management that handlers need. See package admin.
type Admin interface {
	Cluster(ctx context.Context) (admin.Cluster, error)
	Topics(ctx context.Context, options admin.TopicOptions) ([]admin.Topic, error)
	Topic(ctx context.Context, name string, options admin.TopicOptions) (admin.Topic, error)
	Partition(ctx context.Context, topic string, partition int32) (admin.Partition, error)
	TopicConfigs(ctx context.Context, name string) ([]admin.ConfigEntry, error)
	Offsets(ctx context.Context, topic string, partition int32) (beginning, end int64, err error)
	CreateTopic(ctx context.Context, topic admin.NewTopic) (admin.CreatedTopic, error)
	DeleteTopic(ctx context.Context, name string) error
}

// Grant is leave to do one operation, and the only way to Kafka. The chain makes it after policy and quota have agreed; every
// record goes through it, and a handler asks Visible about every name that it lists.
type Grant struct {
	principal identity.Principal
	operation Operation
	clusters  []*Cluster
	limits    *config.Limits
	tally     *tally
}

// Cluster gives the cluster that the operation is about.
func (g *Grant) Cluster() (*Cluster, error) {
	if g.operation.Cluster == "" {
		return g.clusters[0], nil
	}
	unknown := false
	for _, cluster := range g.clusters {
		id, known := cluster.ID()
		if known && id == g.operation.Cluster {
			return cluster, nil
		}
		unknown = unknown || !known
	}
	if unknown {
		return nil, fault.New(fault.BrokerNotAvailable, "Not every Kafka cluster has been reached yet, so its id is not known. Try again later.")
	}
	return nil, fault.Newf(fault.ClusterNotFound, "Cluster %s cannot be found.", g.operation.Cluster)
}

// Clusters gives every cluster that the caller may see.
func (g *Grant) Clusters() []*Cluster { return g.clusters }

// Visible reports whether the caller may know that a topic exists.
func (g *Grant) Visible(string) bool { return true }

// Refused counts a record that could not even be read, for the log.
func (g *Grant) Refused() { g.tally.refused() }

// Produce admits records, hands them to Kafka and waits until each has its receipt, which the record's own deadline bounds:
// a client that has gone meanwhile changes nothing.
func (g *Grant) Produce(ctx context.Context, cluster *Cluster, records []record.Record) []record.Receipt {
	receipts := make([]record.Receipt, len(records))
	var waiting sync.WaitGroup
	waiting.Add(len(records))
	deliver := func(index int, receipt record.Receipt) {
		receipts[index] = receipt
		waiting.Done()
	}
	g.ProduceAsync(ctx, cluster, records, deliver)
	waiting.Wait()
	return receipts
}

// ProduceAsync is Produce without the waiting: deliver is called exactly once for each record, from any goroutine and
// possibly before ProduceAsync returns. ctx bounds only how long a record may wait for room.
func (g *Grant) ProduceAsync(ctx context.Context, cluster *Cluster, records []record.Record, deliver func(index int, receipt record.Receipt)) {
	admitted := records
	var origin []int // index of each admitted record among all; nil when all are admitted, which is nearly always
	for i := range records {
		err := g.admit(&records[i])
		switch {
		case err != nil && origin == nil:
			admitted = append(make([]record.Record, 0, len(records)), records[:i]...)
			origin = make([]int, 0, len(records))
			for j := range i {
				origin = append(origin, j)
			}
		case err == nil && origin != nil:
			admitted, origin = append(admitted, records[i]), append(origin, i)
		}
		if err != nil {
			g.tally.settle(record.NotPersisted, records[i].Size())
			deliver(i, record.Receipt{Outcome: record.NotPersisted, Err: err})
		}
	}
	if len(admitted) == 0 {
		return
	}
	cluster.producer.Produce(ctx, admitted, func(index int, receipt record.Receipt) {
		g.tally.settle(receipt.Outcome, admitted[index].Size())
		if origin != nil {
			index = origin[index]
		}
		deliver(index, receipt)
	})
}

// admit says whether one record may be produced. What policy and quota have to say of each record is said here.
func (g *Grant) admit(r *record.Record) error {
	switch {
	case !kafka.ValidTopicName(r.Topic):
		return fault.New(fault.TopicNotFound, "Topic not present in metadata: its name is not one that Kafka allows.")
	case len(r.Key) > g.limits.KeyBytes:
		return fault.Newf(fault.RecordTooLarge, "The record's key is %d bytes; at most %d are allowed.", len(r.Key), g.limits.KeyBytes)
	default:
		return nil
	}
}

// NothingTried gives the fault of a request none of whose records was even tried, because Weir's buffers are full or Kafka
// cannot be reached: then the request as a whole is answered so, and may be repeated as a whole. Otherwise nil.
func NothingTried(receipts []record.Receipt) *fault.Error {
	for i := range receipts {
		if receipts[i].Err == nil || receipts[i].Outcome != record.NotPersisted {
			return nil
		}
		switch fault.From(receipts[i].Err).Code {
		case fault.Overloaded, fault.BrokerNotAvailable, fault.Unavailable:
		default:
			return nil
		}
	}
	if len(receipts) == 0 {
		return nil
	}
	return fault.From(receipts[0].Err)
}

// Retry is whether sending a record again is safe, for clients that asked for outcomes: "none" needed, "safe", at the risk of
// a duplicate ("duplicate_risk"), or "futile" as the record stands.
func Retry(receipt *record.Receipt) string {
	switch {
	case receipt.Outcome == record.Persisted:
		return "none"
	case receipt.Outcome == record.Unknown:
		return "duplicate_risk"
	case fault.From(receipt.Err).Code.Retriable():
		return "safe"
	default:
		return "futile"
	}
}
