package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka/reader"
	"github.com/weir-gateway/weir/core/internal/record"
)

// State says why an answer holds no records.
type State string

// The states. The empty one is an answer with records, or one whose wait was over before anything could be said.
const (
	Rebalancing  State = "rebalancing"   // the group has not settled yet
	NoPartitions State = "no-partitions" // there are more members than partitions, or the topics do not exist
	AtEnd        State = "at-end"        // everything that was written has been delivered
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
	// the record is the first; the position stays there until someone seeks. It is not asked again of what is given again.
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
	// Again says that these ranges were delivered before and not acknowledged.
	Again bool
	// Missing are offsets that were in the answer before and are not in this one, because retention or compaction took them in between.
	// Of an answer with more than 64 gaps in a partition it is only known where they may be.
	Missing []record.Range

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
	// troubleLongest is how long brokers may say nothing before a read that has nothing says so.
	troubleLongest = time.Second
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
// BrokerNotAvailable, and what Kafka answers.
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
			if m.trouble != nil && time.Since(m.troubled) > troubleLongest/2 {
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
	r.state = ""
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
		case r.records > 0 && r.state == AtEnd:
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
	switch code := fault.From(err).Code; {
	case ctx.Err() != nil && r.ctx.Err() == nil:
		return nil, nil, nil // something has changed, or it is to stop
	case r.ctx.Err() != nil:
		err = fault.Wrap(fault.BrokerNotAvailable, err, "The broker is not available: it did not answer in time.")
	case !retriable(err), code == fault.Overloaded:
		return nil, nil, err
	}
	i.mu.Lock()
	if i.silent.IsZero() {
		i.silent = began
	}
	if time.Since(i.silent) > troubleLongest {
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
		p.end = max(p.end, result.End, result.HighWatermark)
		i.mu.Unlock()
	}
	if !r.silent {
		i.mu.Lock()
		i.silent = time.Time{}
		i.mu.Unlock()
	}
	r.state = ""
	if atEnd && !r.full {
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
	if retriable(result.Err) && !absent(result.Err) {
		r.failed = result.Err
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case !i.heldLocked(p) || p.epoch != epoch:
	case fault.From(result.Err).Code != fault.OffsetOutOfRange:
		p.err, p.failed = result.Err, time.Now()
	case r.of(p) != nil:
		r.failed = result.Err // what was taken is given first
	default:
		i.consumers.logger.Info("the position of a consumer instance is not in the log any more", "group", i.key.Group, "instance", i.key.Name,
			"topic", p.Topic, "partition", p.Partition, "position", p.position, "log_start", result.LogStart, "end", result.Readable,
			"reset", i.options.AutoOffsetReset)
		if i.options.AutoOffsetReset == "none" {
			p.err, p.failed = fault.Wrap(fault.KafkaFailed, errUndefined, fmt.Sprintf("Fetch position %d is out of range for partition %s-%d, which has %d to %d.",
				p.position, p.Topic, p.Partition, result.LogStart, result.Readable)), time.Now()
			return
		}
		p.position, p.reset = -1, true
		p.epoch++
		i.resolveLocked()
	}
}

// silence is the error of a read that has nothing because no broker says anything, and has not for a while.
func (r *reading) silence() error {
	if r.silent && r.failed != nil && fault.From(r.failed).Code == fault.BrokerNotAvailable {
		return r.failed
	}
	return nil
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
		if err := r.silence(); err != nil {
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
		for n := range kept {
			t := &kept[n]
			t.count, t.runs, t.records = len(t.records), runsOf(t.records), nil
		}
		b.Token = i.tokenLocked(kept)
		i.acks.last, i.acks.outstanding = b.Token, &outstanding{token: b.Token, taken: kept}
	}
	return b, nil
}
