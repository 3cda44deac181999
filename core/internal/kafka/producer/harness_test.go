package producer

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/embedded"
	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka"
	"github.com/weir-gateway/weir/core/internal/record"
)

func clusterSettings(addresses ...string) config.Cluster {
	return config.Cluster{
		Name: "test", BootstrapServers: addresses, ClientID: "weir-test", KafkaVersion: "4.0.0",
		DialTimeout: 2 * time.Second, RequestTimeout: 2 * time.Second, MetadataRefresh: time.Minute, AdminTimeout: 5 * time.Second,
	}
}

func produceSettings() config.Produce {
	return config.Produce{
		Timeout: 10 * time.Second, StallTimeout: time.Second, FlushInterval: time.Millisecond, Compression: "none",
		MaxRecordBytes: 1_000_000, PartitionRecords: 1024, PartitionBytes: 32 << 20, BufferBytes: 64 << 20,
		Retries: 20, RetryBackoff: 20 * time.Millisecond, UnknownTopicTTL: 2 * time.Second,
	}
}

// rig is a producer on an embedded broker.
type rig struct {
	t        testing.TB
	broker   *embedded.Broker
	client   *kafka.Client
	producer *Producer
}

func newRig(t testing.TB, options embedded.Options, change func(*config.Cluster, *config.Produce)) *rig {
	t.Helper()
	broker, err := embedded.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	cluster, produce := clusterSettings(broker.Addresses()...), produceSettings()
	if change != nil {
		change(&cluster, &produce)
	}
	return newRigOn(t, broker, cluster, produce)
}

func newRigOn(t testing.TB, broker *embedded.Broker, cluster config.Cluster, produce config.Produce) *rig {
	t.Helper()
	client, err := kafka.Open(t.Context(), cluster, produce, nil)
	if err != nil {
		t.Fatal(err)
	}
	producer, err := New(client, produce, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, broker: broker, client: client, producer: producer}
	t.Cleanup(r.close)
	return r
}

func (r *rig) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := r.producer.Close(ctx); err != nil {
		r.t.Errorf("close producer: %v", err)
	}
	if err := r.client.Close(ctx); err != nil {
		r.t.Errorf("close client: %v", err)
	}
}

// pending are the receipts of one Produce call.
type pending struct {
	t        testing.TB
	mu       sync.Mutex
	receipts []record.Receipt
	got      []int
	done     chan struct{}
	left     int
}

func (r *rig) send(ctx context.Context, records ...record.Record) *pending {
	r.t.Helper()
	p := &pending{t: r.t, receipts: make([]record.Receipt, len(records)), got: make([]int, len(records)), done: make(chan struct{}), left: len(records)}
	r.producer.Produce(ctx, records, p.deliver)
	return p
}

func (p *pending) deliver(index int, receipt record.Receipt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.receipts[index] = receipt
	if p.got[index]++; p.got[index] > 1 {
		p.t.Errorf("record %d has %d receipts", index, p.got[index])
		return
	}
	if p.left--; p.left == 0 {
		close(p.done)
	}
}

// all waits for every receipt.
func (p *pending) all() []record.Receipt {
	p.t.Helper()
	select {
	case <-p.done:
		return p.receipts
	case <-time.After(20 * time.Second):
		p.mu.Lock()
		defer p.mu.Unlock()
		p.t.Fatalf("%d records have no receipt after 20 s", p.left)
		return nil
	}
}

func (r *rig) produce(records ...record.Record) []record.Receipt {
	r.t.Helper()
	return r.send(r.t.Context(), records...).all()
}

func value(topic string, partition int32, text string) record.Record {
	return record.Record{Topic: topic, Partition: partition, Value: []byte(text)}
}

// describe is a receipt in one line, for comparing.
func describe(r record.Receipt) string {
	if r.Err == nil {
		return fmt.Sprintf("%s %d@%d", r.Outcome, r.Partition, r.Offset)
	}
	return fmt.Sprintf("%s %s", r.Outcome, fault.From(r.Err).Code)
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// oldestState is the state of the oldest record inside sarama.
func (p *partition) oldestState() uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.oldest == nil {
		return 0
	}
	return p.oldest.state.Load()
}
