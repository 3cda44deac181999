//go:build acceptance

package reader

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-gateway/weir/core/internal/apachekafka"
	"github.com/weir-gateway/weir/core/internal/record"
)

// What the embedded broker does otherwise, or not at all, on a real one.
func TestAgainstApacheKafka(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cluster, err := apachekafka.Start(ctx, apachekafka.Options{Brokers: 2, Properties: map[string]string{
		"log.cleaner.backoff.ms": "200", "log.initial.task.delay.ms": "200", "log.retention.check.interval.ms": "500", "quota.window.size.seconds": "1",
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Close(); err != nil {
			t.Error(err)
		}
	})
	addresses := cluster.BootstrapServers()
	create := func(t *testing.T, name string, partitions int32, configs map[string]string) {
		t.Helper()
		if err := cluster.CreateTopic(ctx, name, partitions, 1, configs); err != nil {
			t.Fatal(err)
		}
	}

	t.Run("transactions", func(t *testing.T) {
		create(t, "transactions", 1, nil)
		_, reader := open(t, addresses, consumeSettings())
		testTransactions(t, addresses, reader, "transactions", 1, 200, 1<<20)
	})
	t.Run("nothing is lost", func(t *testing.T) {
		const partitions, each = 6, 300
		create(t, "spread", partitions, nil)
		p := newProducer(t, addresses, kgo.ProducerBatchCompression(kgo.NoCompression()))
		var positions []record.Position
		for i := range int32(partitions) {
			all := values("spread", i, each, 100)
			for chunk := range slices.Chunk(all, 1+7*int(i)) {
				produce(t, p, chunk...)
			}
			positions = append(positions, position("spread", i, 0))
		}
		_, reader := open(t, addresses, consumeSettings())
		for _, maxBytes := range []int{1, 3000, 100_000} {
			got := readAll(t, reader, slices.Clone(positions), Options{Wait: time.Second, MaxBytes: maxBytes})
			for i := range int32(partitions) {
				records := got[record.TopicPartition{Topic: "spread", Partition: i}]
				for n := range records {
					if !bytes.HasPrefix(records[n].Value, fmt.Appendf(nil, "%d/%d/", i, n)) {
						t.Fatalf("MaxBytes %d, partition %d, record %d: %.20q", maxBytes, i, n, records[n].Value)
					}
				}
				if len(records) != each {
					t.Errorf("MaxBytes %d, partition %d: %d records, want %d", maxBytes, i, len(records), each)
				}
			}
		}
	})
	t.Run("compaction", func(t *testing.T) { testCompactionOnKafka(t, addresses, create) })
	t.Run("compression and time of appending", func(t *testing.T) {
		create(t, "appended", 1, map[string]string{"message.timestamp.type": "LogAppendTime"})
		before := time.Now().UnixMilli()
		for _, codec := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
			produce(t, newProducer(t, addresses, kgo.ProducerBatchCompression(codec)), values("appended", 0, 20, 500)...)
		}
		_, reader := open(t, addresses, consumeSettings())
		records := readAll(t, reader, []record.Position{position("appended", 0, 0)}, Options{Wait: time.Second})[record.TopicPartition{Topic: "appended"}]
		if len(records) != 100 {
			t.Fatalf("%d records", len(records))
		}
		for i := range records {
			if len(records[i].Value) != 500 || records[i].Timestamp < before {
				t.Errorf("record %d: %d bytes, time %d", i, len(records[i].Value), records[i].Timestamp)
			}
		}
	})
	t.Run("a broker stops", func(t *testing.T) { testAStoppedBroker(t, cluster, addresses) })
	t.Run("a quota", func(t *testing.T) { testQuota(t, addresses, create) })
}

// The log of a compacted topic may begin anywhere in a batch, lack most offsets, and end with a batch without any record: the last of an
// idempotent producer stays, empty, when compaction took all it held.
func testCompactionOnKafka(t *testing.T, addresses []string, create func(*testing.T, string, int32, map[string]string)) {
	create(t, "compacted", 1, map[string]string{
		"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.001", "segment.ms": "400", "delete.retention.ms": "1", "min.compaction.lag.ms": "0", "max.compaction.lag.ms": "500",
	})
	one, two := newProducer(t, addresses), newProducer(t, addresses)
	const rounds = 30
	for i := range rounds {
		produce(t, one, &kgo.Record{Topic: "compacted", Key: []byte("x"), Value: fmt.Append(nil, i)}, &kgo.Record{Topic: "compacted", Key: []byte("y"), Value: fmt.Append(nil, i)})
	}
	produce(t, two, &kgo.Record{Topic: "compacted", Key: []byte("x"), Value: []byte("last")}, &kgo.Record{Topic: "compacted", Key: []byte("y"), Value: []byte("last")})
	produce(t, one, &kgo.Record{Topic: "compacted", Key: []byte("x"), Value: []byte("end")}, &kgo.Record{Topic: "compacted", Key: []byte("y"), Value: []byte("end")})
	_, reader := open(t, addresses, consumeSettings())
	var records []record.Stored
	n := 0
	holdsWithin(t, 60*time.Second, "the log is compacted", func() bool {
		n++
		produce(t, one, &kgo.Record{Topic: "compacted", Key: []byte("z"), Value: fmt.Append(nil, n)}) // makes a new segment
		records = readAll(t, reader, []record.Position{position("compacted", 0, 0)}, Options{Wait: 100 * time.Millisecond})[record.TopicPartition{Topic: "compacted"}]
		return len(records) < 10
	})
	t.Logf("%d records are left of %d", len(records), 2*rounds+4+n)
	emptied := 0
	for offset := range int64(2*rounds + 4) {
		results, release, err := reader.Fetch(t.Context(), []record.Position{position("compacted", 0, offset)}, Options{MaxBytes: 1})
		release()
		if err != nil || results[0].Err != nil || results[0].End <= offset {
			t.Errorf("from offset %d: %v, %+v", offset, err, results)
		}
		if len(results) > 0 && len(results[0].Records) == 0 {
			emptied++
		}
	}
	if emptied == 0 {
		t.Error("no batch without records was met")
	}
	t.Logf("%d of %d offsets gave a batch without records", emptied, 2*rounds+4)
}

func testAStoppedBroker(t *testing.T, cluster *apachekafka.Cluster, addresses []string) {
	if err := cluster.CreateTopicOn(t.Context(), "stopped", [][]int32{{1}, {2}}, nil); err != nil {
		t.Fatal(err)
	}
	p := newProducer(t, addresses)
	_, reader := open(t, addresses, consumeSettings())
	positions := []record.Position{position("stopped", 0, 0), position("stopped", 1, 0)}
	for i := range int32(2) {
		produce(t, p, values("stopped", i, 3, 10)...)
	}
	readAll(t, reader, positions, Options{Wait: time.Second})
	produce(t, p, values("stopped", 0, 3, 10)...)
	if err := cluster.Node(2).Pause(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := cluster.Node(2).Resume(); err != nil {
			t.Error(err)
		}
	}()
	started := time.Now()
	results, release, err := reader.Fetch(t.Context(), positions, Options{Wait: 5 * time.Second})
	release()
	if took := time.Since(started); err != nil || len(results[0].Records) != 3 || took > time.Second {
		t.Errorf("%+v, %v after %v", results, err, took)
	}
	started = time.Now()
	_, release, err = reader.Fetch(t.Context(), positions[1:], Options{Wait: 500 * time.Millisecond})
	release()
	if took := time.Since(started); err == nil || took > 850*time.Millisecond {
		t.Errorf("a paused broker: %v after %v", err, took)
	}
	t.Logf("of a paused broker: %v", err)
}

// A broker that holds answers back because of a quota holds up no other call beyond its time.
func testQuota(t *testing.T, addresses []string, create func(*testing.T, string, int32, map[string]string)) {
	create(t, "quota", 1, nil)
	p := newProducer(t, addresses, kgo.ProducerBatchCompression(kgo.NoCompression()))
	for range 20 {
		produce(t, p, values("quota", 0, 100, 1000)...)
	}
	request := kmsg.NewPtrAlterClientQuotasRequest()
	entry := kmsg.NewAlterClientQuotasRequestEntry()
	entity := kmsg.NewAlterClientQuotasRequestEntryEntity()
	entity.Type, entity.Name = "client-id", kmsg.StringPtr("weir-test")
	op := kmsg.NewAlterClientQuotasRequestEntryOp()
	op.Key, op.Value = "consumer_byte_rate", 200_000
	entry.Entity, entry.Ops = append(entry.Entity, entity), append(entry.Ops, op)
	request.Entries = append(request.Entries, entry)
	response, err := request.RequestWith(t.Context(), p)
	if err != nil || response.Entries[0].ErrorCode != 0 {
		t.Fatalf("%+v, %v", response, err)
	}
	_, reader := open(t, addresses, consumeSettings())
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			at, empty := int64(0), 0
			for range 12 {
				started := time.Now()
				results, release, err := reader.Fetch(t.Context(), []record.Position{position("quota", 0, at)}, Options{Wait: 300 * time.Millisecond, MaxBytes: 300_000})
				release()
				if took := time.Since(started); took > 650*time.Millisecond {
					t.Errorf("took %v", took)
				}
				if err != nil || len(results[0].Records) == 0 {
					empty++
					continue
				}
				at = results[0].End
			}
			t.Logf("read up to %d; %d calls gave nothing", at, empty)
		})
	}
	all.Wait()
}
