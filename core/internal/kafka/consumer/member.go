package consumer

import (
	"context"
	"errors"
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
)

// member is an instance as its group's coordinator knows it. It begins with the first read after Subscribe and ends with the
// subscription. All fields are guarded by the instance's mutex, except link and asked, which belong to whoever works.
//
// What it does (join, heartbeat, watch for new topics) is done by one goroutine at a time, which a timer starts and which ends when it
// has said when the next is due.
type member struct {
	i *Instance

	state    memberState
	as       membership
	held     int32 // the generation whose assignment the instance holds; -1: none that a later one could follow
	joined   subscription
	counts   map[string]int // of partitions, as the leader shared them out; nil: somebody else leads
	beat     time.Time      // the last time that the coordinator knew it
	watched  time.Time
	failure  error
	trouble  error     // why the last attempt to join failed, until one does not
	troubled time.Time // since when
	warned   bool      // the log says so
	asked    time.Time // when what is to be answered soon was asked; zero: what is under way may take long
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

// final reports whether an error of the coordinator, or of what to join with, will not go away by trying again.
func final(err error) bool {
	if errors.Is(err, errTooMany) {
		return true
	}
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
	for _, p := range m.i.sortedLocked() {
		m.i.revokedLocked(p)
	}
	m.i.partitions = map[record.TopicPartition]*partition{}
	m.joinLocked(reason)
}

// failLocked ends the attempt to be a member until somebody reads. The reads that are open, or otherwise the next one, are told why.
func (m *member) failLocked(err error) {
	m.warnLocked(err)
	m.loseLocked(err.Error(), false)
	m.state, m.failure, m.trouble = away, ofRead(err), nil
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
