package producer

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/embedded"
	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/record"
)

func batch(topic string, partition int32, n, size int) []record.Record {
	records := make([]record.Record, n)
	for i := range records {
		records[i] = record.Record{Topic: topic, Partition: partition, Value: make([]byte, size)}
	}
	return records
}

// TestOneBrokerHangs is the promise that a broker that hangs stops its own partitions and nothing else, whatever waits there.
func TestOneBrokerHangs(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Brokers: 2, Topics: []embedded.Topic{{Name: "a", Partitions: 2}}}, func(c *config.Cluster, p *config.Produce) {
		p.StallTimeout, p.Timeout = 500*time.Millisecond, 20*time.Second
		c.RequestTimeout = 8 * time.Second
	})
	for id := range int32(2) {
		if err := r.broker.MoveLeader("a", id, id); err != nil {
			t.Fatal(err)
		}
	}
	r.produce(value("a", 0, "warm"), value("a", 1, "warm"))
	if err := r.broker.Freeze(0); err != nil {
		t.Fatal(err)
	}
	stuck := make(chan *pending, 8)
	for range cap(stuck) { // far more than the partition takes
		go func() { stuck <- r.send(t.Context(), batch("a", 0, 1000, 1000)...) }()
	}
	var slowest time.Duration
	for range 200 {
		began := time.Now()
		if got := r.produce(value("a", 1, "x"))[0]; got.Outcome != record.Persisted {
			t.Fatalf("the other broker's record: %s", describe(got))
		}
		slowest = max(slowest, time.Since(began))
	}
	if slowest > 4*time.Second { // held up by the hung broker it would take that broker's request timeout, 8 s
		t.Errorf("the other broker's slowest record took %v", slowest)
	}
	var calls []*pending
	for range cap(stuck) {
		calls = append(calls, <-stuck) // Produce returns: what found no room is refused when the partition counts as stalled
	}
	began := time.Now()
	refused := r.produce(value("a", 0, "y"))[0]
	if took := time.Since(began); describe(refused) != "not_persisted broker_not_available" || took > 5*time.Second { // waiting, it would take its own deadline, 20 s
		t.Errorf("a record for the stalled partition: %s after %v, want a refusal at once", describe(refused), took)
	}
	if f := fault.From(refused.Err); !strings.Contains(f.Message, "a-0") || f.RetryAfter <= 0 {
		t.Errorf("the refusal names no partition or no time: %+v", f)
	}
	// Records that may choose go where there are answers.
	for range 20 {
		if got := r.produce(record.Record{Topic: "a", Partition: record.AnyPartition, Value: []byte("any")})[0]; got.Outcome != record.Persisted || got.Partition != 1 {
			t.Fatalf("a record without a key: %s", describe(got))
		}
	}
	if err := r.broker.Up(0); err != nil {
		t.Fatal(err)
	}
	persisted := 0
	for _, p := range calls {
		for _, receipt := range p.all() {
			switch receipt.Outcome {
			case record.Persisted:
				persisted++
			case record.Unknown:
				t.Fatalf("a record whose broker came back in time: %s", describe(receipt))
			}
		}
	}
	if end := r.broker.End("a", 0); end != int64(1+persisted) {
		t.Errorf("the log of the broker that came back ends at %d, %d records were acknowledged", end, 1+persisted)
	}
}

func TestNoRoomWaitsInOrder(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}}, func(_ *config.Cluster, p *config.Produce) { p.PartitionRecords = 16 })
	records := make([]record.Record, 500)
	for i := range records {
		records[i] = value("a", 0, fmt.Sprint(i))
	}
	for i, receipt := range r.produce(records...) {
		if want := fmt.Sprintf("persisted 0@%d", i); describe(receipt) != want {
			t.Fatalf("record %d: %s, want %s", i, describe(receipt), want)
		}
	}
}

func TestWaitForRoomEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		want string
		end  func(r *rig, cancel func())
	}{
		{"with the caller", "not_persisted unavailable", func(_ *rig, cancel func()) { cancel() }},
		{"with the record's deadline", "not_persisted produce_timeout", func(*rig, func()) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}}, func(_ *config.Cluster, p *config.Produce) {
				p.PartitionRecords, p.StallTimeout, p.Timeout = 16, time.Minute, 700*time.Millisecond
			})
			r.produce(value("a", 0, "warm"))
			resume := r.broker.Hang("Produce", embedded.AnyNode, 0)
			defer resume()
			r.send(t.Context(), batch("a", 0, 16, 10)...)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			waiting := make(chan *pending, 1)
			go func() { waiting <- r.send(ctx, value("a", 0, "waits")) }()
			eventually(t, "the record waits", func() bool {
				p := r.producer.topic("a").partition(0)
				p.mu.Lock()
				defer p.mu.Unlock()
				return len(p.waiters) == 1
			})
			c.end(r, cancel)
			if got := describe((<-waiting).all()[0]); got != c.want {
				t.Errorf("told %q, want %q", got, c.want)
			}
		})
	}
}

func TestByteBudget(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a", Partitions: 8}}}, func(_ *config.Cluster, p *config.Produce) {
		p.BufferBytes, p.StallTimeout = 1<<20, time.Minute
	})
	r.produce(value("a", 0, "warm"))
	resume := r.broker.Hang("Produce", embedded.AnyNode, 0)
	var sent []*pending
	for id := range int32(8) {
		sent = append(sent, r.send(t.Context(), batch("a", id, 4, 64<<10)...))
	}
	_, bytes := r.producer.Buffered()
	if bytes > 1<<20 {
		t.Errorf("%d bytes are held, the budget is %d", bytes, 1<<20)
	}
	resume()
	counts := map[string]int{}
	for _, p := range sent {
		for _, receipt := range p.all() {
			if receipt.Err == nil {
				counts["persisted"]++
				continue
			}
			f := fault.From(receipt.Err)
			counts[receipt.Outcome.String()+" "+f.Code.String()]++
			if f.RetryAfter != time.Second {
				t.Errorf("retry after %v", f.RetryAfter)
			}
		}
	}
	if counts["persisted"] != 15 || counts["not_persisted overloaded"] != 17 || len(counts) != 2 {
		t.Errorf("%v; want 15 persisted and 17 refused as overload", counts)
	}
	eventually(t, "everything is given back", func() bool { records, bytes := r.producer.Buffered(); return records == 0 && bytes == 0 })
}

// TestLookupIsNoStall: the time that the first record of a topic waits for the topic's settings does not count as a wait for
// the partition's broker.
func TestLookupIsNoStall(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}, {Name: "warm"}}}, func(_ *config.Cluster, p *config.Produce) {
		p.FlushInterval, p.StallTimeout = 200*time.Millisecond, 500*time.Millisecond
	})
	r.produce(value("warm", 0, "warm"))
	resume := r.broker.Hang("DescribeConfigs", embedded.AnyNode, time.Second)
	defer resume()
	first := r.send(t.Context(), value("a", 0, "1"))
	second := r.send(t.Context(), value("a", 0, "2"))
	for i, p := range []*pending{first, second} {
		if got, want := describe(p.all()[0]), fmt.Sprintf("persisted 0@%d", i); got != want {
			t.Errorf("record %d: %s, want %s", i, got, want)
		}
	}
}

func TestUnknownTopicsCostNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}}, nil)
	r.produce(value("a", 0, "warm"))
	before := runtime.NumGoroutine()
	records := make([]record.Record, 0, 2000)
	for i := range cap(records) {
		records = append(records, value(fmt.Sprintf("none-%d", i), 0, "v"))
	}
	for i, receipt := range r.produce(records...) {
		if describe(receipt) != "not_persisted topic_not_found" || !strings.Contains(fault.From(receipt.Err).Message, "not present in metadata") {
			t.Fatalf("record %d: %s, %v", i, describe(receipt), receipt.Err)
		}
	}
	if n := len(r.producer.topics); n != 1 {
		t.Errorf("the producer keeps %d topics, want 1", n)
	}
	eventually(t, "no goroutines stay", func() bool { return runtime.NumGoroutine() <= before+2 })
}

func TestPartitionsGrow(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}}, func(_ *config.Cluster, p *config.Produce) { p.UnknownTopicTTL = 0 })
	r.produce(value("a", 0, "warm"))
	if got := describe(r.produce(value("a", 3, "too early"))[0]); got != "not_persisted topic_not_found" {
		t.Errorf("before it grew: %s", got)
	}
	if err := r.broker.DeleteTopic("a"); err != nil {
		t.Fatal(err)
	}
	if err := r.broker.CreateTopic(embedded.Topic{Name: "a", Partitions: 4}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new partition is found", func() bool { return r.produce(value("a", 3, "x"))[0].Outcome == record.Persisted })
}

func TestPanicInCallbackStopsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}}, nil)
	r.producer.Produce(t.Context(), batch("a", 0, 3, 1), func(int, record.Receipt) { panic("callback") })
	if got := describe(r.produce(value("a", 0, "x"))[0]); got != "persisted 0@3" {
		t.Errorf("the next record: %s", got)
	}
}

func TestClose(t *testing.T) {
	leaks := goleak.IgnoreCurrent()
	t.Run("flushes", func(t *testing.T) {
		r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}}, func(_ *config.Cluster, p *config.Produce) { p.FlushInterval = 200 * time.Millisecond })
		p := r.send(t.Context(), batch("a", 0, 100, 10)...)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := r.producer.Close(ctx); err != nil {
			t.Fatal(err)
		}
		for i, receipt := range p.all() {
			if receipt.Outcome != record.Persisted {
				t.Fatalf("record %d: %s", i, describe(receipt))
			}
		}
		if got := describe(r.produce(value("a", 0, "late"))[0]); got != "not_persisted unavailable" {
			t.Errorf("after Close: %s", got)
		}
	})
	t.Run("with a broker that hangs", func(t *testing.T) {
		broker, err := embedded.Start(embedded.Options{Topics: []embedded.Topic{{Name: "a"}}})
		if err != nil {
			t.Fatal(err)
		}
		defer broker.Close()
		cluster, produce := clusterSettings(broker.Addresses()...), produceSettings()
		cluster.RequestTimeout = time.Minute
		r := newRigOn(t, broker, cluster, produce)
		r.produce(value("a", 0, "warm"))
		if err := broker.Freeze(0); err != nil {
			t.Fatal(err)
		}
		p := r.send(t.Context(), value("a", 0, "in flight"))
		eventually(t, "it is in a batch", func() bool { return r.producer.topic("a").partition(0).oldestState()&encoded != 0 })
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if err := r.producer.Close(ctx); err == nil {
			t.Error("a close that left a record unanswered gives no error")
		}
		if got := describe(p.all()[0]); got != "unknown produce_timeout" {
			t.Errorf("told %q", got)
		}
		if records, _ := r.producer.Buffered(); records != 0 {
			t.Errorf("%d records are still held", records)
		}
		r.producer.closed = nil // what the clean-up would report again
	})
	t.Run("before a broker was ever there", func(t *testing.T) {
		client := newRigDown(t)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := client.producer.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	goleak.VerifyNone(t, leaks)
}

// TestCloseEndsLookups: a call that waits to learn about its topic, from a broker that gives no answer, does not hold up Close.
func TestCloseEndsLookups(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		hangs string // from the start: the broker itself
		topic string
		part  int32
	}{
		{"the first contact", "ApiVersions", "a", 0},
		{"the topic's metadata", "Metadata", "a", 0},
		{"a partition that may be new", "Metadata", "warm", 7},
		{"the topic's settings", "DescribeConfigs", "a", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			broker, err := embedded.Start(embedded.Options{Topics: []embedded.Topic{{Name: "a"}, {Name: "warm"}}})
			if err != nil {
				t.Fatal(err)
			}
			defer broker.Close()
			cluster, produce := clusterSettings(broker.Addresses()...), produceSettings()
			cluster.AdminTimeout, cluster.RequestTimeout, cluster.DialTimeout, produce.UnknownTopicTTL = 8*time.Second, 8*time.Second, 8*time.Second, 0
			if c.hangs == "ApiVersions" {
				if err := broker.Freeze(0); err != nil {
					t.Fatal(err)
				}
			}
			r := newRigOn(t, broker, cluster, produce)
			var asked atomic.Bool
			if c.hangs != "ApiVersions" {
				r.produce(value("warm", 0, "warm"))
				eventually(t, "the metadata is old enough to be asked for again", func() bool {
					topic, known := r.client.Cached("warm")
					return known && time.Since(topic.Fetched) > 150*time.Millisecond
				})
				defer broker.Observe(c.hangs, func(int32) { asked.Store(true) })()
				defer broker.Hang(c.hangs, embedded.AnyNode, 0)()
			}
			sent := make(chan *pending, 1)
			go func() { sent <- r.send(t.Context(), value(c.topic, c.part, "x")) }()
			if c.hangs != "ApiVersions" {
				eventually(t, "the broker is asked", asked.Load)
			} else {
				eventually(t, "the call is in", func() bool {
					if r.producer.callers.mu.TryLock() {
						r.producer.callers.mu.Unlock()
						return false
					}
					return true
				})
			}
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			began := time.Now()
			_ = r.producer.Close(ctx) // whether the record had its answer in time is not the question here
			if took := time.Since(began); took > time.Second {
				t.Errorf("Close with 300 ms took %v", took)
			}
			(<-sent).all()
			r.producer.closed = nil // what the clean-up would report again
		})
	}
}

// newRigDown is a rig whose broker does not exist.
func newRigDown(t *testing.T) *rig {
	t.Helper()
	broker, err := embedded.Start(embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	addresses := broker.Addresses()
	broker.Close()
	return newRigOn(t, nil, clusterSettings(addresses...), produceSettings())
}

func TestBrokerDownAnswersAtOnce(t *testing.T) {
	t.Parallel()
	r := newRigDown(t)
	began := time.Now()
	if got := describe(r.produce(value("a", 0, "x"))[0]); got != "not_persisted broker_not_available" {
		t.Errorf("told %q", got)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("told after %v", took)
	}
	if r.producer.Ready() == nil {
		t.Error("ready without a broker")
	}
}
