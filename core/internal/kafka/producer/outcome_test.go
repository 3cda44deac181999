package producer

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/embedded"
	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/record"
)

// Kafka's error codes that the tests inject.
const (
	unknownServerError     = -1
	corruptMessage         = 2
	unknownTopic           = 3
	notLeader              = 6
	requestTimedOut        = 7
	messageTooLarge        = 10
	notEnoughReplicas      = 19
	notEnoughAfterAppend   = 20
	topicAuthorization     = 29
	policyViolation        = 44
	outOfOrderSequence     = 45
	invalidProducerEpoch   = 47
	kafkaStorageError      = 56
	unknownProducerID      = 59
	invalidRecord          = 87
	throttlingQuotaExceeds = 89
)

// TestOutcomes holds that what a client is told about one record is what the log says, for every kind of answer.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		code  int16
		times int // of how many requests; -1: all
		want  string
		ends  int64 // where the log must end
	}{
		{"refused once and for all", invalidRecord, -1, "not_persisted kafka_failed", 0},
		{"too large for the broker", messageTooLarge, -1, "not_persisted record_too_large", 0},
		{"not authorised", topicAuthorization, -1, "not_persisted permission_denied", 0},
		{"policy", policyViolation, -1, "not_persisted kafka_rejected", 0},
		{"quota", throttlingQuotaExceeds, -1, "not_persisted kafka_throttled", 0},
		{"sequence refused", outOfOrderSequence, 1, "not_persisted kafka_failed", 0},
		{"epoch refused", invalidProducerEpoch, 1, "not_persisted kafka_failed", 0},
		{"producer unknown", unknownProducerID, 1, "not_persisted kafka_failed", 0},
		{"a broker's defect says nothing", unknownServerError, -1, "unknown kafka_rejected", 0},
		{"too few replicas, every time: nothing was written", notEnoughReplicas, -1, "not_persisted kafka_retriable", 0},
		{"corrupt, every time", corruptMessage, -1, "not_persisted kafka_retriable", 0},
		{"a leader that lost the partition may have written", notLeader, -1, "unknown kafka_retriable", 0},
		{"disk failure may have written", kafkaStorageError, -1, "unknown kafka_retriable", 0},
		{"written and then timed out, every time", requestTimedOut, -1, "unknown kafka_retriable", 1},
		{"written with too few replicas, every time", notEnoughAfterAppend, -1, "unknown kafka_retriable", 1},
		{"leader moves, then it works", notLeader, 2, "persisted 0@0", 1},
		{"too few replicas, then it works", notEnoughReplicas, 3, "persisted 0@0", 1},
		{"written, timed out, tried again: the first offset, once", requestTimedOut, 1, "persisted 0@0", 1},
		{"topic not known for a moment", unknownTopic, 1, "persisted 0@0", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}}, func(_ *config.Cluster, p *config.Produce) { p.Retries = 5 })
			stop := r.broker.Inject(embedded.Failure{API: "Produce", Node: embedded.AnyNode, Code: c.code, Times: c.times})
			if got := describe(r.produce(value("a", 0, "x"))[0]); got != c.want {
				t.Errorf("told %q, want %q", got, c.want)
			}
			if stop() == 0 {
				t.Error("the fault was never hit")
			}
			if end := r.broker.End("a", 0); end != c.ends {
				t.Errorf("the log ends at %d, want %d", end, c.ends)
			}
			// The producer goes on, with the right offset.
			if got, want := describe(r.produce(value("a", 0, "y"))[0]), fmt.Sprintf("persisted 0@%d", c.ends); got != want {
				t.Errorf("the next record is told %q, want %q", got, want)
			}
		})
	}
}

func TestRefusedAfterDoubtIsUnknown(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}}, nil)
	// The first attempt is written and answered with a time-out, the second is refused.
	r.broker.Inject(embedded.Failure{API: "Produce", Node: embedded.AnyNode, Code: requestTimedOut, Times: 1})
	r.broker.Inject(embedded.Failure{API: "Produce", Node: embedded.AnyNode, Code: policyViolation, Times: 1})
	if got, want := describe(r.produce(value("a", 0, "x"))[0]), "unknown kafka_rejected"; got != want {
		t.Errorf("told %q, want %q: the first attempt wrote it", got, want)
	}
	if end := r.broker.End("a", 0); end != 1 {
		t.Errorf("the log ends at %d, want 1", end)
	}
}

func TestRefusedAfterRefusalIsNotPersisted(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}}, nil)
	r.broker.Inject(embedded.Failure{API: "Produce", Node: embedded.AnyNode, Code: notEnoughReplicas, Times: 1})
	r.broker.Inject(embedded.Failure{API: "Produce", Node: embedded.AnyNode, Code: policyViolation, Times: 1})
	if got, want := describe(r.produce(value("a", 0, "x"))[0]), "not_persisted kafka_rejected"; got != want {
		t.Errorf("told %q, want %q: neither attempt can have written it", got, want)
	}
}

func TestConnectionBreaks(t *testing.T) {
	t.Parallel()
	for _, applied := range []bool{false, true} {
		t.Run(fmt.Sprintf("applied=%v", applied), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}}, nil)
			r.produce(value("a", 0, "first"))
			r.broker.Disconnect("Produce", embedded.AnyNode, applied, 2)
			if got := describe(r.produce(value("a", 0, "x"))[0]); got != "persisted 0@1" {
				t.Errorf("told %q, want the one place at which it lies, 0@1", got)
			}
			if end := r.broker.End("a", 0); end != 2 {
				t.Errorf("the log ends at %d, want 2", end)
			}
		})
	}
}

func TestOrderSurvivesRetries(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Brokers: 2, Topics: []embedded.Topic{{Name: "a", Partitions: 2}}}, nil)
	var sent []*pending
	const calls, each = 60, 20
	for i := range calls {
		switch i {
		case 10:
			r.broker.Inject(embedded.Failure{API: "Produce", Node: embedded.AnyNode, Code: notLeader, Times: 2})
		case 20:
			if err := r.broker.MoveLeader("a", 0, 1-r.broker.Leader("a", 0)); err != nil {
				t.Fatal(err)
			}
		case 30:
			r.broker.Disconnect("Produce", embedded.AnyNode, true, 2)
		case 40:
			r.broker.Inject(embedded.Failure{API: "Produce", Node: embedded.AnyNode, Code: requestTimedOut, Times: 2})
		case 50:
			for node := range int32(2) {
				if err := r.broker.Cut(node); err != nil {
					t.Fatal(err)
				}
			}
		}
		records := make([]record.Record, each)
		for j := range records {
			n := i*each + j
			records[j] = value("a", int32(n%2), fmt.Sprint(n))
		}
		sent = append(sent, r.send(t.Context(), records...))
	}
	for i, p := range sent {
		for j, receipt := range p.all() {
			if want := fmt.Sprintf("persisted %d@%d", (i*each+j)%2, (i*each+j)/2); describe(receipt) != want {
				t.Fatalf("record %d: %s, want %s", i*each+j, describe(receipt), want)
			}
		}
	}
	for id := range int32(2) {
		if end := r.broker.End("a", id); end != calls*each/2 {
			t.Errorf("partition %d ends at %d, want %d", id, end, calls*each/2)
		}
	}
}

func TestBadRecordIsAnsweredAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}}, func(_ *config.Cluster, p *config.Produce) { p.MaxRecordBytes = 1000 })
	receipts := r.produce(
		record.Record{Topic: "a", Partition: 0, Value: make([]byte, 2000)},
		record.Record{Topic: "a", Partition: -2, Value: []byte("v")},
		record.Record{Topic: "a", Partition: 7, Value: []byte("v")},
		record.Record{Topic: "bad name", Partition: 0, Value: []byte("v")},
		record.Record{Topic: "none", Partition: 0, Value: []byte("v")},
		record.Record{Topic: "a", Partition: 0, Value: []byte("good")},
	)
	want := []string{"not_persisted record_too_large", "not_persisted partition_not_found", "not_persisted topic_not_found",
		"not_persisted kafka_rejected", "not_persisted topic_not_found", "persisted 0@0"}
	for i := range want {
		if got := describe(receipts[i]); got != want[i] {
			t.Errorf("record %d: %s, want %s", i, got, want[i])
		}
	}
}

func TestCancelAfterHandingOverChangesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}}, nil)
	r.produce(value("a", 0, "warm"))
	resume := r.broker.Hang("Produce", embedded.AnyNode, 0)
	ctx, cancel := context.WithCancel(t.Context())
	p := r.send(ctx, value("a", 0, "x"))
	cancel()
	resume()
	if got := describe(p.all()[0]); got != "persisted 0@1" {
		t.Errorf("told %q", got)
	}
}

func TestCancelledBeforeHandingOver(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	receipt := r.send(ctx, value("none", 0, "x")).all()[0]
	if receipt.Outcome != record.NotPersisted || fault.From(receipt.Err).Code != fault.Unavailable {
		t.Errorf("told %q", describe(receipt))
	}
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}}, func(c *config.Cluster, p *config.Produce) {
		p.Timeout, p.StallTimeout, p.FlushInterval = 300*time.Millisecond, time.Minute, 0
		c.RequestTimeout = 3 * time.Second
	})
	r.produce(value("a", 0, "warm"))
	resume := r.broker.Hang("Produce", embedded.AnyNode, 0)
	sent := time.Now()
	first := r.send(t.Context(), value("a", 0, "in flight"))
	// It waits in sarama behind the one that hangs, which was sent alone.
	eventually(t, "the first record is in a batch", func() bool { return r.producer.topic("a").partition(0).oldestState()&encoded != 0 })
	if got := describe(first.all()[0]); got != "unknown produce_timeout" {
		t.Errorf("in flight at the deadline: told %q", got)
	}
	if waited := time.Since(sent); waited < 250*time.Millisecond || waited > 3*time.Second {
		t.Errorf("told after %v, want 300 ms", waited)
	}
	if records, _ := r.producer.Buffered(); records != 1 {
		t.Errorf("%d records are held; the slot is free only when sarama is done", records)
	}
	resume()
	eventually(t, "the late answer frees the slot", func() bool { records, _ := r.producer.Buffered(); return records == 0 })
	if end := r.broker.End("a", 0); end != 2 {
		t.Errorf("the log ends at %d, want 2", end)
	}
}
