package consumer

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka/reader"
	"github.com/weir-gateway/weir/core/internal/record"
)

// fakeLog is partitions in memory, as a source. It works in a testing/synctest bubble.
type fakeLog struct {
	mu        sync.Mutex
	logs      map[record.TopicPartition][]record.Stored
	starts    map[record.TopicPartition]int64
	perFetch  int // records of a partition in one fetch; 0: all
	hangs     bool
	refuse    map[record.TopicPartition]error
	err       error // of every fetch as a whole
	room      int   // results that may be held at once; 0: any number
	slow      time.Duration
	unsure    error // of every question for an offset
	written   chan struct{}
	fetches   int
	unrelease int // results not given back
}

func newLog() *fakeLog {
	return &fakeLog{
		logs: map[record.TopicPartition][]record.Stored{}, starts: map[record.TopicPartition]int64{}, refuse: map[record.TopicPartition]error{},
		written: make(chan struct{}),
	}
}

// write appends values, with the given offsets left out before each if there are any.
func (l *fakeLog) write(p record.TopicPartition, values ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, v := range values {
		l.logs[p] = append(l.logs[p], record.Stored{Offset: l.endLocked(p), Value: []byte(v)})
	}
	close(l.written)
	l.written = make(chan struct{})
}

func (l *fakeLog) hang(hangs bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hangs = hangs
}

// remove takes records out, as compaction does.
func (l *fakeLog) remove(p record.TopicPartition, offsets ...int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.logs[p] = slices.DeleteFunc(slices.Clone(l.logs[p]), func(s record.Stored) bool { return slices.Contains(offsets, s.Offset) })
}

// retain moves the start of the log.
func (l *fakeLog) retain(p record.TopicPartition, start int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.starts[p] = start
	l.logs[p] = slices.DeleteFunc(slices.Clone(l.logs[p]), func(s record.Stored) bool { return s.Offset < start })
}

func (l *fakeLog) endLocked(p record.TopicPartition) int64 {
	if log := l.logs[p]; len(log) > 0 {
		return log[len(log)-1].Offset + 1
	}
	return l.starts[p]
}

func (l *fakeLog) Fetch(ctx context.Context, positions []record.Position, options reader.Options) ([]reader.Result, func(), error) {
	timer := time.NewTimer(options.Wait)
	defer timer.Stop()
	for {
		l.mu.Lock()
		l.fetches++
		written, hangs, err, slow := l.written, l.hangs, l.err, l.slow
		full := l.room > 0 && l.unrelease >= l.room
		var results []reader.Result
		found := false
		for _, at := range positions {
			result := l.resultLocked(at)
			found = found || result.Err != nil || len(result.Records) > 0
			results = append(results, result)
		}
		l.mu.Unlock()
		if hangs {
			<-ctx.Done()
			return nil, func() {}, fault.From(ctx.Err())
		}
		if err != nil {
			return nil, func() {}, err
		}
		time.Sleep(slow)
		if full {
			<-timer.C
			return nil, func() {}, fault.New(fault.Overloaded, "There is no room.")
		}
		give := func() ([]reader.Result, func(), error) {
			l.mu.Lock()
			l.unrelease++
			l.mu.Unlock()
			return results, sync.OnceFunc(func() {
				l.mu.Lock()
				l.unrelease--
				l.mu.Unlock()
			}), nil
		}
		if found {
			return give()
		}
		select {
		case <-written:
		case <-timer.C:
			return give()
		case <-ctx.Done():
			return nil, func() {}, fault.From(ctx.Err())
		}
	}
}

func (l *fakeLog) resultLocked(at record.Position) reader.Result {
	p := record.TopicPartition{Topic: at.Topic, Partition: at.Partition}
	end := l.endLocked(p)
	result := reader.Result{Range: record.Range{TopicPartition: p, Start: at.Offset, End: at.Offset}, LogStart: l.starts[p], HighWatermark: end, Readable: end}
	if err := l.refuse[p]; err != nil {
		result.Err = err
		return result
	}
	if _, known := l.logs[p]; !known {
		result.Err = fault.New(fault.UnknownTopic, "This server does not host this topic-partition.")
		return result
	}
	if at.Offset < l.starts[p] || at.Offset > end {
		result.Err = fault.New(fault.OffsetOutOfRange, "out of range")
		return result
	}
	for _, s := range l.logs[p] {
		if s.Offset >= at.Offset && (l.perFetch == 0 || len(result.Records) < l.perFetch) {
			result.Records = append(result.Records, s)
			result.End = s.Offset + 1
		}
	}
	if l.perFetch == 0 {
		result.End = end
	}
	return result
}

func (l *fakeLog) Offsets(_ context.Context, questions []reader.At, _ bool) ([]reader.Offset, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	answers := make([]reader.Offset, len(questions))
	for n, q := range questions {
		answers[n] = reader.Offset{TopicPartition: q.TopicPartition, Offset: -1}
		switch q.At {
		case reader.Earliest:
			answers[n].Offset = l.starts[q.TopicPartition]
		case reader.Latest:
			answers[n].Offset = l.endLocked(q.TopicPartition)
		}
		if answers[n].Err = l.unsure; l.unsure != nil {
			continue
		}
		if _, known := l.logs[q.TopicPartition]; !known {
			answers[n].Err = fault.New(fault.UnknownTopic, "This server does not host this topic-partition.")
		}
	}
	return answers, nil
}

// fakeGroup is a coordinator with a single member, to which it gives what it is told to. It is groups, link and catalog in one.
type fakeGroup struct {
	mu         sync.Mutex
	generation int32
	gives      []record.TopicPartition
	rebalances bool             // the next heartbeat says so
	fail       map[string]error // of the calls of a name, until it is taken out
	hang       map[string]bool
	slow       map[string]time.Duration
	offsets    map[record.TopicPartition]int64
	calls      map[string][]time.Time
	listed     []string
	members    int
}

func newGroup(gives ...record.TopicPartition) *fakeGroup {
	return &fakeGroup{gives: gives, fail: map[string]error{}, hang: map[string]bool{}, slow: map[string]time.Duration{}, offsets: map[record.TopicPartition]int64{}, calls: map[string][]time.Time{}}
}

// set changes it.
func (g *fakeGroup) set(change func(g *fakeGroup)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(g)
}

// commits is what is committed.
func (g *fakeGroup) commits() map[record.TopicPartition]int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.offsets)
}

func (g *fakeGroup) called(name string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.calls[name])
}

func (g *fakeGroup) enter(ctx context.Context, name string) error {
	g.mu.Lock()
	g.calls[name] = append(g.calls[name], time.Now())
	hang, slow, err := g.hang[name], g.slow[name], g.fail[name]
	g.mu.Unlock()
	time.Sleep(slow)
	if hang {
		<-ctx.Done()
		return fault.Wrap(fault.BrokerNotAvailable, ctx.Err(), "The broker is not available.")
	}
	return err
}

func (g *fakeGroup) connect(ctx context.Context, _ string) (link, error) {
	return g, g.enter(ctx, "connect")
}
func (g *fakeGroup) coordinator(ctx context.Context, _ string) (int32, error) {
	return 0, g.enter(ctx, "coordinator")
}
func (g *fakeGroup) givesIDs() bool       { return true }
func (g *fakeGroup) forget(string, int32) {}
func (g *fakeGroup) node() int32          { return 0 }
func (g *fakeGroup) close()               {}

func (g *fakeGroup) commit(ctx context.Context, _ string, as membership, offsets []Committed) error {
	if err := g.enter(ctx, "commit"); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if as.generation >= 0 && as.generation != g.generation {
		return sarama.ErrIllegalGeneration
	}
	for _, o := range offsets {
		g.offsets[o.TopicPartition] = o.Offset
	}
	return nil
}

func (g *fakeGroup) committed(ctx context.Context, _ string, partitions []record.TopicPartition, _ bool) ([]Committed, error) {
	if err := g.enter(ctx, "committed"); err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	var found []Committed
	for _, p := range partitions {
		if offset, ok := g.offsets[p]; ok {
			found = append(found, Committed{TopicPartition: p, Offset: offset})
		}
	}
	return found, nil
}

func (g *fakeGroup) leave(ctx context.Context, _, _ string) error {
	if err := g.enter(ctx, "leave"); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.members--
	return nil
}

func (g *fakeGroup) join(ctx context.Context, r joinRequest) (joinAnswer, error) {
	if err := g.enter(ctx, "join"); err != nil {
		return joinAnswer{}, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.member == "" {
		g.members++
		return joinAnswer{as: membership{id: "member", generation: -1}}, sarama.ErrMemberIdRequired
	}
	g.generation++
	g.rebalances = false
	return joinAnswer{as: membership{id: r.member, generation: g.generation}, protocol: "range"}, nil
}

func (g *fakeGroup) sync(ctx context.Context, _ string, _ membership, _ string, _ sarama.BalanceStrategyPlan) ([]record.TopicPartition, error) {
	if err := g.enter(ctx, "sync"); err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.gives), nil
}

func (g *fakeGroup) heartbeat(ctx context.Context, _ string, as membership) error {
	if err := g.enter(ctx, "heartbeat"); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.rebalances:
		return sarama.ErrRebalanceInProgress
	case as.generation != g.generation:
		return sarama.ErrIllegalGeneration
	}
	return nil
}

func (g *fakeGroup) counts(context.Context, []string) map[string]int { return map[string]int{} }
func (g *fakeGroup) peek([]string, time.Duration) map[string]int     { return map[string]int{} }
func (g *fakeGroup) denied(ctx context.Context, topic string) error  { return g.enter(ctx, "denied") }
func (g *fakeGroup) list(ctx context.Context) ([]string, error) {
	err := g.enter(ctx, "list")
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.listed, err
}

// lines is a log.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, string(line))
	return len(line), nil
}

// count is how many lines have all of the words.
func (l *lines) count(words ...string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, line := range l.all {
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) }) {
			n++
		}
	}
	return n
}

// fakeRig is instances on fakes, for a synctest bubble.
type fakeRig struct {
	*Consumers
	log   *fakeLog
	group *fakeGroup
	said  *lines // from Info on
	end   func() // before the bubble ends
}

func newFakeRig(t *testing.T, change func(*config.Consume), gives ...record.TopicPartition) *fakeRig {
	t.Helper()
	settings := consumeSettings()
	settings.HeartbeatInterval, settings.SessionTimeout, settings.AutoCommitInterval = 500*time.Millisecond, 10*time.Second, 5*time.Second
	settings.InstanceTimeout, settings.PatternRefresh = 5*time.Minute, 5*time.Second
	if change != nil {
		change(&settings)
	}
	log, group := newLog(), newGroup(gives...)
	said := &lines{}
	for _, p := range gives {
		log.write(p)
		log.logs[p] = []record.Stored{}
	}
	r := &fakeRig{log: log, group: group, said: said}
	r.Consumers = newConsumers(t.Context(), log, group, group, settings, slog.New(slog.NewTextHandler(said, nil)))
	r.end = func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if log.unrelease != 0 {
			t.Errorf("%d results were not given back", log.unrelease)
		}
	}
	return r
}

// subscribed makes an instance and has it settle.
func (r *fakeRig) subscribed(t *testing.T, name string, options Options) *Instance {
	t.Helper()
	i, err := r.Create(Key{"owner", "g", name}, options)
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Subscribe([]string{"a"}); err != nil {
		t.Fatal(err)
	}
	return i
}
