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

// identityLocked is as whom the instance commits. It is false while it is not sure that the partitions are the instance's: between the
// answer to a JoinGroup and the next assignment a coordinator takes commits for partitions that have a new owner.
func (i *Instance) identityLocked() (membership, bool) {
	if i.mode == assigned {
		return membership{generation: -1}, true
	}
	m := i.member
	if m == nil || m.held < 0 || m.as.generation != m.held {
		return membership{generation: -1}, false
	}
	return m.as, true
}

// deliveredLocked gives the positions that are to be committed, and as whom.
func (i *Instance) deliveredLocked() (membership, []Committed) {
	as, sure := i.identityLocked()
	if !sure {
		return as, nil
	}
	var offsets []Committed
	for _, p := range i.sortedLocked() {
		if p.moved && p.position >= 0 && p.position != p.committed {
			offsets = append(offsets, Committed{TopicPartition: p.TopicPartition, Offset: p.position})
		}
	}
	return as, offsets
}

// commitOnce commits by itself: without a second attempt, and with a failure only in the log. It asks for what to commit, with the mutex
// held, only when it has its turn, lest it commits something older than whoever had the turn before.
func (i *Instance) commitOnce(ctx context.Context, what func() (membership, []Committed)) (done bool) {
	var err error
	select {
	case i.committing <- struct{}{}:
		err = i.commitNow(ctx, what)
		<-i.committing
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		i.consumers.logger.Info("consumer instance could not commit what it delivered; it is given again if the instance ends", "group", i.key.Group,
			"instance", i.key.Name, "error", err)
	}
	return err == nil
}

func (i *Instance) commitNow(ctx context.Context, what func() (membership, []Committed)) error {
	i.mu.Lock()
	as, offsets := what()
	i.mu.Unlock()
	if len(offsets) == 0 {
		return nil
	}
	if err := i.consumers.groups.commit(ctx, i.key.Group, as, offsets); err != nil {
		return err
	}
	i.mu.Lock()
	i.noteLocked(offsets)
	i.mu.Unlock()
	return nil
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
	_, offsets := i.deliveredLocked()
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
		i.commitOnce(ctx, i.deliveredLocked)
	})
}

// Commit commits offsets for the group, exactly as given: the next offset to read. nil commits what was delivered. It waits for the
// coordinator's answer. While the group only gathers its members, the coordinator still takes commits, and is asked at once; while it shares
// out partitions the commit waits. Errors: IllegalState when a partition is not the instance's, or was taken from it by a rebalance (for nil:
// once after that has happened to one of which something was delivered and not committed); InvalidRequest for a
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
		i.awaitWritten()
	}
	return i.commit(ctx, offsets)
}

func (i *Instance) commit(ctx context.Context, given []Committed) error {
	c := &commitment{i: i, given: given}
	for {
		i.mu.Lock()
		err := i.awaitLocked(ctx, i.unsureLocked)
		i.mu.Unlock()
		if err != nil {
			return err
		}
		select {
		case i.committing <- struct{}{}:
		case <-ctx.Done():
			return fault.From(ctx.Err())
		}
		err = c.attempt(ctx)
		<-i.committing
		switch code := codeOf(err); {
		case c.over:
			return err
		case c.again:
		case len(c.unsure) > 0:
			if err := i.checkEnds(ctx, c.unsure); err != nil {
				return err
			}
		case code == sarama.ErrRebalanceInProgress, code == sarama.ErrIllegalGeneration, code == sarama.ErrUnknownMemberId:
			if c.as.generation < 0 {
				return illegal("The group has members, which commit for it: %s", fault.From(err).Message)
			}
			i.mu.Lock()
			if i.member != nil && i.member.as == c.as && i.member.state == stable {
				i.member.scheduleLocked(0) // the heartbeat hears it too
			}
			i.mu.Unlock()
			if !awaitChange(ctx, c.changed, max(retryPause, i.consumers.settings.HeartbeatInterval)) {
				return rebalancing(ctx.Err())
			}
		case absent(err) || !retriable(err) || !pause(ctx, retryPause):
			return err
		}
	}
}

// commitment is a commit that somebody waits for.
type commitment struct {
	i     *Instance
	given []Committed // nil: what was delivered

	held    bool        // all partitions were once
	wanted  []Committed // what was to be committed at first
	as      membership  // as whom the last attempt was made
	failed  error       // why it failed
	over    bool        // no further attempt is to be made
	again   bool        // the coordinator was not asked, because the group has begun to share out partitions
	unsure  []Committed // the coordinator was not asked, because these are beyond what is known to exist
	changed <-chan struct{}
}

// attempt makes one attempt, by whoever has the turn to commit.
func (c *commitment) attempt(ctx context.Context) error {
	i := c.i
	c.unsure, c.again = nil, false
	i.mu.Lock()
	if i.ended != nil {
		defer i.mu.Unlock()
		c.over = true
		return i.ended
	}
	if c.again = i.unsureLocked(); c.again {
		i.mu.Unlock()
		return nil
	}
	as, offsets := i.deliveredLocked()
	if c.given != nil {
		offsets = c.given
	} else if i.lost != nil {
		defer i.mu.Unlock()
		c.over = true
		return i.takenLocked(*i.lost)
	}
	for _, o := range offsets {
		p := i.partitions[o.TopicPartition]
		if p == nil {
			defer i.mu.Unlock()
			c.over = true
			if c.held || i.lost != nil && *i.lost == o.TopicPartition {
				return i.takenLocked(o.TopicPartition)
			}
			return notAssigned(o.TopicPartition)
		}
		if o.Offset > p.end {
			c.unsure = append(c.unsure, o)
		}
	}
	c.as, c.changed = as, i.changed
	i.mu.Unlock()
	if c.held = true; c.wanted == nil {
		c.wanted = offsets
	}
	if len(offsets) == 0 {
		c.over = true
		return i.missed(c.wanted, c.failed)
	}
	if len(c.unsure) > 0 {
		return nil
	}
	c.failed = i.consumers.groups.commit(ctx, i.key.Group, as, offsets)
	if c.failed == nil {
		c.over = true
		i.mu.Lock()
		i.noteLocked(offsets)
		i.mu.Unlock()
	}
	return c.failed
}

// takenLocked is the error that says that a partition was taken away. It is said once.
func (i *Instance) takenLocked(at record.TopicPartition) error {
	if i.lost != nil && *i.lost == at {
		i.lost = nil
	}
	return takenAway(at)
}

// revokedLocked remembers that a partition was taken away by a rebalance, and whether with something that was delivered and not committed.
func (i *Instance) revokedLocked(p *partition) {
	p.revoked = true
	if i.lost == nil && p.given && p.position != p.committed {
		i.lost = &p.TopicPartition
	}
}

// missed is nil when everything that was to be committed has been, by whomever. Otherwise it is why nothing is left to commit.
func (i *Instance) missed(wanted []Committed, failed error) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, o := range wanted {
		p := i.partitions[o.TopicPartition]
		if p == nil {
			return i.takenLocked(o.TopicPartition)
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

// rejoiningLocked reports whether the instance has partitions and the group rebalances.
func (i *Instance) rejoiningLocked() bool {
	return i.member != nil && i.member.state == joining && i.member.held >= 0
}

// unsureLocked reports whether the group rebalances and no commit can be made: it shares out partitions.
func (i *Instance) unsureLocked() bool {
	_, sure := i.identityLocked()
	return i.rejoiningLocked() && !sure
}

// awaitLocked waits while something holds. The mutex is held again when it returns.
func (i *Instance) awaitLocked(ctx context.Context, while func() bool) error {
	for i.ended == nil && while() {
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
