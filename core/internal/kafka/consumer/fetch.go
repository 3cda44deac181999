package consumer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka/reader"
	"github.com/weir-gateway/weir/core/internal/record"
)

func (r *reading) stopped() bool {
	select {
	case <-r.options.Stop:
		return true
	default:
		return false
	}
}

// fetch fetches once and takes what belongs to the answer. An error is one that another attempt does not help.
func (r *reading) fetch(v view) error {
	i := r.i
	positions := make([]record.Position, len(v.partitions))
	epochs := make([]int, len(v.partitions))
	i.mu.Lock()
	for n, p := range v.partitions {
		offset := p.position
		if t := r.of(p); t != nil {
			offset = t.end
		}
		positions[n] = record.Position{Topic: p.Topic, Partition: p.Partition, Offset: offset}
		epochs[n] = p.epoch
	}
	i.mu.Unlock()
	wait := time.Until(r.deadline)
	if v.pause > 0 {
		wait = min(wait, 2*v.pause) // there may be more to fetch then
	}
	results, release, err := r.ask(v, positions, wait, min(r.options.MaxBytes-r.bytes, i.consumers.settings.FetchBytes))
	if err != nil || results == nil {
		return err
	}
	before := r.records
	r.take(v.partitions, epochs, results)
	if r.records > before {
		r.releases = append(r.releases, release)
	} else {
		release()
	}
	return nil
}

// ask fetches until the time is over, something changes, the read is told to stop, or there is an answer. It gives nothing when there
// is none, and then release need not be called.
func (r *reading) ask(v view, positions []record.Position, wait time.Duration, maxBytes int) (results []reader.Result, release func(), err error) {
	i := r.i
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	i.mu.Lock()
	if i.changed != v.changed {
		i.mu.Unlock()
		return nil, nil, nil
	}
	i.interrupt = cancel
	i.mu.Unlock()
	began := time.Now()
	over := make(chan struct{})
	if r.options.Stop != nil {
		go func() { // ends with the fetch
			select {
			case <-r.options.Stop:
				cancel()
			case <-over:
			}
		}()
	}
	results, release, err = i.consumers.source.Fetch(ctx, positions, reader.Options{
		Wait: max(0, wait), MinBytes: 1, MaxBytes: max(1, maxBytes), Committed: i.options.Committed,
	})
	close(over)
	i.mu.Lock()
	i.interrupt = nil
	i.mu.Unlock()
	if err == nil {
		return results, release, nil
	}
	release()
	longest := unreachableLongest
	switch code := fault.From(err).Code; {
	case ctx.Err() != nil && r.ctx.Err() == nil:
		return nil, nil, nil // something has changed, or it is to stop
	case r.ctx.Err() != nil:
		err, longest = fault.Wrap(fault.BrokerNotAvailable, err, "The broker is not available: it did not answer in time."), silentLongest
	case !retriable(err), code == fault.Overloaded:
		return nil, nil, err
	}
	i.mu.Lock()
	if i.silent.IsZero() {
		i.silent = began
	}
	if time.Since(i.silent) > longest {
		r.failed = err
	} else {
		r.failed = errSlow // a broker may be slow now and then
	}
	r.silent = true
	i.mu.Unlock()
	return nil, nil, nil
}

// take takes records in order until the answer is full, and notes what the results say of the partitions.
func (r *reading) take(partitions []*partition, epochs []int, results []reader.Result) {
	i := r.i
	r.failed, r.silent = nil, true
	atEnd := true
	for n := range results {
		result, p := &results[n], partitions[n]
		if result.Err != nil {
			atEnd = false
			r.note(p, epochs[n], result)
			continue
		}
		r.silent = false
		atEnd = atEnd && result.AtEnd()
		if !r.full {
			r.takeFrom(p, epochs[n], result)
		}
		i.mu.Lock()
		i.fineLocked(p)
		p.end = max(p.end, result.End, result.HighWatermark)
		i.mu.Unlock()
	}
	if !r.silent {
		i.mu.Lock()
		i.silent = time.Time{}
		i.mu.Unlock()
	}
	r.state, r.idle = "", atEnd && !r.full
	if r.idle && r.unread == 0 {
		r.state = AtEnd
	}
}

// takeFrom takes the records of one partition.
func (r *reading) takeFrom(p *partition, epoch int, result *reader.Result) {
	count, end := 0, result.End
	for n := range result.Records {
		stored := &result.Records[n]
		if r.records > 0 && r.bytes+stored.Size() >= r.options.MaxBytes {
			r.full, end = true, stored.Offset
			break
		}
		if r.options.Decodable != nil {
			if err := r.options.Decodable(p.Topic, p.Partition, stored); err != nil {
				r.full, r.refusal, end = true, err, stored.Offset
				break
			}
		}
		r.bytes += stored.Size()
		r.records++
		count++
	}
	t := r.of(p)
	switch {
	case t != nil:
		t.records, t.end = append(t.records, result.Records[:count]...), end
	case count > 0:
		r.taken = append(r.taken, taken{p: p, epoch: epoch, start: result.Start, end: end, records: slices.Clip(result.Records[:count])})
	case end > result.Start:
		// Nothing there is to be read: the position is moved over it at once.
		r.i.mu.Lock()
		if r.i.heldLocked(p) && p.epoch == epoch && p.position == result.Start {
			p.position, p.moved = end, true
		}
		r.i.mu.Unlock()
	}
	if count > 0 {
		r.last = p
	}
}

// note takes note of why a partition gave nothing.
func (r *reading) note(p *partition, epoch int, result *reader.Result) {
	i := r.i
	i.mu.Lock()
	defer i.mu.Unlock()
	passing := retriable(result.Err) && !absent(result.Err)
	if passing {
		r.failed = result.Err
	}
	switch {
	case !i.heldLocked(p) || p.epoch != epoch:
	case passing:
		i.troubleLocked(p, result.Err, time.Now())
	case fault.From(result.Err).Code != fault.OffsetOutOfRange:
		i.refuseLocked(p, result.Err)
	case r.of(p) != nil:
		r.failed = result.Err // what was taken is given first
	default:
		i.consumers.logger.Info("the position of a consumer instance is not in the log any more", "group", i.key.Group, "instance", i.key.Name,
			"topic", p.Topic, "partition", p.Partition, "position", p.position, "log_start", result.LogStart, "end", result.Readable,
			"reset", i.options.AutoOffsetReset)
		if i.options.AutoOffsetReset == "none" {
			i.refuseLocked(p, fault.Wrap(fault.KafkaFailed, errUndefined, fmt.Sprintf("Fetch position %d is out of range for partition %s-%d, which has %d to %d.",
				p.position, p.Topic, p.Partition, result.LogStart, result.Readable)))
			return
		}
		p.position, p.reset = -1, true
		p.epoch++
		i.resolveLocked()
	}
}
