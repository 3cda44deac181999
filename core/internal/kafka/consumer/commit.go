package consumer

import (
	"context"
	"time"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka"
	"github.com/weir-gateway/weir/core/internal/kafka/reader"
	"github.com/weir-gateway/weir/core/internal/record"
)

// Committed is an offset that a group has committed: the next one to read.
type Committed struct {
	record.TopicPartition
	Offset   int64
	Metadata string
}

const (
	commitLongest = 5 * time.Second // a commit that nobody waits for
	retryPause    = 100 * time.Millisecond
)

// deliveredLocked gives the positions that are to be committed, and as whom. There are none while it is not sure that the partitions
// are the instance's: between a JoinGroup and the next assignment a coordinator takes commits for partitions that have a new owner.
func (i *Instance) deliveredLocked() (membership, []Committed) {
	as := membership{generation: -1}
	if i.mode != assigned {
		m := i.member
		if m == nil || m.held < 0 || m.as.generation != m.held {
			return as, nil
		}
		as = m.as
	}
	var offsets []Committed
	for _, p := range i.sortedLocked() {
		if p.moved && p.position >= 0 && p.position != p.committed {
			offsets = append(offsets, Committed{TopicPartition: p.TopicPartition, Offset: p.position})
		}
	}
	return as, offsets
}

// commitOnce commits by itself: without a second attempt, and with a failure only in the log.
func (i *Instance) commitOnce(ctx context.Context, as membership, offsets []Committed) {
	select {
	case i.committing <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-i.committing }()
	if err := i.consumers.groups.commit(ctx, i.key.Group, as, offsets); err != nil {
		i.consumers.logger.Info("consumer instance could not commit what it delivered; it is given again if the instance ends", "group", i.key.Group,
			"instance", i.key.Name, "error", err)
		return
	}
	i.mu.Lock()
	i.noteLocked(offsets)
	i.mu.Unlock()
}

// noteLocked remembers what is committed.
func (i *Instance) noteLocked(offsets []Committed) {
	for _, o := range offsets {
		if p := i.partitions[o.TopicPartition]; p != nil {
			p.committed = o.Offset
		}
	}
}

// commitSometimes commits by itself when it is time for it. The caller does not wait.
func (i *Instance) commitSometimes() {
	if !i.options.AutoCommit {
		return
	}
	i.mu.Lock()
	if time.Since(i.committed) < i.consumers.settings.AutoCommitInterval || len(i.committing) > 0 || i.member != nil && i.member.state != stable {
		i.mu.Unlock()
		return
	}
	as, offsets := i.deliveredLocked()
	if len(offsets) > 0 {
		i.committed = time.Now()
	}
	i.mu.Unlock()
	if len(offsets) == 0 {
		return
	}
	i.consumers.run(func() {
		ctx, cancel := context.WithTimeout(i.consumers.ctx, commitLongest)
		defer cancel()
		i.commitOnce(ctx, as, offsets)
	})
}

// Commit commits offsets for the group, exactly as given: the next offset to read. nil commits what was delivered. It waits for the
// coordinator's answer. Errors: IllegalState when a partition is not the instance's, or was taken from it by a rebalance; InvalidRequest for a
// negative offset or one beyond the partition's end; PermissionDenied; what the coordinator answers.
func (i *Instance) Commit(ctx context.Context, offsets []Committed) error {
	defer i.call()()
	ctx, cancel := context.WithTimeout(ctx, i.consumers.callLongest)
	defer cancel()
	for _, o := range offsets {
		if o.Offset < 0 {
			return fault.Newf(fault.InvalidRequest, "Offset %d of %s-%d is negative.", o.Offset, o.Topic, o.Partition)
		}
	}
	if offsets == nil {
		i.mu.Lock()
		unwritten := i.unwritten
		i.mu.Unlock()
		i.awaitWritten(unwritten)
	}
	select {
	case i.committing <- struct{}{}:
	case <-ctx.Done():
		return fault.From(ctx.Err())
	}
	defer func() { <-i.committing }()
	return i.commit(ctx, offsets)
}

func (i *Instance) commit(ctx context.Context, given []Committed) error {
	held := false // all partitions were once
	var wanted []Committed
	var failed error // why an attempt failed
	for {
		offsets := given
		i.mu.Lock()
		if err := i.settledLocked(ctx); err != nil {
			i.mu.Unlock()
			return err
		}
		as, delivered := i.deliveredLocked()
		if given == nil {
			offsets = delivered
		}
		var unsure []Committed
		for _, o := range offsets {
			p := i.partitions[o.TopicPartition]
			if p == nil {
				i.mu.Unlock()
				if held {
					return takenAway(o.TopicPartition)
				}
				return notAssigned(o.TopicPartition)
			}
			if o.Offset > p.end {
				unsure = append(unsure, o)
			}
		}
		changed := i.changed
		i.mu.Unlock()
		if held = true; wanted == nil {
			wanted = offsets
		}
		if len(offsets) == 0 {
			return i.missed(wanted, failed)
		}
		if err := i.checkEnds(ctx, unsure); err != nil {
			return err
		}
		err := i.consumers.groups.commit(ctx, i.key.Group, as, offsets)
		failed = err
		switch code := codeOf(err); {
		case err == nil:
			i.mu.Lock()
			i.noteLocked(offsets)
			i.mu.Unlock()
			return nil
		case code == sarama.ErrRebalanceInProgress, code == sarama.ErrIllegalGeneration, code == sarama.ErrUnknownMemberId:
			if as.generation < 0 {
				return illegal("The group has members, which commit for it: %s", fault.From(err).Message)
			}
			i.mu.Lock()
			if i.member != nil && i.member.as == as && i.member.state == stable {
				i.member.scheduleLocked(0) // the heartbeat hears it too
			}
			i.mu.Unlock()
			if !awaitChange(ctx, changed, max(retryPause, i.consumers.settings.HeartbeatInterval)) {
				return rebalancing(ctx.Err())
			}
		case absent(err) || !retriable(err) || !pause(ctx, retryPause):
			return err
		}
	}
}

// missed is nil when everything that was to be committed has been, by whomever. Otherwise it is why nothing is left to commit.
func (i *Instance) missed(wanted []Committed, failed error) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, o := range wanted {
		p := i.partitions[o.TopicPartition]
		if p == nil {
			return takenAway(o.TopicPartition)
		}
		if p.committed < o.Offset && p.position >= o.Offset {
			return failed
		}
	}
	return nil
}

// awaitChange waits for a change, or for a while; it is false when ctx ended.
func awaitChange(ctx context.Context, changed <-chan struct{}, longest time.Duration) bool {
	timer := time.NewTimer(longest)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
		return false
	}
	return true
}

// settledLocked waits while the group rebalances. The mutex is held again when it returns.
func (i *Instance) settledLocked(ctx context.Context) error {
	for i.ended == nil && i.member != nil && i.member.state == joining && i.member.held >= 0 {
		changed := i.changed
		i.mu.Unlock()
		var over bool
		select {
		case <-changed:
		case <-ctx.Done():
			over = true
		}
		i.mu.Lock()
		if over {
			return rebalancing(ctx.Err())
		}
	}
	return i.ended
}

func rebalancing(cause error) error {
	return fault.Wrap(fault.KafkaRetriable, cause, "The group is rebalancing. Try again when the instance has its partitions.")
}

func notAssigned(at record.TopicPartition) error {
	return illegal("No current assignment for partition %s-%d", at.Topic, at.Partition)
}

func takenAway(at record.TopicPartition) error {
	return illegal("Partition %s-%d was taken from the instance by a rebalance; its records are given to whoever owns it now", at.Topic, at.Partition)
}

// retriable reports whether a call may succeed when it is made again.
func retriable(err error) bool {
	return codeOf(err) != sarama.ErrRebalanceInProgress && (kafka.Retriable(err) || fault.From(err).Code.Retriable())
}

// checkEnds refuses offsets that no record can have yet.
func (i *Instance) checkEnds(ctx context.Context, offsets []Committed) error {
	if len(offsets) == 0 {
		return nil
	}
	questions := make([]reader.At, len(offsets))
	for n, o := range offsets {
		questions[n] = reader.At{TopicPartition: o.TopicPartition, At: reader.Latest}
	}
	ends, err := i.consumers.source.Offsets(ctx, questions, false)
	if err != nil {
		return err
	}
	for n, o := range offsets {
		if ends[n].Err != nil {
			return ends[n].Err
		}
		if o.Offset > ends[n].Offset {
			return fault.Newf(fault.InvalidRequest, "Offset %d of %s-%d is beyond the end of the partition, %d.", o.Offset, o.Topic, o.Partition, ends[n].Offset)
		}
		i.mu.Lock()
		if p := i.partitions[o.TopicPartition]; p != nil {
			p.end = max(p.end, ends[n].Offset)
		}
		i.mu.Unlock()
	}
	return nil
}

// Committed gives what the group has committed for partitions, leaving out those without.
func (i *Instance) Committed(ctx context.Context, partitions []record.TopicPartition) ([]Committed, error) {
	defer i.call()()
	ctx, cancel := context.WithTimeout(ctx, i.consumers.callLongest)
	defer cancel()
	if len(partitions) == 0 {
		return nil, nil
	}
	for {
		i.mu.Lock()
		ended := i.ended
		i.mu.Unlock()
		if ended != nil {
			return nil, ended
		}
		found, err := i.consumers.groups.committed(ctx, i.key.Group, partitions, i.options.Committed)
		if err == nil {
			return found, nil
		}
		if !retriable(err) || !pause(ctx, retryPause) {
			return nil, err
		}
	}
}

// pause waits unless ctx ends first.
func pause(ctx context.Context, length time.Duration) bool {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
