package consumer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka"
	"github.com/weir-gateway/weir/core/internal/record"
)

const (
	commitBeforeRejoin = 2 * time.Second // a rebalance waits for it
	catalogLongest     = 3 * time.Second // the leader asks for partitions; its group waits for that
	watchCoordinator   = 3 * time.Second // how often a join that takes long is checked to be at the right broker
	joinLongest        = 35 * time.Minute
	syncLongest        = 2 * time.Minute
	triesAtOnce        = 3 // to join, before there is a pause
)

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
			m.backoff = 0
			m.fineLocked()
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
		case final(err), code != sarama.ErrNoError && !kafka.Retriable(err):
			m.failLocked(err)
			m.i.mu.Unlock()
			return never
		}
		since := m.asked
		if since.IsZero() {
			since = time.Now()
		}
		m.troubleLocked(err, since)
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
	_, offsets := m.i.deliveredLocked()
	m.i.mu.Unlock()
	if len(offsets) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, commitBeforeRejoin)
	defer cancel()
	m.i.commitOnce(ctx, m.i.deliveredLocked)
}

// attempt is one JoinGroup and SyncGroup, with the handshake that gives a new member its id.
func (m *member) attempt(ctx context.Context) error {
	m.asked = time.Now()
	wanted, err := m.wanted(ctx)
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
	request := joinRequest{group: m.i.key.Group, topics: wanted.topics, member: as.id, session: settings.SessionTimeout, rebalance: settings.RebalanceTimeout}

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
		all := union(joined.members)
		found := m.i.consumers.catalog.counts(short, all)
		cancel()
		counts = make(map[string]int, len(all))
		for _, topic := range all {
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
	m.settle(joined, given, wanted, counts)
	return nil
}

// askToJoin sends a JoinGroup.
func (m *member) askToJoin(ctx context.Context, request joinRequest) (answer joinAnswer, err error) {
	if request.member == "" && m.i.consumers.groups.givesIDs() {
		// The answer is the id to join with. It is not given up when the member ends: a coordinator that has given an id waits for it.
		ctx, cancel := context.WithTimeout(m.i.consumers.ctx, m.patience())
		defer cancel()
		return m.link.join(ctx, request)
	}
	m.asked = time.Time{}
	err = m.patiently(ctx, joinLongest, func(ctx context.Context) error {
		answer, err = m.link.join(ctx, request)
		return err
	})
	return answer, err
}

// patiently makes a call that the coordinator answers when others have done something, which may take long. Meanwhile it is made sure
// that the broker that is asked is still the coordinator: if not, the call is given up. That it cannot be asked about is a trouble, but no more: the answer may come.
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
		began := time.Now()
		short, done := context.WithTimeout(ctx, watchCoordinator)
		defer done()
		now, err := m.i.consumers.groups.coordinator(short, m.i.key.Group)
		if err == nil && now != node {
			cancel()
			return
		}
		m.i.mu.Lock()
		switch {
		case ctx.Err() != nil || m.ended: // the call is over
		case err != nil:
			m.troubleLocked(err, began)
		default:
			m.fineLocked()
		}
		m.i.mu.Unlock()
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

// subscription is what a member joins with.
type subscription struct {
	topics  []string // sorted
	pattern string   // that they match; empty: none
	listing int      // the number of the listing that they are from
	found   time.Time
}

// errTooMany marks the refusal of a pattern that matches more topics than an instance may have.
var errTooMany = errors.New("too many topics match")

// wanted is what to join with. Error: Unprocessable when a pattern matches more than consume.max_partitions topics.
func (m *member) wanted(ctx context.Context) (subscription, error) {
	m.i.mu.Lock()
	mode, topics, pattern, visible := m.i.mode, slices.Clone(m.i.topics), m.i.pattern, m.i.visible
	m.i.mu.Unlock()
	if mode != byPattern {
		return subscription{topics: topics}, nil
	}
	s := subscription{pattern: pattern.String(), found: time.Now()}
	names, number, err := m.i.consumers.listed(ctx)
	if err != nil {
		return s, err
	}
	s.topics, s.listing = matches(names, pattern, visible), number
	if most := m.i.consumers.settings.MaxPartitions; len(s.topics) > most {
		return s, fault.Wrap(fault.Unprocessable, errTooMany, fmt.Sprintf(
			"topic_pattern matches %d topics; an instance may have at most %d (consume.max_partitions). Subscribe by a narrower one.", len(s.topics), most))
	}
	return s, nil
}

// settle takes an assignment.
func (m *member) settle(joined joinAnswer, given []record.TopicPartition, joinedWith subscription, counts map[string]int) {
	i := m.i
	i.mu.Lock()
	defer i.mu.Unlock()
	if m.ended {
		return
	}
	// Between two generations in a row in both of which it had the group's word, nobody else can have owned what it had and has again. If
	// it missed one, somebody may have read and committed meanwhile.
	follows := m.held >= 0 && (joined.as.generation == m.held || joined.as.generation == m.held+1)
	held := make(map[record.TopicPartition]*partition, len(given))
	kept := 0
	for _, at := range given {
		if _, wanted := slices.BinarySearch(joinedWith.topics, at.Topic); !wanted {
			continue
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
	for _, p := range i.sortedLocked() {
		if held[p.TopicPartition] != p {
			i.revokedLocked(p)
		}
	}
	i.partitions = held
	m.state, m.held, m.joined, m.counts = stable, joined.as.generation, joinedWith, counts
	m.beat = time.Now()
	m.watched = m.beat
	if i.otherLocked(&joinedWith) {
		m.state, m.again = joining, true // subscribed anew meanwhile
	}
	i.changedLocked()
	i.resolveLocked()
}

// otherLocked reports whether the instance has subscribed to something else than it joined with. What topics match a pattern by now, watch
// finds out.
func (i *Instance) otherLocked(joined *subscription) bool {
	if i.mode == byPattern {
		return joined.pattern != i.pattern.String()
	}
	return !slices.Equal(i.topics, joined.topics)
}

// visibleAgain is how many times consume.pattern_refresh it takes at most until an instance notices that it may see other topics, which
// nothing tells of. To match every name is too much work to do it whenever an instance looks.
const visibleAgain = 6

// watch looks from time to time whether there is something new to read: partitions, or topics that were not there.
func (m *member) watch(ctx context.Context) {
	settings := m.i.consumers.settings
	m.i.mu.Lock()
	due := time.Since(m.watched) >= settings.PatternRefresh/2
	if due {
		m.watched = time.Now()
	}
	mode, pattern, visible, joined, counts := m.i.mode, m.i.pattern, m.i.visible, m.joined, m.counts
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
		names, number, known := m.i.consumers.glance()
		if known && (number != joined.listing || time.Since(joined.found) >= visibleAgain*settings.PatternRefresh) {
			found := time.Now()
			if !slices.Equal(matches(names, pattern, visible), joined.topics) {
				reason = "the pattern matches other topics than before"
			}
			m.i.mu.Lock()
			m.joined.listing, m.joined.found = number, found
			m.i.mu.Unlock()
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
