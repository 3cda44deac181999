package consumer

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka/reader"
	"github.com/weir-gateway/weir/core/internal/record"
)

// heldLongest is how long a read that holds a part of its answer waits for room for the rest: others may wait for what it holds.
const heldLongest = time.Second

// recordOverhead is about how many bytes a record takes in a log beside its key and value.
const recordOverhead = 64

// repeated is a range that is given again.
type repeated struct {
	taken
	next    int64 // where to go on
	records []record.Stored
	got     int   // bytes of their keys and values
	lost    []run // what the log does not have any more
	refusal error // of the record at next, which cannot be decoded
}

func (a *repeated) over() bool { return a.next >= a.end || a.refusal != nil }

// begun reports whether there is a part to give.
func begun(ranges []*repeated) bool {
	return slices.ContainsFunc(ranges, func(a *repeated) bool { return a.next > a.start })
}

// repeat gives the outstanding answer again: the same ranges to their ends, or as much of them as there is time and room for.
func (r *reading) repeat(ctx context.Context, o *outstanding) (*Batch, error) {
	ranges := make([]*repeated, 0, len(o.taken))
	for _, t := range o.taken {
		ranges = append(ranges, &repeated{taken: t, next: t.start})
	}
	for {
		v, err := r.look()
		if err != nil {
			return nil, err
		}
		if v.settled {
			if ranges, err = r.outstanding(o, ranges); err != nil {
				return nil, err
			}
			if len(ranges) == 0 {
				r.release()
				return r.gather(ctx)
			}
			if err := r.fetchAgain(v, ranges); err != nil {
				if ctx.Err() == nil && begun(ranges) {
					return r.answerAgain(o, ranges)
				}
				return nil, err
			}
			if !slices.ContainsFunc(ranges, func(a *repeated) bool { return !a.over() }) {
				return r.answerAgain(o, ranges)
			}
		}
		if ctx.Err() != nil {
			return nil, fault.From(ctx.Err())
		}
		v.pause = retryPause
		if v.settled && r.failed == nil && time.Until(r.deadline) > 0 && !r.stopped() {
			continue // the rest did not fit into one fetch
		}
		if !r.wait(v) {
			if begun(ranges) {
				return r.answerAgain(o, ranges)
			}
			r.release()
			r.i.mu.Lock()
			err := r.silenceLocked()
			r.i.mu.Unlock()
			if err != nil {
				return nil, err
			}
			return &Batch{State: r.state}, nil
		}
	}
}

// outstanding gives those of ranges that still are to be given again: what was sought since is not. When the group took one away the
// whole answer is given up.
func (r *reading) outstanding(o *outstanding, ranges []*repeated) ([]*repeated, error) {
	i := r.i
	i.mu.Lock()
	defer i.mu.Unlock()
	var revoked []string
	still := ranges[:0]
	for _, a := range ranges {
		switch {
		case i.heldLocked(a.p) && a.p.epoch == a.epoch:
			still = append(still, a)
		case !i.heldLocked(a.p) && i.mode != assigned:
			revoked = append(revoked, a.p.Topic+"-"+strconv.Itoa(int(a.p.Partition)))
		}
	}
	if i.acks.outstanding == o && (len(revoked) > 0 || len(still) == 0) {
		i.acks.outstanding = nil
	}
	if len(revoked) > 0 {
		slices.Sort(revoked)
		return nil, illegal("The answer that was not acknowledged cannot be given again: partitions [%s] were taken from the instance by a rebalance, "+
			"and their records are given to whoever owns them now. Read on with the same ack.", strings.Join(revoked, ", "))
	}
	return still, nil
}

// fetchAgain fetches once from where the ranges are not over, no more than what is left of them.
func (r *reading) fetchAgain(v view, ranges []*repeated) error {
	var open []*repeated
	var positions []record.Position
	left := 0
	for _, a := range ranges {
		if !a.over() {
			open = append(open, a)
			positions = append(positions, record.Position{Topic: a.p.Topic, Partition: a.p.Partition, Offset: a.next})
			left += max(0, a.bytes-a.got) + max(1, a.count-len(a.records))*recordOverhead
		}
	}
	if len(open) == 0 {
		return nil
	}
	wait := time.Until(r.deadline)
	if len(r.releases) > 0 {
		wait = min(wait, heldLongest)
	}
	results, release, err := r.ask(v, positions, wait, min(left, r.i.consumers.settings.FetchBytes))
	if err != nil || results == nil {
		return err
	}
	r.releases = append(r.releases, release)
	r.failed, r.silent = nil, true
	var final error
	for n, a := range open {
		result := &results[n]
		if result.Err == nil {
			r.silent = false
			a.take(result, r.options.Decodable)
			continue
		}
		err := fault.From(result.Err)
		switch {
		case err.Code == fault.OffsetOutOfRange && result.LogStart > a.next:
			a.lose(result.LogStart) // retention took what was there
		case err.Code == fault.OffsetOutOfRange && result.Readable >= 0 && a.next > result.Readable:
			a.lose(a.end) // the log was cut off: a broker lost its end
		case err.Code == fault.OffsetOutOfRange, retriable(err), absent(err):
			r.failed = err
		default:
			final = err // of this partition; the others have their part
		}
	}
	return final
}

// lose goes on behind what the log has no more.
func (a *repeated) lose(to int64) {
	to = min(to, a.end)
	a.lost = append(a.lost, run{a.next, to})
	a.next = to
}

// take takes the records that belong to the range, up to one that cannot be decoded.
func (a *repeated) take(result *reader.Result, decodable func(string, int32, *record.Stored) error) {
	count, end := 0, result.End
	for ; count < len(result.Records); count++ {
		stored := &result.Records[count]
		if end = stored.Offset; end >= a.end {
			break
		}
		if decodable != nil {
			if a.refusal = decodable(a.p.Topic, a.p.Partition, stored); a.refusal != nil {
				break
			}
		}
		a.got += stored.Size()
		end = result.End
	}
	if a.records == nil {
		a.records = slices.Clip(result.Records[:count])
	} else {
		a.records = append(a.records, result.Records[:count]...)
	}
	a.next = min(end, a.end)
}

// answerAgain makes the batch of what there is. When that is less than before it is another answer, with a token of its own: what is left
// out is read from the positions, which have not moved.
func (r *reading) answerAgain(o *outstanding, ranges []*repeated) (*Batch, error) {
	ranges, err := r.outstanding(o, ranges)
	if err != nil {
		return nil, err
	}
	r.i.mu.Lock()
	defer r.i.mu.Unlock()
	if r.i.ended != nil {
		return nil, r.i.ended
	}
	b := &Batch{Token: o.token, Again: true}
	var missing []record.Range
	var kept []taken
	var refusal error
	less := false
	for _, a := range ranges {
		less = less || a.next < a.end
		if refusal == nil {
			refusal = a.refusal
		}
		if a.next == a.start {
			continue
		}
		missing = append(missing, a.missing()...)
		if len(a.records) > 0 {
			b.Ranges = append(b.Ranges, record.Range{TopicPartition: a.p.TopicPartition, Start: a.start, End: a.next, Records: a.records})
		}
		t := a.taken
		if a.next < a.end {
			t.end, t.count, t.bytes = a.next, len(a.records), a.got
		}
		kept = append(kept, t)
	}
	b.Missing, b.More = bounded(missing)
	switch {
	case len(kept) == 0 && refusal != nil:
		return nil, refusal
	case len(kept) == 0: // what there was has been sought since
		r.release()
		return &Batch{State: r.state}, nil
	case less:
		b.Token = r.i.tokenLocked(kept)
		r.i.acks.last, r.i.acks.outstanding = b.Token, o.cut(b.Token, kept)
	}
	return b, nil
}
