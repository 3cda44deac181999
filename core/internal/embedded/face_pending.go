// Package embedded is a Kafka broker inside this process, for trying Weir out and for tests. PENDING: names and signatures
// stay, bodies follow. Only this package imports kfake.
package embedded

import (
	"errors"
	"log/slog"
	"time"

	"github.com/weir-gateway/weir/core/internal/record"
)

type Topic struct {
	Name       string
	Partitions int32
	Configs    map[string]string
}

type Options struct {
	Brokers int // 0: one
	Topics  []Topic
	DataDir string // empty: in memory
	Logger  *slog.Logger
}

type Broker struct{}

// Stored is a record as it lies in the log.
type Stored struct {
	record.Record
	Offset int64
}

var errPending = errors.New("embedded: not built yet")

func Start(options Options) (*Broker, error)             { return nil, errPending }
func (b *Broker) Addresses() []string                    { return nil }
func (b *Broker) ClusterID() string                      { return "" }
func (b *Broker) NumBrokers() int                        { return 0 }
func (b *Broker) Records(topic string) ([]Stored, error) { return nil, errPending }
func (b *Broker) Close()                                 {}

// Fail makes the next times requests of an API (Kafka's name: Produce, Metadata, CreateTopics …) answer with a Kafka error
// code; node -1 is every broker. times < 0: until the returned func is called.
func (b *Broker) Fail(api string, node int32, code int16, times int) (stop func()) { return func() {} }

// Hang lets the next requests of an API wait until the returned func is called or the delay has passed (0: for ever).
func (b *Broker) Hang(api string, node int32, delay time.Duration) (resume func()) { return func() {} }
