package producer

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-gateway/weir/core/internal/kafka"
)

// partition is what the producer keeps of one topic-partition: the records that are inside sarama, oldest first, and who
// waits for room among them.
//
// A record takes room when it is handed to sarama and frees it when sarama gives it back, not when its client is answered:
// what is counted is what is held.
type partition struct {
	id int32

	mu      sync.Mutex
	oldest  *delivery
	newest  *delivery
	waiters []*waiter // whoever waits for room, in order

	// Written under mu, read without it where a guess will do.
	records atomic.Int64
	bytes   atomic.Int64
	since   atomic.Int64 // when the oldest was handed over; 0: there is none

	doubts atomic.Uint64 // counts attempts after which nobody knows whether a batch was written
	answer batchAnswer   // the last refusal of a batch, under mu
}

// waiter is a Produce call that waits for room in a partition.
type waiter struct{ wake chan struct{} }

type admission int

const (
	admitted admission = iota
	full               // no room, or others wait already
	stalled            // the oldest record has had no answer for too long
)

// limits bound what one partition may have inside sarama.
type limits struct {
	records int64
	bytes   int64 // a topic's own limit may be less
	stall   int64 // nanoseconds
}

// admit takes room for a record unless there is none. w is the caller's place in the queue, if it has one.
func (p *partition) admit(d *delivery, w *waiter, now int64, l *limits, doubts uint64) admission {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.oldest != nil && now-p.oldest.handed > l.stall {
		return stalled
	}
	if len(p.waiters) > 0 && p.waiters[0] != w {
		return full
	}
	records, bytes := p.records.Load(), p.bytes.Load()
	if records >= l.records || records > 0 && bytes+d.size > d.topic.batchLimit(l.bytes) {
		return full
	}
	p.records.Store(records + 1)
	p.bytes.Store(bytes + d.size)
	d.handed, d.doubts = now, p.doubts.Load()+doubts
	d.older = p.newest
	if p.newest == nil {
		p.oldest = d
		p.since.Store(now)
	} else {
		p.newest.newer = d
	}
	p.newest = d
	return admitted
}

// release frees the room of a record that sarama has given back.
func (p *partition) release(d *delivery) {
	p.mu.Lock()
	p.records.Add(-1)
	p.bytes.Add(-d.size)
	if d.older != nil {
		d.older.newer = d.newer
	} else {
		p.oldest = d.newer
		if p.oldest == nil {
			p.since.Store(0)
		} else {
			p.since.Store(p.oldest.handed)
		}
	}
	if d.newer != nil {
		d.newer.older = d.older
	} else {
		p.newest = d.older
	}
	d.older, d.newer = nil, nil
	if len(p.waiters) > 0 {
		p.waiters[0].signal()
	}
	p.mu.Unlock()
}

func (w *waiter) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (p *partition) enqueue(w *waiter) {
	p.mu.Lock()
	p.waiters = append(p.waiters, w)
	p.mu.Unlock()
}

// leave takes a waiter out of the queue and lets the next one try.
func (p *partition) leave(w *waiter) {
	p.mu.Lock()
	if i := slices.Index(p.waiters, w); i >= 0 {
		p.waiters = slices.Delete(p.waiters, i, i+1)
	}
	if len(p.waiters) > 0 {
		p.waiters[0].signal()
	}
	p.mu.Unlock()
}

// answered takes in a broker's answer to a batch, before sarama does.
func (p *partition) answered(a batchAnswer) {
	if a.code == 0 {
		return
	}
	if ambiguous(a.code) {
		p.doubts.Add(1)
	}
	p.mu.Lock()
	p.answer = a
	p.mu.Unlock()
}

// rejectionFor gives what the broker said about the next record that sarama gives back with a code. sarama gives back the
// records of a batch in their order, and a partition has one batch on its way at a time.
func (p *partition) rejectionFor(code int16, size int64) rejection {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.answer.code == 0 || p.answer.code != code {
		return rejection{}
	}
	place := p.answer.taken
	p.answer.taken++
	r := rejection{known: true, message: p.answer.message}
	if size <= p.answer.split {
		r.innocent = true
		return r
	}
	if len(p.answer.faulty) == 0 {
		return r
	}
	i := slices.Index(p.answer.faulty, place)
	if i < 0 {
		return rejection{known: true, innocent: true}
	}
	if text := p.answer.records[i]; text != "" {
		r.message = text
	}
	return r
}

// expired reports whether the oldest record is past its deadline: there is no sense in trying its batch again, the client
// has been told that the outcome is unknown.
func (p *partition) expired(now int64, timeout time.Duration) bool {
	since := p.since.Load()
	return since != 0 && now-since > int64(timeout)
}

// topic is what the producer keeps of one topic.
type topic struct {
	name       string
	partitions atomic.Pointer[[]*partition] // only ever grows

	mu     sync.Mutex
	sticky int32 // where records without a key go now
	stuck  int64 // bytes that went there

	rules ruleBook
}

// stickiness is how many bytes of records without a key go to one partition before the next one's turn: enough for batches
// that are worth a request, little enough to spread evenly.
const stickiness = 64 << 10

func newTopic(name string) *topic {
	t := &topic{name: name, sticky: -1}
	t.partitions.Store(new([]*partition))
	return t
}

// partition gives the state of a partition, which exists in the cluster.
func (t *topic) partition(id int32) *partition {
	list := *t.partitions.Load()
	if int(id) < len(list) {
		return list[id]
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	list = *t.partitions.Load()
	if int(id) < len(list) {
		return list[id]
	}
	grown := slices.Clone(list) // a variable of its own: only here does one go to the heap
	for len(grown) <= int(id) {
		grown = append(grown, &partition{id: int32(len(grown))})
	}
	t.partitions.Store(&grown)
	return grown[id]
}

// choose picks the partition of a record without a key: the one of the record before, until it has had its share, and never
// one that has no leader, no room or no answers, as long as there is another.
func (t *topic) choose(size, now int64, metadata *kafka.Topic, l *limits) int32 {
	count := int32(len(metadata.Partitions))
	t.partition(count - 1)
	limit := t.batchLimit(l.bytes)
	list := *t.partitions.Load()
	usable := func(id int32) bool {
		p := list[id]
		if metadata.Partitions[id].Leader < 0 {
			return false
		}
		if since := p.since.Load(); since != 0 && now-since > l.stall/10 {
			return false
		}
		records := p.records.Load()
		return records < l.records && (records == 0 || p.bytes.Load()+size <= limit)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sticky < 0 {
		t.sticky = rand.Int32N(count)
	}
	if t.sticky < count && t.stuck+size <= stickiness && usable(t.sticky) {
		t.stuck += size
		return t.sticky
	}
	next := (t.sticky + 1) % count
	for i := range count {
		if id := (next + i) % count; usable(id) {
			next = id
			break
		}
	}
	t.sticky, t.stuck = next, size
	return next
}
