package rest

import (
	"context"

	"github.com/weir-gateway/weir/core/internal/kafka/consumer"
	"github.com/weir-gateway/weir/core/internal/kafka/reader"
	"github.com/weir-gateway/weir/core/internal/record"
)

// Reader reads partitions; see package reader.
type Reader interface {
	Fetch(ctx context.Context, positions []record.Position, options reader.Options) (results []reader.Result, release func(), err error)
	Offsets(ctx context.Context, questions []reader.At, committed bool) ([]reader.Offset, error)
}

// WithReading adds to a cluster what reading needs. Without it, no route that reads may be in the table.
func (c *Cluster) WithReading(from Reader, consumers *consumer.Consumers) *Cluster {
	c.reader, c.consumers = from, consumers
	return c
}

// CreateInstance makes a consumer instance that belongs to the caller.
func (g *Grant) CreateInstance(cluster *Cluster, group, name string, options consumer.Options) (*consumer.Instance, error) {
	return cluster.consumers.Create(g.instance(group, name), options)
}

// Instance gives one of the caller's consumer instances. Another caller's is not found.
func (g *Grant) Instance(cluster *Cluster, group, name string) (*consumer.Instance, error) {
	return cluster.consumers.Get(g.instance(group, name))
}

// DeleteInstance ends one of the caller's consumer instances.
func (g *Grant) DeleteInstance(ctx context.Context, cluster *Cluster, group, name string) error {
	return cluster.consumers.Delete(ctx, g.instance(group, name))
}

func (g *Grant) instance(group, name string) consumer.Key {
	return consumer.Key{Owner: g.principal.ID, Group: group, Name: name}
}

// Fetch reads partitions without any instance.
func (g *Grant) Fetch(ctx context.Context, cluster *Cluster, positions []record.Position, options reader.Options) ([]reader.Result, func(), error) {
	return cluster.reader.Fetch(ctx, positions, options)
}

// Offsets looks offsets up.
func (g *Grant) Offsets(ctx context.Context, cluster *Cluster, questions []reader.At, committed bool) ([]reader.Offset, error) {
	return cluster.reader.Offsets(ctx, questions, committed)
}

// Deliver says whether a record may be given to the caller. What policy and quota have to say of each record is said here.
func (g *Grant) Deliver(string, *record.Stored) bool { return true }

// delivered counts records that were written into an answer, and the bytes of their keys and values.
func (g *Grant) delivered(records, bytes int) { g.tally.read(records, bytes) }
