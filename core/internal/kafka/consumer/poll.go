package consumer

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/record"
)

// State says why an answer holds no records.
type State string

// The states. The empty one is an answer with records, or one whose wait was over before anything could be said.
const (
	Rebalancing  State = "rebalancing"   // the group has not settled yet
	NoPartitions State = "no-partitions" // there are more members than partitions, or the topics do not exist
	AtEnd        State = "at-end"        // everything that was written has been delivered, of every partition that the instance has
)

// PollOptions shape one read.
type PollOptions struct {
	// Wait is the longest that the read may take.
	Wait time.Duration
	// MinBytes is the instance's, or what the read asks for instead.
	MinBytes int
	// MaxBytes bounds keys and values together: a record that would reach it is left for the next read. The first record of an answer
	// comes whatever its size. 0: consume.request_max_bytes.
	MaxBytes int
	// Ack is nil for a read without acknowledgement; otherwise the last token that the client has in full, "" for none yet.
	Ack *string
	// Decodable, if not nil, is asked of every record before it is taken. At an error the answer ends before that record, or is the error if
	// the record is the first; the position stays there until someone seeks. It is asked of what is given again, too.
	Decodable func(topic string, partition int32, r *record.Stored) error
	// Stop, if not nil, ends the wait early when it is closed: with what there is.
	Stop <-chan struct{}
}

// Batch is the answer to one read. Done must be called exactly once.
type Batch struct {
	// Ranges are the records in the order of delivery, no partition twice.
	Ranges []record.Range
	// State says why there are no records.
	State State
	// Token acknowledges this answer when the next read carries it; empty without Ack, and when there are no records.
	Token string
	// Again says that these ranges were delivered before and not acknowledged. They may be less than then, if the time or the room of the
	// read, or a record that cannot be decoded, ended it: then Token is another one, and the rest comes after it.
	Again bool
	// Missing are offsets that were in the answer before and are not in this one, because retention or compaction took them in between.
	// There are at most 32 ranges, and they fit into a header of 2 KiB: what would be more is one range for each partition, which covers
	// all that is missing there, and More is how many partitions do not fit even so.
	Missing []record.Range
	More    int

	once sync.Once
	done func(delivered bool)
}

// Done ends a read: the batch's memory is given back, and the next read has its turn. delivered says whether the answer was written to
// its end; if not, and the read had no Ack, the next read gives the same records again.
func (b *Batch) Done(delivered bool) {
	b.once.Do(func() {
		if b.done != nil {
			b.done(delivered)
		}
	})
}

const (
	// grace is how much longer than its wait a read may wait for brokers. With it everything else has to fit into half a second.
	grace = 350 * time.Millisecond
	// unreachableLongest is how long a coordinator or the brokers may not be reached before a read that has nothing says so, and
	// silentLongest how long they may say nothing: a busy one is slow now and then.
	unreachableLongest, silentLongest = time.Second, 3 * time.Second
	// gatherPause is the pause of a read that has not got enough: it would otherwise fetch record by record.
	gatherPause = 50 * time.Millisecond
)

// Poll reads. Reads of one instance take turns, each within its own Wait; one that does not get its turn is empty. Ending ctx ends the
// read and loses nothing. It returns within half a second after Wait, whatever brokers do.
//
// An Ack of "" stands for the last token that came back: a client that knows nothing is given what was not acknowledged.
//
// Errors: IllegalState when the instance is neither subscribed nor assigned, when Ack is a token of this instance but neither the outstanding
// one nor the one before it, and when a partition of the outstanding answer was revoked; InvalidRequest when Ack is no token of this instance;
// PermissionDenied when the group or a topic is not the gateway's to read; InstanceNotFound when it was deleted meanwhile; Overloaded,
// BrokerNotAvailable, and what Kafka answers. What has kept the group from being joined, or all partitions from being read, for three
// seconds is the error of a read that has nothing; what keeps only some partitions is so once in ten seconds.
func (i *Instance) Poll(ctx context.Context, options PollOptions) (*Batch, error) {
	ended := i.call()
	i.consumers.polls.Add(1)
	finish := func() {
		i.consumers.polls.Add(-1)
		ended()
	}
	if options.MaxBytes <= 0 {
		options.MaxBytes = i.consumers.settings.RequestMaxBytes
	}
	r := &reading{i: i, options: options, deadline: time.Now().Add(max(0, options.Wait))}
	r.ctx, r.cancel = context.WithDeadline(ctx, r.deadline.Add(grace))
	got, err := r.takeTurn(ctx)
	if !got {
		r.cancel()
		finish()
		if err != nil {
			return nil, err
		}
		return &Batch{}, nil
	}
	batch, err := r.run(ctx)
	r.cancel()
	if err != nil {
		r.release()
		<-i.turn
		finish()
		return nil, err
	}
	unwritten := make(chan struct{})
	i.mu.Lock()
	i.unwritten = unwritten
	i.mu.Unlock()
	batch.done = func(delivered bool) {
		r.release()
		i.mu.Lock()
		if delivered && options.Ack == nil {
			i.moveLocked(r.taken)
		}
		i.unwritten = nil
		close(unwritten)
		i.mu.Unlock()
		<-i.turn
		finish()
	}
	return batch, nil
}

// reading is one Poll while it has its turn.
type reading struct {
	i        *Instance
	options  PollOptions
	deadline time.Time
	ctx      context.Context // ends grace after the deadline
	cancel   context.CancelFunc

	taken    []taken // in the order of delivery
	bytes    int
	records  int
	full     bool  // the next record belongs to the next answer
	refusal  error // why full, if it is a record that cannot be decoded
	asked    bool  // whether it may see its topics
	releases []func()
	last     *partition // that gave records last
	state    State
	failed   error // what went wrong last that another attempt may overcome
	silent   bool  // no broker had anything to say
	unread   int   // partitions that are held and cannot be asked
	idle     bool  // those that can be asked are at their ends
}

func (r *reading) release() {
	for _, release := range r.releases {
		release()
	}
	r.releases = nil
}

// takeTurn waits until no other read is open.
func (r *reading) takeTurn(ctx context.Context) (got bool, err error) {
	timer := time.NewTimer(time.Until(r.deadline))
	defer timer.Stop()
	select {
	case r.i.turn <- struct{}{}:
		return true, nil
	default:
	}
	select {
	case r.i.turn <- struct{}{}:
		return true, nil
	case <-timer.C:
		return false, nil
	case <-r.options.Stop:
		return false, nil
	case <-r.i.gone:
		r.i.mu.Lock()
		defer r.i.mu.Unlock()
		return false, r.i.ended
	case <-ctx.Done():
		return false, fault.From(ctx.Err())
	}
}

// run takes the acknowledgement and reads.
func (r *reading) run(ctx context.Context) (*Batch, error) {
	i := r.i
	i.mu.Lock()
	if i.ended != nil {
		i.mu.Unlock()
		return nil, i.ended
	}
	again, err := i.ackLocked(r.options.Ack)
	i.mu.Unlock()
	if err != nil {
		return nil, err
	}
	i.commitSometimes()
	if again != nil {
		return r.repeat(ctx, again)
	}
	return r.gather(ctx)
}

// gather fetches from the positions until there is enough or the time is over.
func (r *reading) gather(ctx context.Context) (*Batch, error) {
	for {
		v, err := r.look()
		if err != nil {
			if r.records > 0 {
				break
			}
			return nil, err
		}
		if r.state == NoPartitions && r.records == 0 && !r.asked {
			r.asked = true
			if err := r.denied(); err != nil {
				return nil, err
			}
		}
		if len(v.partitions) > 0 {
			if err := r.fetch(v); err != nil {
				if r.records > 0 {
					break
				}
				return nil, err
			}
		}
		if ctx.Err() != nil {
			return nil, fault.From(ctx.Err())
		}
		if r.full || r.enough() || !v.settled && r.records > 0 {
			break // what a member has while its group rebalances is given before it may be another's
		}
		if !r.wait(v) {
			break
		}
	}
	if r.refusal != nil && r.records == 0 {
		return nil, r.refusal
	}
	return r.answer()
}

// enough reports whether what was taken ends the read.
func (r *reading) enough() bool {
	minimum := r.options.MinBytes
	return r.records > 0 && minimum >= 0 && (minimum <= 1 || r.bytes > minimum)
}

// wait waits for a change, or for the pause that a view asks for. It is false when the time is over.
func (r *reading) wait(v view) bool {
	left := time.Until(r.deadline)
	if left <= 0 || r.stopped() {
		return false
	}
	if len(v.partitions) > 0 {
		switch {
		case r.failed != nil:
			v.pause = retryPause
		case r.records > 0 && r.idle:
			v.pause = gatherPause
		default:
			return r.ctx.Err() == nil // the fetch has waited
		}
	}
	pause := left
	if v.pause > 0 {
		pause = min(pause, v.pause)
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-v.changed:
	case <-timer.C:
	case <-r.options.Stop:
		return false
	case <-r.ctx.Done():
		return false
	}
	return time.Until(r.deadline) > 0
}

// answer makes the batch of what was taken.
func (r *reading) answer() (*Batch, error) {
	i := r.i
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.ended != nil {
		return nil, i.ended
	}
	r.dropLocked()
	b := &Batch{State: r.state}
	if len(r.taken) == 0 {
		r.release()
		if err := r.silenceLocked(); err != nil {
			return nil, err
		}
		return b, nil
	}
	b.State = ""
	for n := range r.taken {
		t := &r.taken[n]
		b.Ranges = append(b.Ranges, record.Range{TopicPartition: t.p.TopicPartition, Start: t.start, End: t.end, Records: t.records})
	}
	if r.last != nil {
		sorted := i.sortedLocked()
		i.rotation = slices.Index(sorted, r.last) + 1
	}
	if r.options.Ack != nil {
		kept := slices.Clone(r.taken)
		room := runBytes
		for n := range kept {
			kept[n].keep(room)
			room -= len(kept[n].runs)
		}
		b.Token = i.tokenLocked(kept)
		i.acks.last, i.acks.outstanding = b.Token, &outstanding{token: b.Token, taken: kept}
	}
	return b, nil
}
