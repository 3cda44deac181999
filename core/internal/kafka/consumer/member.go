package consumer

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/record"
)

type memberState uint8

const (
	away    memberState = iota // not a member, and nothing is being done about it
	joining                    // on its way into the group, or into its next generation
	stable                     // a member with an assignment
)

const (
	firstBackoff   = 100 * time.Millisecond
	longestBackoff = time.Second
	never          = time.Duration(-1)

	commitBeforeRejoin = 2 * time.Second // a rebalance waits for it
	catalogLongest     = 3 * time.Second // the leader asks for partitions; its group waits for that
	watchCoordinator   = 5 * time.Second // how often a join that takes long is checked to be at the right broker
	joinLongest        = 35 * time.Minute
	syncLongest        = 2 * time.Minute
	triesAtOnce        = 3 // to join, before there is a pause
)

// member is an instance as its group's coordinator knows it. It begins with the first read after Subscribe and ends with the
// subscription. All fields are guarded by the instance's mutex, except link, which belongs to whoever works.
//
// What it does (join, heartbeat, watch for new topics) is done by one goroutine at a time, which a timer starts and which ends when it
// has said when the next is due.
type member struct {
	i *Instance

	state    memberState
	as       membership
	held     int32 // the generation whose assignment the instance holds; -1: none that a later one could follow
	topics   []string
	counts   map[string]int // of partitions, as the leader shared them out; nil: somebody else leads
	beat     time.Time      // the last time that the coordinator knew it
	watched  time.Time
	seen     int // the version of the listing that its pattern was matched with
	failure  error
	trouble  error     // why the last attempt to join failed, until one does not
	troubled time.Time // since when
	backoff  time.Duration
	reason   string // why it joins again, for the log

	ended     bool
	abandoned bool // leave has given up; who works closes the link
	working   bool
	again     bool // something became due while it worked
	cancel    context.CancelFunc
	timer     *time.Timer
	idle      chan struct{} // closed when it has ended and nobody works any more

	link link
}

func newMember(i *Instance) *member {
	return &member{i: i, state: joining, as: membership{generation: -1}, held: -1, idle: make(chan struct{}), reason: "a read"}
}

// scheduleLocked makes it work after a pause.
func (m *member) scheduleLocked(pause time.Duration) {
	switch {
	case m.ended:
	case m.working:
		m.again = true
	case m.timer == nil:
		m.timer = time.AfterFunc(pause, m.work)
	default:
		m.timer.Reset(pause)
	}
}

// endLocked stops it for good. leave tells the coordinator.
func (m *member) endLocked() {
	if m.ended {
		return
	}
	m.ended = true
	if m.timer != nil {
		m.timer.Stop()
	}
	if m.working {
		m.cancel()
	} else {
		close(m.idle)
	}
}

// work does what is due.
func (m *member) work() {
	if !m.i.consumers.enter() {
		return
	}
	defer m.i.consumers.exit()
	m.i.mu.Lock()
	if m.ended || m.working {
		m.i.mu.Unlock()
		return
	}
	ctx, cancel := context.WithCancel(m.i.consumers.ctx)
	m.working, m.cancel = true, cancel
	m.i.mu.Unlock()

	pause := m.step(ctx)

	cancel()
	m.i.mu.Lock()
	defer m.i.mu.Unlock()
	m.working, m.cancel = false, nil
	if m.ended {
		close(m.idle)
		if m.abandoned && m.link != nil {
			go m.link.close() // ends with the connection
		}
		return
	}
	if m.again {
		m.again, pause = false, 0
	}
	if pause != never {
		m.scheduleLocked(pause)
	}
}

// step does what is due and says when the next is.
func (m *member) step(ctx context.Context) time.Duration {
	m.i.mu.Lock()
	state := m.state
	m.i.mu.Unlock()
	if state == stable {
		pause := m.heartbeat(ctx)
		m.i.mu.Lock()
		state = m.state
		m.i.mu.Unlock()
		if state != joining || pause != 0 {
			return pause
		}
	}
	if state != joining || ctx.Err() != nil {
		return never
	}
	return m.join(ctx)
}

// patience is how long the coordinator may take for a short answer.
func (m *member) patience() time.Duration {
	return max(3*m.i.consumers.settings.HeartbeatInterval, 3*time.Second)
}

// connect makes sure that there is a link.
func (m *member) connect(ctx context.Context) error {
	if m.link != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, m.patience())
	defer cancel()
	link, err := m.i.consumers.groups.connect(ctx, m.i.key.Group)
	if err != nil {
		return err
	}
	m.link = link
	return nil
}

// disconnect gives the link up after an error that may be due to it.
func (m *member) disconnect() {
	if m.link != nil {
		m.i.consumers.groups.forget(m.i.key.Group, m.link.node())
		m.link.close()
		m.link = nil
	}
}

// heartbeat tells the coordinator that the member is there, and hears whether the group rebalances. 0 with the state joining: join
// now.
func (m *member) heartbeat(ctx context.Context) time.Duration {
	settings := m.i.consumers.settings
	m.i.mu.Lock()
	as := m.as
	m.i.mu.Unlock()
	err := m.connect(ctx)
	if err == nil {
		short, cancel := context.WithTimeout(ctx, m.patience())
		err = m.link.heartbeat(short, m.i.key.Group, as)
		cancel()
	}
	if err == nil {
		m.watch(ctx)
	}
	now := time.Now()
	m.i.mu.Lock()
	defer m.i.mu.Unlock()
	switch code := codeOf(err); {
	case ctx.Err() != nil:
		return never
	case err == nil:
		m.beat, m.backoff = now, 0
		if m.state == joining {
			return 0
		}
		return settings.HeartbeatInterval
	case code == sarama.ErrRebalanceInProgress:
		m.beat, m.backoff = now, 0
		m.joinLocked("the group rebalances")
		return 0
	case code == sarama.ErrUnknownMemberId, code == sarama.ErrFencedInstancedId:
		m.loseLocked("the coordinator does not know the member any more", true)
		return 0
	case code == sarama.ErrIllegalGeneration:
		m.loseLocked("the group went on without the member", false)
		return 0
	case final(err):
		m.failLocked(err)
		return never
	}
	m.i.mu.Unlock()
	m.disconnect()
	m.i.mu.Lock()
	if now.Sub(m.beat) > settings.SessionTimeout {
		m.loseLocked("the coordinator could not be reached for the session timeout", false)
		return 0
	}
	return m.backoffLocked()
}

// backoffLocked is the pause before the next attempt.
func (m *member) backoffLocked() time.Duration {
	m.backoff = min(max(2*m.backoff, firstBackoff), longestBackoff)
	return m.backoff
}

// final reports whether an error of the coordinator will not go away by trying again.
func final(err error) bool {
	switch codeOf(err) {
	case sarama.ErrGroupAuthorizationFailed, sarama.ErrClusterAuthorizationFailed, sarama.ErrInvalidGroupId, sarama.ErrInconsistentGroupProtocol,
		sarama.ErrInvalidSessionTimeout, sarama.ErrGroupMaxSizeReached, sarama.ErrUnsupportedVersion, sarama.ErrUnsupportedSASLMechanism,
		sarama.ErrSASLAuthenticationFailed, sarama.ErrInvalidRequest:
		return true
	}
	return false
}

// joinLocked makes the member join again, keeping what it holds: whether that is still its own, the next assignment says.
func (m *member) joinLocked(reason string) {
	m.state, m.reason = joining, reason
	m.i.changedLocked()
}

// loseLocked gives up what the instance holds: others may own it already.
func (m *member) loseLocked(reason string, forgetID bool) {
	m.i.consumers.logger.Info("consumer instance lost its partitions", "group", m.i.key.Group, "instance", m.i.key.Name,
		"reason", reason, "partitions", len(m.i.partitions))
	m.held, m.as.generation = -1, -1
	if forgetID {
		m.as.id = ""
	}
	m.i.partitions = map[record.TopicPartition]*partition{}
	m.joinLocked(reason)
}

// failLocked ends the attempt to be a member until somebody reads. The reads that are open, or otherwise the next one, are told why.
func (m *member) failLocked(err error) {
	m.loseLocked(err.Error(), false)
	m.state, m.failure = away, err
}

// join joins the group, or its next generation, until it has an assignment or something prevents that.
func (m *member) join(ctx context.Context) time.Duration {
	for try := 1; ctx.Err() == nil; try++ {
		m.commitFirst(ctx)
		err := m.attempt(ctx)
		if ctx.Err() != nil {
			return never
		}
		m.i.mu.Lock()
		switch code := codeOf(err); {
		case err == nil:
			m.backoff, m.trouble = 0, nil
			pause := m.i.consumers.settings.HeartbeatInterval
			m.i.mu.Unlock()
			return pause
		case code == sarama.ErrRebalanceInProgress, code == sarama.ErrMemberIdRequired, code == sarama.ErrUnknownMemberId,
			code == sarama.ErrFencedInstancedId, code == sarama.ErrIllegalGeneration:
			switch code {
			case sarama.ErrUnknownMemberId, sarama.ErrFencedInstancedId:
				m.loseLocked("the coordinator does not know the member", true)
			case sarama.ErrIllegalGeneration:
				m.loseLocked("the group went on without the member", false)
			}
			pause := time.Duration(0)
			if try >= triesAtOnce {
				pause = m.backoffLocked()
			}
			m.i.mu.Unlock()
			if pause == 0 {
				continue
			}
			return pause
		case final(err):
			m.failLocked(err)
			m.i.mu.Unlock()
			return never
		}
		if m.trouble == nil {
			m.troubled = time.Now()
		}
		m.trouble = err
		m.i.changedLocked() // a read that waits is to know
		if m.held >= 0 && time.Since(m.beat) > m.i.consumers.settings.SessionTimeout {
			m.loseLocked("the coordinator could not be reached for the session timeout", false)
		}
		pause := m.backoffLocked()
		m.i.mu.Unlock()
		m.disconnect()
		m.i.consumers.logger.Debug("consumer instance could not join its group", "group", m.i.key.Group, "instance", m.i.key.Name, "error", err)
		return pause
	}
	return never
}

// commitFirst commits what was delivered while the partitions are still the member's.
func (m *member) commitFirst(ctx context.Context) {
	if !m.i.options.AutoCommit {
		return
	}
	m.i.mu.Lock()
	as, offsets := m.i.deliveredLocked()
	m.i.mu.Unlock()
	if len(offsets) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, commitBeforeRejoin)
	defer cancel()
	m.i.commitOnce(ctx, as, offsets)
}

// attempt is one JoinGroup and SyncGroup, with the handshake that gives a new member its id.
func (m *member) attempt(ctx context.Context) error {
	topics, version, err := m.wanted(ctx)
	if err != nil {
		return err
	}
	if err := m.connect(ctx); err != nil {
		return err
	}
	m.i.mu.Lock()
	as := m.as
	m.i.mu.Unlock()
	settings := m.i.consumers.settings
	request := joinRequest{group: m.i.key.Group, topics: topics, member: as.id, session: settings.SessionTimeout, rebalance: settings.RebalanceTimeout}

	joined, err := m.askToJoin(ctx, request)
	if codeOf(err) == sarama.ErrMemberIdRequired && joined.as.id != "" {
		m.i.mu.Lock()
		m.as.id = joined.as.id
		m.i.mu.Unlock()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		request.member = joined.as.id
		joined, err = m.askToJoin(ctx, request)
	}
	if err != nil {
		return err
	}
	m.i.mu.Lock()
	m.as, m.beat = joined.as, time.Now()
	m.i.mu.Unlock()

	var plan sarama.BalanceStrategyPlan
	var counts map[string]int
	if joined.leader {
		short, cancel := context.WithTimeout(ctx, min(catalogLongest, settings.SessionTimeout/2))
		wanted := union(joined.members)
		found := m.i.consumers.catalog.counts(short, wanted)
		cancel()
		counts = make(map[string]int, len(wanted))
		for _, topic := range wanted {
			counts[topic] = found[topic] // 0: it does not exist yet
		}
		if plan, err = share(joined.protocol, joined.members, counts); err != nil {
			return err
		}
	}
	var given []record.TopicPartition
	err = m.patiently(ctx, syncLongest, func(ctx context.Context) error {
		given, err = m.link.sync(ctx, m.i.key.Group, joined.as, joined.protocol, plan)
		return err
	})
	if err != nil {
		return err
	}
	m.settle(joined, given, topics, version, counts)
	return nil
}

// askToJoin sends a JoinGroup.
func (m *member) askToJoin(ctx context.Context, request joinRequest) (answer joinAnswer, err error) {
	if request.member == "" {
		// The answer is the id to join with. It is not given up early: a coordinator that has given an id waits for it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.i.consumers.settings.RebalanceTimeout)
		defer cancel()
		return m.link.join(ctx, request)
	}
	err = m.patiently(ctx, joinLongest, func(ctx context.Context) error {
		answer, err = m.link.join(ctx, request)
		return err
	})
	return answer, err
}

// patiently makes a call that the coordinator answers when others have done something, which may take long. Meanwhile it is made sure
// that the broker that is asked is still the coordinator: if not, the call is given up.
func (m *member) patiently(ctx context.Context, longest time.Duration, call func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	node := m.link.node()
	var check *time.Timer
	var mu sync.Mutex // of check, which is set while its func may run already
	mu.Lock()
	check = time.AfterFunc(watchCoordinator, func() { // asks once, and is stopped with the call
		if !m.i.consumers.enter() {
			return
		}
		defer m.i.consumers.exit()
		short, done := context.WithTimeout(ctx, watchCoordinator)
		defer done()
		if now, err := m.i.consumers.groups.coordinator(short, m.i.key.Group); err == nil && now != node {
			cancel()
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() == nil {
			check.Reset(watchCoordinator)
		}
	})
	mu.Unlock()
	defer check.Stop()
	return call(ctx)
}

// wanted are the topics to join with. For a pattern, version is that of the listing that it was matched with.
func (m *member) wanted(ctx context.Context) (topics []string, version int, err error) {
	m.i.mu.Lock()
	mode, topics, pattern, visible := m.i.mode, slices.Clone(m.i.topics), m.i.pattern, m.i.visible
	m.i.mu.Unlock()
	if mode != byPattern {
		return topics, 0, nil
	}
	names, version, err := m.i.consumers.listed(ctx)
	if err != nil {
		return nil, 0, err
	}
	return matches(names, pattern, visible), version, nil
}

// settle takes an assignment.
func (m *member) settle(joined joinAnswer, given []record.TopicPartition, topics []string, version int, counts map[string]int) {
	i := m.i
	i.mu.Lock()
	defer i.mu.Unlock()
	if m.ended {
		return
	}
	// Between two generations in a row in both of which it had the group's word, nobody else can have owned what it had and has again. If
	// it missed one, somebody may have read and committed meanwhile.
	follows := m.held >= 0 && m.as.id == joined.as.id && (joined.as.generation == m.held || joined.as.generation == m.held+1)
	held := make(map[record.TopicPartition]*partition, len(given))
	kept := 0
	for _, at := range given {
		if !slices.Contains(topics, at.Topic) {
			continue // not asked for
		}
		if p := i.partitions[at]; p != nil && follows {
			held[at] = p
			kept++
			continue
		}
		held[at] = newPartition(at)
	}
	i.consumers.rebalances.Add(1)
	i.consumers.logger.Debug("consumer instance joined its group", "group", i.key.Group, "instance", i.key.Name, "generation", joined.as.generation,
		"leader", joined.leader, "reason", m.reason, "partitions", len(held), "kept", kept)
	i.partitions = held
	m.state, m.held, m.topics, m.seen, m.counts = stable, joined.as.generation, topics, version, counts
	m.beat = time.Now()
	m.watched = m.beat
	if !slices.Equal(i.wantedLocked(topics), topics) {
		m.state, m.again = joining, true // subscribed anew meanwhile
	}
	i.changedLocked()
	i.resolveLocked()
}

// wantedLocked are the topics that the instance would join with now, or those that it joined with if only a listing can tell.
func (i *Instance) wantedLocked(joined []string) []string {
	if i.mode == byPattern {
		return joined
	}
	return i.topics
}

// watch looks from time to time whether there is something new to read: partitions, or topics that were not there.
func (m *member) watch(ctx context.Context) {
	settings := m.i.consumers.settings
	m.i.mu.Lock()
	due := time.Since(m.watched) >= settings.PatternRefresh/2
	if due {
		m.watched = time.Now()
	}
	mode, pattern, visible, joined, seen, counts := m.i.mode, m.i.pattern, m.i.visible, m.topics, m.seen, m.counts
	m.i.mu.Unlock()
	if !due || ctx.Err() != nil {
		return
	}
	reason := ""
	now := m.i.consumers.catalog.peek(slices.Collect(maps.Keys(counts)), settings.PatternRefresh/2)
	for topic, count := range counts { // empty, unless it leads the group
		if now[topic] != count {
			reason = "topic " + topic + " has other partitions than before"
		}
	}
	if mode == byPattern {
		if names, version := m.i.consumers.glance(); version != seen && version > 0 {
			if slices.Equal(matches(names, pattern, visible), joined) {
				m.i.mu.Lock()
				m.seen = version
				m.i.mu.Unlock()
			} else {
				reason = "the pattern matches other topics than before"
			}
		}
	}
	if reason != "" {
		m.i.mu.Lock()
		if m.state == stable {
			m.joinLocked(reason)
		}
		m.i.mu.Unlock()
	}
}

// leave tells the coordinator that the member has ended, once nobody works for it any more.
func (m *member) leave(ctx context.Context) {
	select {
	case <-m.idle:
	case <-ctx.Done():
		m.i.mu.Lock()
		select {
		case <-m.idle:
		default:
			m.abandoned = true
			m.i.mu.Unlock()
			return
		}
		m.i.mu.Unlock()
	}
	if m.link != nil {
		defer m.link.close()
	}
	m.i.mu.Lock()
	id := m.as.id
	m.i.mu.Unlock()
	if id == "" {
		return
	}
	err := errors.New("there is no connection")
	if m.link != nil {
		err = m.link.leave(ctx, m.i.key.Group, id)
	}
	if err != nil && ctx.Err() == nil {
		err = m.i.consumers.groups.leave(ctx, m.i.key.Group, id)
	}
	if err != nil {
		m.i.consumers.logger.Debug("consumer instance could not leave its group; it ends there with its session", "group", m.i.key.Group,
			"instance", m.i.key.Name, "error", fault.From(err).Error())
	}
}
