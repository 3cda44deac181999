package reader

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/embedded"
	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka"
	"github.com/weir-gateway/weir/core/internal/record"
)

type rig struct {
	broker *embedded.Broker
	client *kafka.Client
	reader *Reader
}

func consumeSettings() config.Consume {
	return config.Consume{FetchBytes: 1 << 20, FetchConnections: 64, BufferBytes: 64 << 20}
}

func newRig(t testing.TB, options embedded.Options, settings config.Consume) *rig {
	t.Helper()
	broker, err := embedded.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	client, reader := open(t, broker.Addresses(), settings)
	return &rig{broker: broker, client: client, reader: reader}
}

// open makes a reader of a cluster, and holds at the end of the test that it gave everything back.
func open(t testing.TB, addresses []string, settings config.Consume) (*kafka.Client, *Reader) {
	t.Helper()
	client, err := kafka.Open(t.Context(), config.Cluster{
		Name: "test", BootstrapServers: addresses, ClientID: "weir-test", KafkaVersion: "4.0.0", DialTimeout: time.Second,
		RequestTimeout: 5 * time.Second, MetadataRefresh: time.Minute, AdminTimeout: 3 * time.Second,
	}, config.Produce{UnknownTopicTTL: time.Second}, nil)
	if err != nil {
		t.Fatal(err)
	}
	reader := New(client, settings, nil)
	t.Cleanup(func() {
		reader.Close()
		if held := reader.Buffered(); held != 0 {
			t.Errorf("%d bytes are still held", held)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := client.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return client, reader
}

func newProducer(t testing.TB, addresses []string, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(addresses...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
	}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func produce(t testing.TB, client *kgo.Client, records ...*kgo.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// values makes n records whose values are "<partition>/<number>/" and padding.
func values(topic string, partition int32, n, size int) []*kgo.Record {
	records := make([]*kgo.Record, n)
	for i := range records {
		value := fmt.Appendf(make([]byte, 0, size), "%d/%d/", partition, i)
		for len(value) < size {
			value = append(value, 'x')
		}
		records[i] = &kgo.Record{Topic: topic, Partition: partition, Value: value}
	}
	return records
}

func position(topic string, partition int32, offset int64) record.Position {
	return record.Position{Topic: topic, Partition: partition, Offset: offset}
}

// fetchOne reads one partition once.
func (r *rig) fetchOne(t testing.TB, at record.Position, options Options) Result {
	t.Helper()
	results, release, err := r.reader.Fetch(t.Context(), []record.Position{at}, options)
	release()
	if err != nil {
		t.Fatal(err)
	}
	return results[0]
}

// readAll goes on from End until every partition is at its end, and gives the records of each.
func readAll(t testing.TB, reader *Reader, positions []record.Position, options Options) map[record.TopicPartition][]record.Stored {
	t.Helper()
	got := map[record.TopicPartition][]record.Stored{}
	deadline := time.Now().Add(30 * time.Second)
	for {
		results, release, err := reader.Fetch(t.Context(), positions, options)
		release()
		if err != nil {
			t.Fatal(err)
		}
		done := true
		for i := range results {
			r := &results[i]
			if r.Err != nil && !fault.From(r.Err).Code.Retriable() {
				t.Fatalf("%s-%d: %v", r.Topic, r.Partition, r.Err)
			}
			if r.Start != positions[i].Offset || r.End < r.Start {
				t.Fatalf("%s-%d: asked for %d, got %d to %d", r.Topic, r.Partition, positions[i].Offset, r.Start, r.End)
			}
			got[r.TopicPartition] = append(got[r.TopicPartition], r.Records...)
			positions[i].Offset = r.End
			done = done && r.AtEnd()
		}
		if done {
			return got
		}
		if time.Now().After(deadline) {
			t.Fatalf("not at the end in time; positions %v", positions)
		}
	}
}

func wantCode(t testing.TB, what string, err error, want fault.Code) {
	t.Helper()
	if err == nil || fault.From(err).Code != want {
		t.Errorf("%s: error %v, want code %s", what, err, want)
	}
}

// holdsWithin fails the test unless holds becomes true.
func holdsWithin(t testing.TB, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(limit); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, limit)
		}
	}
}
