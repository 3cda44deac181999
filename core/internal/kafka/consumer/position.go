package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka/reader"
	"github.com/weir-gateway/weir/core/internal/record"
)

const (
	resolveTries   = 20 // of one go at finding positions; the next read begins another
	resolveLongest = 15 * time.Second
	policyLongest  = time.Second            // for committing what the reset policy decided
	resolveAgain   = 500 * time.Millisecond // after which a refusal is asked about again
)

// resolveLocked begins to find the positions that are not known, unless that is under way or there are none.
func (i *Instance) resolveLocked() {
	if i.resolving || i.ended != nil || len(i.unresolvedLocked()) == 0 {
		return
	}
	i.resolving = i.consumers.run(i.resolve)
}

func (i *Instance) unresolvedLocked() []*partition {
	var all []*partition
	for _, p := range i.sortedLocked() {
		if p.position < 0 && p.err == nil {
			all = append(all, p)
		}
	}
	return all
}

// resolve finds positions: the committed one, or for partitions without the one of the reset policy. For new members that fixes
// where "latest" is as soon as they have their partitions.
func (i *Instance) resolve() {
	ctx, cancel := context.WithTimeout(i.consumers.ctx, resolveLongest)
	defer cancel()
	for try := 1; ; try++ {
		i.mu.Lock()
		wanted := i.unresolvedLocked()
		if len(wanted) == 0 || i.ended != nil || try > resolveTries || ctx.Err() != nil {
			i.resolving = false
			i.changedLocked()
			i.mu.Unlock()
			return
		}
		epochs := make([]int, len(wanted))
		var questions []record.TopicPartition
		for n, p := range wanted {
			epochs[n] = p.epoch
			if !p.reset {
				questions = append(questions, p.TopicPartition)
			}
		}
		i.mu.Unlock()
		began := time.Now()
		if err := i.resolveThese(ctx, wanted, epochs, questions); err != nil {
			i.mu.Lock()
			for n, p := range wanted {
				if i.heldLocked(p) && p.epoch == epochs[n] && p.position < 0 && p.err == nil {
					i.troubleLocked(p, err, began)
				}
			}
			i.mu.Unlock()
			i.consumers.logger.Debug("consumer instance does not know its positions yet", "group", i.key.Group, "instance", i.key.Name, "error", err)
			select {
			case <-i.gone:
			case <-time.After(min(retryPause<<min(try, 4), time.Second)): // at most a second longer than the instance
			}
		}
	}
}

// resolveThese makes one attempt. An error means that some are still not known.
func (i *Instance) resolveThese(ctx context.Context, wanted []*partition, epochs []int, questions []record.TopicPartition) error {
	short, cancel := context.WithTimeout(ctx, resolveLongest/3)
	defer cancel()
	committed := map[record.TopicPartition]int64{}
	if len(questions) > 0 {
		found, err := i.consumers.groups.committed(short, i.key.Group, questions, i.options.Committed)
		if err != nil {
			return i.refused(wanted, epochs, err)
		}
		for _, f := range found {
			committed[f.TopicPartition] = f.Offset
		}
	}
	var lookups []reader.At
	var asked []int
	i.mu.Lock()
	for n, p := range wanted {
		if !i.heldLocked(p) || p.epoch != epochs[n] || p.position >= 0 {
			continue
		}
		if offset, ok := committed[p.TopicPartition]; ok && !p.reset {
			p.position, p.committed, p.end = offset, offset, max(p.end, offset)
			i.fineLocked(p)
			continue
		}
		at := reader.Latest
		switch i.options.AutoOffsetReset {
		case "earliest":
			at = reader.Earliest
		case "none":
			i.refuseLocked(p, undefined(p))
			continue
		}
		lookups, asked = append(lookups, reader.At{TopicPartition: p.TopicPartition, At: at}), append(asked, n)
	}
	i.mu.Unlock()
	if len(lookups) == 0 {
		return nil
	}
	offsets, err := i.consumers.source.Offsets(short, lookups, i.options.Committed)
	if err != nil {
		return i.refused(wanted, epochs, err)
	}
	policyKept := i.commitPolicy(ctx, wanted, epochs, asked, offsets)
	i.mu.Lock()
	defer i.mu.Unlock()
	if !policyKept {
		i.committed = time.Time{} // the next read tries again
	}
	var trouble error
	for k, n := range asked {
		p := wanted[n]
		if !i.heldLocked(p) || p.epoch != epochs[n] || p.position >= 0 {
			continue
		}
		if err := offsets[k].Err; err != nil {
			if absent(err) || !retriable(err) {
				i.refuseLocked(p, err)
			} else {
				trouble = err
			}
			continue
		}
		p.position, p.end, p.moved, p.reset = offsets[k].Offset, max(p.end, offsets[k].Offset), true, false
		i.fineLocked(p)
	}
	i.changedLocked()
	return trouble
}

// commitPolicy commits what the reset policy decided, before anything is read from there: whoever has the partition next must begin there
// too, not at what is the latest then. A failure is only in the log, and makes nobody wait for more than policyLongest.
func (i *Instance) commitPolicy(ctx context.Context, wanted []*partition, epochs, asked []int, offsets []reader.Offset) (done bool) {
	if !i.options.AutoCommit {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, policyLongest)
	defer cancel()
	return i.commitOnce(ctx, func() (membership, []Committed) {
		as, sure := i.identityLocked()
		var decided []Committed
		for k, n := range asked {
			if p := wanted[n]; sure && offsets[k].Err == nil && i.heldLocked(p) && p.epoch == epochs[n] && p.position < 0 {
				decided = append(decided, Committed{TopicPartition: p.TopicPartition, Offset: offsets[k].Offset})
			}
		}
		return as, decided
	})
}

// refused notes an error for the partitions that it is about, if trying again does not help.
func (i *Instance) refused(wanted []*partition, epochs []int, err error) error {
	if retriable(err) && !absent(err) {
		return err
	}
	var one *partitionError
	single := errors.As(err, &one)
	i.mu.Lock()
	defer i.mu.Unlock()
	for n, p := range wanted {
		if i.heldLocked(p) && p.epoch == epochs[n] && p.position < 0 && (!single || one.TopicPartition == p.TopicPartition) {
			i.refuseLocked(p, err)
		}
	}
	return err
}

// undefined is the error of the reset policy none, in the words of the Java client.
func undefined(p *partition) error {
	return fault.Wrap(fault.KafkaFailed, errUndefined, fmt.Sprintf("Undefined offset with no reset policy for partitions: [%s-%d]", p.Topic, p.Partition))
}

// absent reports whether an error says that there is no such partition. That is no failure of a read: it may come to be.
func absent(err error) bool {
	code := fault.From(err).Code
	return code == fault.UnknownTopic || code == fault.PartitionNotFound
}

// Target is where Seek moves a partition: to Offset, or with Lookup set to what the reader's At says (reader.Earliest, reader.Latest or a
// timestamp in milliseconds).
type Target struct {
	record.TopicPartition
	Offset int64
	Lookup bool
	At     int64
}

// Seek moves positions, in the order given; what of an outstanding answer is of those partitions is dropped. Nothing of what was before a
// position is given after Seek has returned. Where an offset is asked of the broker (At), a timestamp beyond the end means the end. Errors:
// InvalidRequest for a negative offset; IllegalState with the text "Illegal state: No current assignment for partition t-0" when the instance
// does not hold a partition. Then nothing was moved.
func (i *Instance) Seek(ctx context.Context, targets []Target) error {
	defer i.call()()
	ctx, cancel := context.WithTimeout(ctx, i.consumers.callLongest)
	defer cancel()
	for _, t := range targets {
		if !t.Lookup && t.Offset < 0 {
			return fault.Newf(fault.InvalidRequest, "Offset %d of %s-%d is negative.", t.Offset, t.Topic, t.Partition)
		}
	}
	i.mu.Lock()
	err := i.holdsLocked(ctx, targets)
	i.mu.Unlock()
	if err != nil {
		return err
	}
	offsets, err := i.lookUp(ctx, targets)
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.holdsLocked(ctx, targets); err != nil {
		return err
	}
	for n, t := range targets {
		p := i.partitions[t.TopicPartition]
		p.position, p.moved, p.reset, p.err = offsets[n], true, false, nil
		p.epoch++
		if t.Lookup {
			p.end = max(p.end, offsets[n])
		}
	}
	i.changedLocked()
	return nil
}

// holdsLocked is nil when the instance holds every target. While the group rebalances it waits, and has the mutex again when it returns.
func (i *Instance) holdsLocked(ctx context.Context, targets []Target) error {
	if err := i.awaitLocked(ctx, i.rejoiningLocked); err != nil {
		return err
	}
	for _, t := range targets {
		if i.partitions[t.TopicPartition] == nil {
			return notAssigned(t.TopicPartition)
		}
	}
	return nil
}

// lookUp gives the offsets that targets stand for.
func (i *Instance) lookUp(ctx context.Context, targets []Target) ([]int64, error) {
	offsets := make([]int64, len(targets))
	var open []int // targets to ask about
	for n, t := range targets {
		offsets[n] = t.Offset
		if t.Lookup {
			open = append(open, n)
		}
	}
	ask := func(which []int, at func(Target) int64) ([]reader.Offset, error) {
		questions := make([]reader.At, len(which))
		for k, n := range which {
			questions[k] = reader.At{TopicPartition: targets[n].TopicPartition, At: at(targets[n])}
		}
		var last error // what a broker, or the way to it, said
		for {
			answers, err := i.consumers.source.Offsets(ctx, questions, i.options.Committed)
			for _, a := range answers {
				if err == nil {
					err = a.Err
				}
			}
			if err != nil && ctx.Err() == nil {
				last = err
			}
			if err == nil || absent(err) || !retriable(err) || !pause(ctx, retryPause) {
				if err != nil && last != nil {
					err = last
				}
				return answers, err
			}
		}
	}
	if len(open) == 0 {
		return offsets, nil
	}
	answers, err := ask(open, func(t Target) int64 { return t.At })
	if err != nil {
		return nil, err
	}
	var late []int // no record is as late as was asked
	for k, n := range open {
		if offsets[n] = answers[k].Offset; offsets[n] < 0 {
			late = append(late, n)
		}
	}
	if len(late) == 0 {
		return offsets, nil
	}
	if answers, err = ask(late, func(Target) int64 { return reader.Latest }); err != nil {
		return nil, err
	}
	for k, n := range late {
		offsets[n] = answers[k].Offset
	}
	return offsets, nil
}
