package producer

import (
	"errors"
	"testing"
)

func TestPartitionRoom(t *testing.T) {
	t.Parallel()
	topic, bounds := newTopic("a"), &limits{records: 10, bytes: 100, stall: 1 << 40}
	p := topic.partition(0)
	record := func(size int64) *delivery { return &delivery{topic: topic, partition: p, size: size} }
	first, second := record(60), record(60)
	if got := p.admit(first, nil, 1, bounds, 0); got != admitted {
		t.Fatalf("an empty partition: %d", got)
	}
	w := &waiter{wake: make(chan struct{}, 1)}
	other := &waiter{wake: make(chan struct{}, 1)}
	p.enqueue(w)
	p.enqueue(other)
	if got := p.admit(second, w, 2, bounds, 0); got != full {
		t.Fatalf("no room for the bytes: %d", got)
	}
	p.release(first)
	select {
	case <-w.wake:
	default:
		t.Error("the first in the queue is not told of the room")
	}
	if bytes, records := p.bytes.Load(), p.records.Load(); bytes != 0 || records != 0 {
		t.Errorf("%d bytes and %d records stay counted", bytes, records)
	}
	for _, place := range []*waiter{nil, other} {
		if got := p.admit(record(1), place, 3, bounds, 0); got != full {
			t.Errorf("a record overtakes those that wait: %d", got)
		}
	}
	if got := p.admit(second, w, 3, bounds, 0); got != admitted {
		t.Errorf("the first in the queue: %d", got)
	}
	p.leave(w)
	select {
	case <-other.wake:
	default:
		t.Error("the next in the queue is not told that it is its turn")
	}
}

func TestAnsweredRecordIsNotSent(t *testing.T) {
	t.Parallel()
	d := &delivery{value: []byte("v")}
	d.state.Or(answered)
	if value, err := (*valueEncoder)(d).Encode(); value != nil || !errors.Is(err, errAbandoned) {
		t.Errorf("sarama gets %q, %v of a record whose client has its answer", value, err)
	}
}
