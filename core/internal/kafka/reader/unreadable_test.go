package reader

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-gateway/weir/core/internal/embedded"
	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka"
	"github.com/weir-gateway/weir/core/internal/record"
)

// The partition whose batch cannot be read is found by halving, once, and not with a request for each partition.
func TestAnUnreadableBatchIsFoundQuickly(t *testing.T) {
	t.Parallel()
	const partitions, bad = 300, 170
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a", Partitions: partitions}}}, consumeSettings())
	produceUnreadable(t, newProducer(t, r.broker.Addresses()), "a", bad, 4, "not compressed")
	var positions []record.Position
	for i := range int32(partitions) {
		positions = append(positions, position("a", i, 0))
	}
	var requests atomic.Int32
	defer r.broker.Observe("Fetch", func(int32) { requests.Add(1) })()
	for call, most := range []int32{40, 4, 4} { // 2·log₂ 300, one for its next batch, and some for those that have answered
		requests.Store(0)
		results, release, err := r.reader.Fetch(t.Context(), positions, Options{Wait: 10 * time.Second})
		release()
		if err != nil {
			t.Fatal(err)
		}
		for i := range results {
			if (results[i].Err != nil) != (i == bad) {
				t.Errorf("partition %d: %v", i, results[i].Err)
			}
		}
		wantCode(t, "the batch that cannot be read", results[bad].Err, fault.KafkaFailed)
		if n := requests.Load(); n > most {
			t.Errorf("call %d made %d requests, want at most %d", call, n, most)
		}
		if n := r.reader.pool.Connections(); n > 16 {
			t.Errorf("call %d: %d connections", call, n)
		}
	}
}

// What comes before a batch that cannot be read is given, and what is behind it after a seek.
func TestWhatSurroundsAnUnreadableBatch(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}}, consumeSettings())
	p := newProducer(t, r.broker.Addresses())
	for range 3 {
		produce(t, p, values("a", 0, 2, 10)...)
	}
	produceUnreadable(t, p, "a", 0, 4, "not compressed") // offset 6
	produce(t, p, values("a", 0, 2, 10)...)
	at, read := position("a", 0, 0), 0
	for read < 6 {
		got := r.fetchOne(t, at, Options{Wait: 5 * time.Second})
		if got.Err != nil || len(got.Records) == 0 {
			t.Fatalf("at %d: %+v", at.Offset, got)
		}
		read += len(got.Records)
		at.Offset = got.End
	}
	got := r.fetchOne(t, at, Options{Wait: 5 * time.Second})
	wantCode(t, "at it", got.Err, fault.KafkaFailed)
	if at.Offset != 6 || !strings.Contains(got.Err.Error(), "a-0 at offset 6 cannot be read") {
		t.Errorf("offset %d: %v", at.Offset, got.Err)
	}
	at.Offset = 7
	if got := r.fetchOne(t, at, Options{Wait: 5 * time.Second}); got.Err != nil || len(got.Records) != 2 {
		t.Errorf("behind it: %+v", got)
	}
}

// The error of a batch that is too large when it is decompressed says so, and what to do.
func TestABatchThatExpandsTooMuch(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}}, consumeSettings())
	p := newProducer(t, r.broker.Addresses(), kgo.ProducerBatchCompression(kgo.ZstdCompression()), kgo.ProducerBatchMaxBytes(100<<20), kgo.BrokerMaxWriteBytes(128<<20))
	produce(t, p, &kgo.Record{Topic: "a", Value: make([]byte, kafka.LargestBatch+1000)})
	got := r.fetchOne(t, position("a", 0, 0), Options{Wait: 10 * time.Second})
	wantCode(t, "a batch that is too large", got.Err, fault.KafkaFailed)
	for _, want := range []string{"a-0 at offset 0", "larger than 64 MiB", "smaller batches", "seek"} {
		if !strings.Contains(got.Err.Error(), want) {
			t.Errorf("%q is not in %q", want, got.Err)
		}
	}
}

func TestUnreadableIsBounded(t *testing.T) {
	t.Parallel()
	var u unreadable
	now := time.Now()
	result := func(i int) *Result {
		return &Result{Range: record.Range{TopicPartition: record.TopicPartition{Topic: fmt.Sprint(i)}}}
	}
	for i := range 3 * mostUnreadable {
		u.note(&part{result: result(i)}, 1)
	}
	if len(u.positions) > mostUnreadable {
		t.Errorf("%d positions are remembered", len(u.positions))
	}
	last := 3*mostUnreadable - 1
	parts := []part{{result: result(last)}, {result: result(last), next: 1}}
	u.mark(parts, now)
	if !parts[0].narrow || !parts[0].alone || parts[0].suspect != 1 || parts[1].narrow {
		t.Errorf("%+v", parts)
	}
	later := []part{{result: result(last)}}
	u.mark(later, now.Add(2*unreadableFor))
	if later[0].narrow || later[0].alone {
		t.Error("it is remembered for ever")
	}
}
