// Package producer is the way of records to Kafka. PENDING: this file is the agreed face; the names and signatures stay,
// the bodies follow. See package kafka. One Producer serves one cluster and is safe for concurrent use.
package producer

import (
	"context"
	"errors"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/kafka"
	"github.com/weir-gateway/weir/core/internal/record"
)

type Producer struct{}

func New(client *kafka.Client, settings config.Produce, observer kafka.Observer) (*Producer, error) {
	return nil, errors.New("producer: not built yet")
}

// Produce hands records over and returns when each has been handed to Kafka's client or has its receipt. delivered is
// called exactly once for each record, from any goroutine, also before Produce returns; it must be quick, never block.
func (p *Producer) Produce(ctx context.Context, records []record.Record, delivered func(index int, receipt record.Receipt)) {
}
func (p *Producer) Ready() error                           { return nil }
func (p *Producer) Buffered() (records int64, bytes int64) { return 0, 0 }
func (p *Producer) Close(ctx context.Context) error        { return nil }
