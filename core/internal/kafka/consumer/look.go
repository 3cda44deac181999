package consumer

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/internal/fault"
)

// view is what a read can do at a moment.
type view struct {
	settled    bool            // it has its partitions, if there are any
	partitions []*partition    // to fetch, in turn
	changed    <-chan struct{} // closed when a look may show something else
	pause      time.Duration   // before the next look; 0: until something changes
}

// look makes sure that the instance is a member if it should be, and says what can be fetched. An error ends the read.
func (r *reading) look() (v view, err error) {
	i := r.i
	i.mu.Lock()
	defer i.mu.Unlock()
	r.dropLocked()
	v.changed = i.changed
	switch {
	case i.ended != nil:
		return v, i.ended
	case i.mode == unset:
		return v, illegal("Consumer is not subscribed to any topics or assigned any partitions")
	case i.mode != assigned:
		if i.member == nil {
			i.member = newMember(i)
			i.member.scheduleLocked(0)
		}
		m := i.member
		if err := m.failure; err != nil {
			m.failure = nil
			return v, err
		}
		if m.state == away {
			m.state, m.reason = joining, "a read"
			m.scheduleLocked(0)
		}
		if m.state != stable {
			r.state = Rebalancing
			if m.trouble != nil && time.Since(m.troubled) > unreachableLongest/2 {
				r.failed, r.silent = m.trouble, true
			}
			return v, nil
		}
		if r.silent {
			r.failed, r.silent = nil, false
		}
	}
	v.settled = true
	return v, r.lookLocked(&v)
}

// lookLocked sorts out which partitions can be fetched.
func (r *reading) lookLocked(v *view) error {
	i := r.i
	all := i.sortedLocked()
	pending, missing := 0, 0
	var refused []*partition
	for _, p := range all {
		if p.err != nil && time.Since(p.failed) > resolveAgain {
			p.err = nil
		}
		switch {
		case p.err != nil && absent(p.err):
			missing++
		case p.err != nil:
			refused = append(refused, p)
		case p.position < 0:
			pending++
		default:
			v.partitions = append(v.partitions, p)
		}
	}
	i.resolveLocked()
	if err := refusal(refused, len(v.partitions)+pending == 0); err != nil {
		for _, p := range refused {
			p.err = nil // the next read asks again
		}
		return err
	}
	r.state, r.unread = "", pending+missing+len(refused)
	switch {
	case len(v.partitions) == 0 && pending > 0 && i.mode != assigned:
		r.state = Rebalancing
	case len(v.partitions) == 0 && pending == 0:
		r.state = NoPartitions
	}
	if missing+len(refused) > 0 {
		v.pause = resolveAgain
	}
	if len(v.partitions) > 1 {
		start := i.rotation
		if r.last != nil {
			start = slices.Index(v.partitions, r.last) + 1
		}
		start %= len(v.partitions)
		v.partitions = append(slices.Clone(v.partitions[start:]), v.partitions[:start]...)
	}
	return nil
}

// errUndefined marks the errors of partitions for which there is no position and no policy to find one.
var errUndefined = errors.New("there is no reset policy")

// errSlow is what went wrong when brokers have only just begun to say nothing: no error of a read.
var errSlow = errors.New("the brokers did not answer yet")

// refusal is the error of a read whose partitions were refused, if all were, or if it is one that a client must know of in any case.
func refusal(refused []*partition, all bool) error {
	var err error
	var denied []string
	for _, p := range refused {
		if errors.Is(p.err, errUndefined) {
			return p.err
		}
		if codeOf(p.err) == sarama.ErrTopicAuthorizationFailed {
			denied = append(denied, p.Topic)
		}
		err = p.err
	}
	switch {
	case !all || err == nil:
		return nil
	case len(denied) == len(refused):
		return fault.Wrap(fault.PermissionDenied, err, "Not authorized to access topics: ["+strings.Join(slices.Compact(denied), ", ")+"]")
	}
	return err
}

// denied is the error of a read that has no partitions because the topics are not the gateway's to see.
func (r *reading) denied() error {
	r.i.mu.Lock()
	topics := slices.Clone(r.i.topics)
	r.i.mu.Unlock()
	for _, topic := range topics {
		if err := r.i.consumers.catalog.denied(r.ctx, topic); err != nil {
			return err
		}
	}
	return nil
}

// dropLocked drops what was taken of partitions that are not the instance's any more, or that were sought meanwhile.
func (r *reading) dropLocked() {
	r.taken = slices.DeleteFunc(r.taken, func(t taken) bool {
		if r.i.heldLocked(t.p) && t.p.epoch == t.epoch {
			return false
		}
		r.records -= len(t.records)
		for n := range t.records {
			r.bytes -= t.records[n].Size()
		}
		return true
	})
}

// of is what was taken of a partition, or nil.
func (r *reading) of(p *partition) *taken {
	for n := range r.taken {
		if r.taken[n].p == p {
			return &r.taken[n]
		}
	}
	return nil
}
