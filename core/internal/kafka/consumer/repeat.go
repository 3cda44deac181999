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

// repeated is a range that is given again.
type repeated struct {
	taken
	next    int64 // where to go on
	records []record.Stored
}

func (a *repeated) complete() bool { return a.next >= a.end }

// repeat gives the outstanding answer again: the same ranges to their ends, or nothing yet.
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
				return nil, err
			}
			if !slices.ContainsFunc(ranges, func(a *repeated) bool { return !a.complete() }) {
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
			r.release()
			if err := r.silence(); err != nil {
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

// fetchAgain fetches once from where the ranges are not complete.
func (r *reading) fetchAgain(v view, ranges []*repeated) error {
	var open []*repeated
	var positions []record.Position
	for _, a := range ranges {
		if !a.complete() {
			open = append(open, a)
			positions = append(positions, record.Position{Topic: a.p.Topic, Partition: a.p.Partition, Offset: a.next})
		}
	}
	if len(open) == 0 {
		return nil
	}
	results, release, err := r.ask(v, positions, time.Until(r.deadline), r.i.consumers.settings.FetchBytes)
	if err != nil || results == nil {
		return err
	}
	r.releases = append(r.releases, release)
	r.failed, r.silent = nil, true
	for n, a := range open {
		result := &results[n]
		if result.Err == nil {
			r.silent = false
			a.take(result)
			continue
		}
		err := fault.From(result.Err)
		switch {
		case err.Code == fault.OffsetOutOfRange && result.LogStart > a.next:
			a.next = min(result.LogStart, a.end) // retention took what was there
		case err.Code == fault.OffsetOutOfRange && result.LogStart >= 0 && result.Readable >= 0:
			a.next = a.end // the log was cut off: a broker lost its end
		case retriable(err) || absent(err):
			r.failed = err
		default:
			return err
		}
	}
	return nil
}

// take takes the records that belong to the range.
func (a *repeated) take(result *reader.Result) {
	count := 0
	for count < len(result.Records) && result.Records[count].Offset < a.end {
		count++
	}
	if a.records == nil {
		a.records = slices.Clip(result.Records[:count])
	} else {
		a.records = append(a.records, result.Records[:count]...)
	}
	if a.next = result.End; count < len(result.Records) || a.next > a.end {
		a.next = a.end
	}
}

// answerAgain makes the batch.
func (r *reading) answerAgain(o *outstanding, ranges []*repeated) (*Batch, error) {
	r.i.mu.Lock()
	ended := r.i.ended
	r.i.mu.Unlock()
	if ended != nil {
		return nil, ended
	}
	b := &Batch{Token: o.token, Again: true}
	for _, a := range ranges {
		b.Missing = append(b.Missing, a.missing(a.records)...)
		if len(a.records) > 0 {
			b.Ranges = append(b.Ranges, record.Range{TopicPartition: a.p.TopicPartition, Start: a.start, End: a.end, Records: a.records})
		}
	}
	return b, nil
}
