package consumer

import (
	"cmp"
	"context"
	"crypto/rand"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/record"
)

// mode is how an instance comes by its partitions.
type mode uint8

const (
	unset mode = iota
	byTopics
	byPattern
	assigned
)

// Instance is one consumer instance. Its methods may be called at any time from any goroutine; reads take turns, and everything else
// takes effect in the middle of a read.
type Instance struct {
	consumers   *Consumers
	key         Key
	options     Options
	incarnation [8]byte // tells this one's tokens from those of another of its name

	began atomic.Int64 // when the last call began or ended, in nanoseconds of the clock
	calls atomic.Int32 // that are open
	gone  chan struct{}

	turn       chan struct{} // who has put something in it reads
	committing chan struct{} // who has put something in it commits: so that an older commit cannot overtake a newer one

	mu         sync.Mutex
	changed    chan struct{} // closed, and made anew, when something has changed that a call may wait for
	interrupt  func()        // ends the fetch that is under way; nil: there is none
	ended      error         // what calls get when the instance is no more
	mode       mode
	topics     []string // subscribed, sorted
	pattern    *regexp.Regexp
	visible    func(topic string) bool
	member     *member // nil: nobody has read since it subscribed
	partitions map[record.TopicPartition]*partition
	resolving  bool
	rotation   int                    // which of the partitions is first in the next fetch
	committed  time.Time              // when it last committed by itself
	lost       *record.TopicPartition // was taken with something delivered and not committed, and no commit has said so yet
	unwritten  chan struct{}          // closed when the answer that is being written is done; nil: there is none
	acks       acks
	silent     time.Time // since when no broker has answered a fetch; zero: the last was answered
	told       time.Time // when a read last failed because of only some partitions
}

// partition is what an instance knows of a partition that it holds. When a partition is taken away and comes back, it is another one.
type partition struct {
	record.TopicPartition
	position  int64 // the next offset to give; -1: not known yet
	epoch     int   // changes with every seek
	moved     bool  // the position is one to commit
	given     bool  // something was delivered
	revoked   bool  // a rebalance took it away
	committed int64 // what is committed as far as is known; -1: nothing
	end       int64 // offsets up to here are known to exist
	reset     bool  // the position is to be found by the reset policy, whatever is committed
	err       error // why it cannot be read, or its position not be found
	failed    time.Time
	trouble   error     // the same, for a reason that may go away
	troubled  time.Time // since when
	warned    bool      // the log says so
}

func newPartition(at record.TopicPartition) *partition {
	return &partition{TopicPartition: at, position: -1, committed: -1, end: -1}
}

func newInstance(c *Consumers, key Key, options Options) *Instance {
	i := &Instance{
		consumers: c, key: key, options: options,
		gone: make(chan struct{}), turn: make(chan struct{}, 1), committing: make(chan struct{}, 1),
		changed: make(chan struct{}), partitions: map[record.TopicPartition]*partition{},
		committed: time.Now(),
	}
	_, _ = rand.Read(i.incarnation[:]) // never fails
	i.use()
	return i
}

func (i *Instance) use() { i.began.Store(time.Now().UnixNano()) }

// call marks a call as open; the func that it gives ends it.
func (i *Instance) call() func() {
	i.calls.Add(1)
	i.use()
	return func() {
		i.use()
		i.calls.Add(-1)
	}
}

// idle is how long there has been no call.
func (i *Instance) idle(now time.Time) time.Duration {
	if i.calls.Load() > 0 {
		return 0
	}
	return now.Sub(time.Unix(0, i.began.Load()))
}

// changedLocked wakes every call that waits for a change, and ends the fetch that is under way.
func (i *Instance) changedLocked() {
	close(i.changed)
	i.changed = make(chan struct{})
	if i.interrupt != nil {
		i.interrupt()
	}
}

// heldLocked reports whether p is still what the instance holds.
func (i *Instance) heldLocked(p *partition) bool { return i.partitions[p.TopicPartition] == p }

// sortedLocked are the partitions by topic and number.
func (i *Instance) sortedLocked() []*partition {
	all := make([]*partition, 0, len(i.partitions))
	for _, p := range i.partitions {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *partition) int { return compare(a.TopicPartition, b.TopicPartition) })
	return all
}

func compare(a, b record.TopicPartition) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
}

// Options are what the instance was made with.
func (i *Instance) Options() Options { return i.options }

func illegal(format string, args ...any) error {
	return fault.Newf(fault.IllegalState, "Illegal state: "+format, args...)
}

func exclusive() error {
	return illegal("Subscription to topics, partitions and pattern are mutually exclusive")
}

// Subscribe makes the instance a member that consumes topics, in place of those before. An empty list is Unsubscribe. A topic need not
// exist. Error: IllegalState when it subscribes by pattern or has assignments ("Illegal state: Subscription to topics, partitions and pattern
// are mutually exclusive").
func (i *Instance) Subscribe(topics []string) error {
	defer i.call()()
	if len(topics) == 0 {
		return i.unsubscribe()
	}
	wanted := slices.Clone(topics)
	slices.Sort(wanted)
	wanted = slices.Compact(wanted)
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.ended != nil:
		return i.ended
	case i.mode != unset && i.mode != byTopics:
		return exclusive()
	case i.mode == byTopics && slices.Equal(i.topics, wanted):
		return nil
	}
	i.mode, i.topics = byTopics, wanted
	i.rejoinLocked()
	return nil
}

// SubscribePattern is Subscribe for every topic, now and later, whose whole name matches an RE2 expression and that visible allows (nil:
// all). Internal topics are never matched. Errors: IllegalState as for Subscribe; Unprocessable when the expression is malformed or longer
// than consume.pattern_length.
func (i *Instance) SubscribePattern(pattern string, visible func(topic string) bool) error {
	defer i.call()()
	if longest := i.consumers.settings.PatternLength; len(pattern) > longest {
		return fault.Newf(fault.Unprocessable, "topic_pattern is %d bytes long; at most %d are allowed (consume.pattern_length)", len(pattern), longest)
	}
	expression, err := regexp.Compile(`\A(?:` + pattern + `)\z`)
	if _, alone := regexp.Compile(pattern); alone != nil {
		err = alone // "a)(b" is wrong although it fits between the parentheses
	}
	if err != nil {
		return fault.Wrap(fault.Unprocessable, err, "topic_pattern is not a regular expression that RE2 understands: "+err.Error())
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.ended != nil:
		return i.ended
	case i.mode != unset && i.mode != byPattern:
		return exclusive()
	}
	same := i.pattern != nil && i.pattern.String() == expression.String()
	i.mode, i.pattern, i.visible = byPattern, expression, visible
	switch {
	case !same:
		i.rejoinLocked()
	case i.member != nil:
		i.member.joined.found = time.Time{} // others may be visible
	}
	return nil
}

// rejoinLocked makes a member join with what is subscribed now. Whoever is none yet joins at the first read.
func (i *Instance) rejoinLocked() {
	if m := i.member; m != nil && m.state == stable {
		m.state = joining
		m.scheduleLocked(0)
	}
	i.changedLocked()
}

// matches are the topics that a pattern matches among names.
func matches(names []string, pattern *regexp.Regexp, visible func(string) bool) []string {
	matched := []string{}
	for _, name := range names {
		if pattern.MatchString(name) && (visible == nil || visible(name)) {
			matched = append(matched, name)
		}
	}
	return matched
}

// Unsubscribe ends subscription and assignments: the group is left. It returns when it has left, after two seconds at most.
func (i *Instance) Unsubscribe(context.Context) error {
	defer i.call()()
	return i.unsubscribe()
}

func (i *Instance) unsubscribe() error {
	i.awaitWritten()
	i.mu.Lock()
	if i.ended != nil {
		defer i.mu.Unlock()
		return i.ended
	}
	leaving := i.resignLocked()
	i.mu.Unlock()
	leaving.carryOut()
	return nil
}

// Subscription gives the subscribed topics; for a pattern those that matched when the topics of the cluster were last listed.
func (i *Instance) Subscription() []string {
	defer i.call()()
	i.mu.Lock()
	mode, topics, pattern, visible := i.mode, slices.Clone(i.topics), i.pattern, i.visible
	i.mu.Unlock()
	if mode != byPattern {
		return topics
	}
	names, _, _ := i.consumers.glance()
	return matches(names, pattern, visible)
}

// Assign makes the instance read the given partitions, without becoming a member; commits still go to the group. It replaces earlier
// assignments; partitions that stay keep their positions, and what was delivered of others is committed if the instance commits by itself,
// within two seconds. An empty list ends the assignments. Errors: IllegalState when the instance is subscribed; Unprocessable for more than
// consume.max_partitions.
func (i *Instance) Assign(partitions []record.TopicPartition) error {
	defer i.call()()
	if most := i.consumers.settings.MaxPartitions; len(partitions) > most {
		return fault.Newf(fault.Unprocessable, "%d partitions are assigned; at most %d are allowed (consume.max_partitions)", len(partitions), most)
	}
	i.awaitWritten()
	i.mu.Lock()
	dropped, err := i.assignLocked(partitions)
	i.mu.Unlock()
	if err == nil {
		dropped.carryOut()
	}
	return err
}

// assignLocked gives what is still to be done for the partitions that are no more assigned.
func (i *Instance) assignLocked(partitions []record.TopicPartition) (*resignation, error) {
	switch {
	case i.ended != nil:
		return nil, i.ended
	case i.mode != unset && i.mode != assigned:
		return nil, exclusive()
	}
	dropped := &resignation{i: i}
	i.mode = assigned
	held := make(map[record.TopicPartition]*partition, len(partitions))
	for _, at := range partitions {
		if held[at] = i.partitions[at]; held[at] == nil {
			held[at] = newPartition(at)
		}
	}
	if i.options.AutoCommit {
		dropped.as, dropped.offsets = i.deliveredLocked()
		dropped.offsets = slices.DeleteFunc(dropped.offsets, func(o Committed) bool { return held[o.TopicPartition] != nil })
	}
	i.partitions = held
	if len(held) == 0 {
		i.mode = unset
	}
	i.changedLocked()
	return dropped, nil
}

// Assignment gives the partitions that the instance holds now, sorted by topic and number.
func (i *Instance) Assignment() []record.TopicPartition {
	defer i.call()()
	i.mu.Lock()
	defer i.mu.Unlock()
	all := make([]record.TopicPartition, 0, len(i.partitions))
	for _, p := range i.sortedLocked() {
		all = append(all, p.TopicPartition)
	}
	return all
}

// resignation is what an instance still has to do for what it gave up: commit and leave.
type resignation struct {
	i       *Instance
	member  *member
	as      membership
	offsets []Committed // to commit
}

// resignLocked ends subscription and assignments at once. What brokers must be told is in the resignation.
func (i *Instance) resignLocked() *resignation {
	r := &resignation{i: i, member: i.member}
	if i.options.AutoCommit {
		r.as, r.offsets = i.deliveredLocked()
	}
	if i.member != nil {
		i.member.endLocked()
	}
	i.member, i.mode, i.topics, i.pattern, i.visible, i.lost = nil, unset, nil, nil, nil, nil
	i.partitions = map[record.TopicPartition]*partition{}
	i.changedLocked()
	return r
}

// carryOut commits and leaves the group, within endLongest.
func (r *resignation) carryOut() {
	ctx, cancel := context.WithTimeout(r.i.consumers.ctx, endLongest)
	defer cancel()
	if len(r.offsets) > 0 {
		r.i.commitOnce(ctx, func() (membership, []Committed) { return r.as, r.offsets })
	}
	if r.member != nil {
		r.member.leave(ctx)
	}
}

// stop makes every call fail with why, and is the first half of end.
func (i *Instance) stop(why error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.ended == nil {
		i.ended = why
		close(i.gone)
		i.changedLocked()
	}
}

// end ends the instance: calls fail with why, it commits if it commits by itself, and leaves its group.
func (i *Instance) end(why error) {
	i.awaitWritten()
	i.stop(why)
	i.mu.Lock()
	leaving := i.resignLocked()
	i.mu.Unlock()
	leaving.carryOut()
}

// writtenLongest is how long those who commit wait for an answer that is just being written. A client that has read an answer to its
// end may commit, or delete the instance, before the gateway has heard that it was written.
const writtenLongest = 100 * time.Millisecond

func (i *Instance) awaitWritten() {
	i.mu.Lock()
	unwritten := i.unwritten
	i.mu.Unlock()
	if unwritten == nil {
		return
	}
	timer := time.NewTimer(writtenLongest)
	defer timer.Stop()
	select {
	case <-unwritten:
	case <-timer.C:
	}
}
