package producer

import (
	"testing"
	"time"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/embedded"
	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/record"
)

// TestOneBadRecordSpoilsNoOthers: a broker would refuse the whole batch, and it may hold records of other clients.
func TestOneBadRecordSpoilsNoOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{
		{Name: "compacted", Configs: map[string]string{"cleanup.policy": "compact,delete"}},
		{Name: "small", Configs: map[string]string{"max.message.bytes": "20000"}},
	}}, nil)
	began := time.Now()
	receipts := r.produce(
		record.Record{Topic: "compacted", Partition: record.AnyPartition, Key: []byte("k"), Value: []byte("1")},
		record.Record{Topic: "compacted", Partition: record.AnyPartition, Value: []byte("no key")},
		record.Record{Topic: "compacted", Partition: 0, Key: []byte{}, Value: []byte("an empty key is one")},
		record.Record{Topic: "small", Partition: 0, Value: make([]byte, 19_000)},
		record.Record{Topic: "small", Partition: 0, Value: make([]byte, 20_000)},
		record.Record{Topic: "small", Partition: 0, Value: []byte("x")},
	)
	want := []string{"persisted 0@0", "not_persisted kafka_failed", "persisted 0@1", "persisted 0@0", "not_persisted record_too_large", "persisted 0@1"}
	for i := range want {
		if got := describe(receipts[i]); got != want[i] {
			t.Errorf("record %d: %s, want %s", i, got, want[i])
		}
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	// Many records that are small enough each: no batch of them may exceed what the topic takes.
	for i, receipt := range r.produce(batch("small", 0, 200, 1000)...) {
		if receipt.Outcome != record.Persisted {
			t.Fatalf("record %d of many: %s, %v", i, describe(receipt), receipt.Err)
		}
	}
}

const authorizationFailed = 29

// TestBatchesShrink: the same without being allowed to read the topic's settings.
func TestBatchesShrink(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "small", Configs: map[string]string{"max.message.bytes": "50000"}}}},
		func(_ *config.Cluster, p *config.Produce) { p.FlushInterval = 5 * time.Millisecond })
	r.broker.Inject(embedded.Failure{API: "DescribeConfigs", Node: embedded.AnyNode, Code: authorizationFailed, Times: -1})
	for try := range 10 {
		refused := 0
		for i, receipt := range r.produce(batch("small", 0, 300, 1000)...) {
			switch {
			case receipt.Outcome == record.Persisted:
			case receipt.Outcome == record.NotPersisted && fault.From(receipt.Err).Code == fault.KafkaRetriable:
				refused++
			default:
				t.Fatalf("try %d, record %d: %s, %v", try, i, describe(receipt), receipt.Err)
			}
		}
		if refused == 0 {
			return
		}
	}
	t.Error("after ten tries batches are still too large")
}

// TestShrinkOnceForManyBatches: a call that is larger than many batches has several of them on their way, or waiting, when the
// first refusal comes. They all say the same thing, and it counts once.
func TestShrinkOnceForManyBatches(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "small", Configs: map[string]string{"max.message.bytes": "50000"}}}},
		func(_ *config.Cluster, p *config.Produce) { p.FlushInterval = 5 * time.Millisecond })
	r.broker.Inject(embedded.Failure{API: "DescribeConfigs", Node: embedded.AnyNode, Code: authorizationFailed, Times: -1})
	persisted := 0
	for i, receipt := range r.produce(batch("small", 0, 4000, 1000)...) {
		switch {
		case receipt.Outcome == record.Persisted:
			persisted++
		case receipt.Outcome == record.NotPersisted && fault.From(receipt.Err).Code == fault.KafkaRetriable:
		default:
			t.Fatalf("record %d, which fits: %s, %v", i, describe(receipt), receipt.Err)
		}
	}
	if persisted < 2000 {
		t.Errorf("%d of 4000 records were written: those that waited did not use the smaller limit", persisted)
	}
}

func TestShrink(t *testing.T) {
	t.Parallel()
	topic := newTopic("a")
	for _, step := range []struct{ batch, want, limit int64 }{
		{1_000_000, 500_000, 500_000},
		{1_000_000, 500_000, 500_000}, // let in before the first refusal
		{500_001, 500_000, 500_000},
		{500_000, 250_000, 250_000},
		{40_000, 20_000, 20_000},
		{20_000, smallestAdaption, smallestAdaption},
		{20_000, smallestAdaption, smallestAdaption},
		{smallestAdaption, 0, smallestAdaption}, // its records are too large, not their sum
	} {
		if got := topic.shrink(step.batch); got != step.want {
			t.Fatalf("after a batch of %d: %d, want %d", step.batch, got, step.want)
		}
		if got := topic.batchLimit(1_000_000); got != step.limit {
			t.Fatalf("after a batch of %d the limit is %d, want %d", step.batch, got, step.limit)
		}
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_700_000_000_000)
	hour := noRules()
	hour.take("message.timestamp.before.max.ms", "3600000")
	hour.take("message.timestamp.after.max.ms", "3600000")
	endless := noRules()
	endless.take("message.timestamp.before.max.ms", "9223372036854775807")
	endless.take("message.timestamp.after.max.ms", "9223372036854775807")
	brokers := noRules()
	brokers.take("message.timestamp.type", "LogAppendTime")
	brokers.take("message.timestamp.after.max.ms", "0")
	for _, c := range []struct {
		name   string
		rules  *rules
		at     time.Time
		refuse bool
	}{
		{"now", hour, now, false},
		{"none", hour, time.Time{}, false},
		{"a little beyond: the clocks may differ", hour, now.Add(time.Hour + time.Second), false},
		{"future", hour, now.Add(2 * time.Hour), true},
		{"past", hour, now.Add(-2 * time.Hour), true},
		{"no limit, past", endless, time.UnixMilli(0), false},
		{"no limit, future", endless, now.Add(100 * 365 * 24 * time.Hour), false},
		{"the broker's clock counts", brokers, now.Add(time.Hour), false},
		{"unknown rules", noRules(), now.Add(-time.Hour), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := c.rules.refuse(&record.Record{Key: []byte("k"), Timestamp: c.at}, "a", 0, 10, false, now)
			if (got != nil) != c.refuse {
				t.Errorf("%v", got)
			}
		})
	}
}
