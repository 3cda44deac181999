package consumer

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/embedded"
	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/record"
)

func TestARebalanceKeepsPositions(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a", Partitions: 2}}}, nil)
	r.produce("a", 0, numbered(0, 20)...)
	r.produce("a", 1, numbered(0, 20)...)
	options := Options{AutoOffsetReset: "earliest"} // nothing is committed: what is not kept begins anew
	one := r.subscribed("g", "1", options, "a")
	readUntil(t, one, PollOptions{Wait: time.Second, MinBytes: 1}, 40)
	two := r.subscribed("g", "2", options, "a")
	settle(t, two, 1)
	settle(t, one, 1)
	if got := readOnce(t, one, PollOptions{Wait: 300 * time.Millisecond, MinBytes: 1}); len(got) != 0 {
		t.Errorf("what it had kept it was given again: %v", got)
	}
	if got := len(readUntil(t, two, PollOptions{Wait: time.Second, MinBytes: 1}, 20)); got != 20 {
		t.Errorf("what was never committed begins anew: %d records", got)
	}
	kept := one.Assignment()[0]
	r.delete(two)
	settle(t, one, 2)
	again := readUntil(t, one, PollOptions{Wait: time.Second, MinBytes: 1}, 20)
	if diff := cmp.Diff(expect("a", 1-kept.Partition, 0, 20), again); diff != "" {
		t.Errorf("what comes back begins at what is committed (-want +got):\n%s", diff)
	}
}

func TestARebalanceWaitsForNoAnswer(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a", Partitions: 2}}}, nil)
	r.produce("a", 0, numbered(0, 5)...)
	r.produce("a", 1, numbered(0, 5)...)
	one := r.subscribed("g", "1", Options{AutoOffsetReset: "earliest"}, "a")
	settle(t, one, 2)
	open, err := poll(t, one, PollOptions{Wait: time.Second, MinBytes: 1})
	if err != nil || len(open.Ranges) != 2 {
		t.Fatalf("%+v, %v", open, err)
	}
	two := r.subscribed("g", "2", Options{AutoOffsetReset: "earliest"}, "a")
	settle(t, two, 1)
	eventually(t, "the first has one partition less", func() bool { return len(one.Assignment()) == 1 })
	open.Done(true)
	taken := two.Assignment()[0]
	err = one.Commit(t.Context(), []Committed{{TopicPartition: taken, Offset: 5}})
	if code(err) != fault.IllegalState {
		t.Errorf("a commit of what was taken away: %v", err)
	}
	if err := one.Commit(t.Context(), nil); err != nil {
		t.Errorf("a commit of what was delivered: %v", err)
	}
	want := map[record.TopicPartition]int64{one.Assignment()[0]: 5}
	if diff := cmp.Diff(want, r.committed(one, at("a", 0), at("a", 1))); diff != "" {
		t.Errorf("committed (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(expect("a", taken.Partition, 0, 5), readUntil(t, two, PollOptions{Wait: time.Second, MinBytes: 1}, 5)); diff != "" {
		t.Errorf("the new owner (-want +got):\n%s", diff)
	}
}

// TestACommitWaitsForTheRebalance commits while the group cannot settle, because one of its members does not join.
func TestACommitWaitsForTheRebalance(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a", Partitions: 1}}}, nil)
	r.produce("a", 0, numbered(0, 5)...)
	one := r.subscribed("g", "1", Options{AutoOffsetReset: "earliest"}, "a")
	readUntil(t, one, PollOptions{Wait: time.Second, MinBytes: 1}, 5)
	resume := r.broker.Hang("SyncGroup", embedded.AnyNode, 0)
	two := r.subscribed("g", "2", Options{AutoOffsetReset: "earliest"}, "a")
	if batch, err := poll(t, two, PollOptions{Wait: 300 * time.Millisecond}); err != nil || batch.State != Rebalancing {
		t.Errorf("a read meanwhile: %+v, %v", batch, err)
	} else {
		batch.Done(true)
	}
	eventually(t, "the first has heard of it", func() bool {
		one.mu.Lock()
		defer one.mu.Unlock()
		return one.member.state == joining
	})
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := one.Commit(short, []Committed{{TopicPartition: at("a", 0), Offset: 5}}); code(err) != fault.KafkaRetriable {
		t.Errorf("a commit that cannot wait: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- one.Commit(t.Context(), []Committed{{TopicPartition: at("a", 0), Offset: 5}}) }()
	resume()
	err := <-done
	holds := len(one.Assignment()) == 1
	if holds && err != nil || !holds && code(err) != fault.IllegalState {
		t.Errorf("after the rebalance, in which it kept the partition: %v, the commit: %v", holds, err)
	}
}

// checker holds that a group is given every record, and that nothing before a committed offset was never given.
type checker struct {
	mu        sync.Mutex
	given     map[record.TopicPartition]map[int64]int
	committed map[record.TopicPartition]int64
	total     int
}

func (c *checker) take(batch *Batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range batch.Ranges {
		offsets := c.given[r.TopicPartition]
		if offsets == nil {
			offsets = map[int64]int{}
			c.given[r.TopicPartition] = offsets
		}
		for _, s := range r.Records {
			offsets[s.Offset]++
			c.total++
		}
	}
}

func (c *checker) distinct() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, offsets := range c.given {
		n += len(offsets)
	}
	return n
}

func (c *checker) check(t *testing.T, committed map[record.TopicPartition]int64) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for p, offset := range committed {
		if offset < c.committed[p] {
			t.Errorf("the committed offset of %v went from %d back to %d", p, c.committed[p], offset)
		}
		for o := c.committed[p]; o < offset; o++ {
			if c.given[p][o] == 0 {
				t.Errorf("offset %d of %v is committed and was never given", o, p)
			}
		}
		c.committed[p] = offset
	}
}

// TestMembersThatComeAndGo has members of three gateways join and leave all the time while records come: with reads that are not
// written to their end, commits of both kinds, and acknowledged reads.
func TestMembersThatComeAndGo(t *testing.T) {
	t.Parallel()
	broker, err := embedded.Start(embedded.Options{Brokers: 2, Topics: []embedded.Topic{{Name: "a", Partitions: 6}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	storm{
		addresses: broker.Addresses(), partitions: 6, each: 1500, members: 8, shortest: 500 * time.Millisecond, longest: 4500 * time.Millisecond,
		patience: time.Minute, careful: true,
	}.run(t)
}

// storm is members of one group that come and go.
type storm struct {
	addresses         []string
	partitions, each  int // of topic a, and how many records each is given
	members           int
	shortest, longest time.Duration // lives of a member
	pace              time.Duration // between 50 records of a partition
	patience          time.Duration // for it all
	// careful members do not leave while they wait for their assignment. The embedded broker miscounts its members when one does, and
	// then does not settle as long as others come and go.
	careful bool
	change  func(*config.Consume)
}

func (s storm) run(t *testing.T) {
	t.Helper()
	var rigs []*rig
	for range 3 {
		rigs = append(rigs, rigOn(t, s.addresses, s.change, nil))
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var producing, running sync.WaitGroup
	for p := range int32(s.partitions) {
		producing.Go(func() {
			for n := 0; n < s.each && ctx.Err() == nil; n += 50 {
				rigs[0].produce("a", p, numbered(n, n+50)...)
				pause(ctx, s.pace)
			}
		})
	}
	check := &checker{given: map[record.TopicPartition]map[int64]int{}, committed: map[record.TopicPartition]int64{}}
	for n := range s.members {
		running.Go(func() { s.comeAndGo(ctx, t, rigs[n%len(rigs)], n, check) })
	}
	watcher := rigs[0].create("g", "watcher", Options{})
	var all []record.TopicPartition
	for p := range int32(s.partitions) {
		all = append(all, at("a", p))
	}
	deadline := time.Now().Add(s.patience)
	for check.distinct() < s.partitions*s.each && time.Now().Before(deadline) {
		check.check(t, rigs[0].committed(watcher, all...))
		time.Sleep(50 * time.Millisecond)
	}
	stop()
	producing.Wait()
	running.Wait()
	if got := check.distinct(); got != s.partitions*s.each {
		t.Errorf("%d of %d records were given", got, s.partitions*s.each)
	}
	check.check(t, rigs[0].committed(watcher, all...))
	t.Logf("%d given, %.1f %% of them again; %d assignments", check.total, 100-100*float64(check.distinct())/float64(check.total),
		rigs[0].consumers.Stats().Rebalances+rigs[1].consumers.Stats().Rebalances+rigs[2].consumers.Stats().Rebalances)
}

// comeAndGo is a client that makes instances one after the other.
func (s storm) comeAndGo(ctx context.Context, t *testing.T, r *rig, n int, check *checker) {
	random := rand.New(rand.NewPCG(uint64(n), 1))
	for life := 0; ctx.Err() == nil; life++ {
		options := earliest
		options.AutoCommit = random.IntN(2) == 0
		i, err := r.consumers.Create(Key{"owner", "g", fmt.Sprintf("%d-%d", n, life)}, options)
		if err != nil {
			t.Error(err)
			return
		}
		if err := i.Subscribe([]string{"a"}); err != nil {
			t.Error(err)
		}
		live(ctx, t, i, random, check, time.Now().Add(s.shortest+time.Duration(random.Int64N(int64(s.longest-s.shortest)))))
		if s.careful {
			eventually(t, "it may leave", func() bool {
				i.mu.Lock()
				defer i.mu.Unlock()
				return i.member == nil || i.member.state == stable
			})
		}
		if err := r.consumers.Delete(ctx, i.key); err != nil {
			t.Error(err)
		}
	}
}

func live(ctx context.Context, t *testing.T, i *Instance, random *rand.Rand, check *checker, until time.Time) {
	withAck, token := random.IntN(2) == 0, ""
	for ctx.Err() == nil && time.Now().Before(until) {
		options := PollOptions{Wait: time.Duration(random.IntN(300)) * time.Millisecond, MinBytes: 1, MaxBytes: 10 + random.IntN(500)}
		if withAck {
			options.Ack = &token
		}
		began := time.Now()
		batch, err := i.Poll(ctx, options)
		if took := time.Since(began); took > options.Wait+500*time.Millisecond+slack {
			t.Errorf("a read with a wait of %v took %v", options.Wait, took)
		}
		if err != nil {
			if c := code(err); c != fault.IllegalState && ctx.Err() == nil { // what was to be given again was taken away
				t.Errorf("read: %v", err)
			}
			continue
		}
		written := random.IntN(4) > 0
		if written {
			check.take(batch)
			if batch.Token != "" {
				token = batch.Token
			}
		}
		batch.Done(written)
		if !i.options.AutoCommit && random.IntN(3) == 0 {
			if err := i.Commit(ctx, nil); err != nil && ctx.Err() == nil && code(err) != fault.IllegalState && code(err) != fault.KafkaRetriable {
				t.Errorf("commit: %v", err)
			}
		}
	}
}

func TestNewPartitionsAndTopicsAreFound(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}, {Name: "other"}}}, nil)
	i := r.subscribed("g", "i", earliest, "a", "later")
	settle(t, i, 1)
	if err := r.broker.CreateTopic(embedded.Topic{Name: "later", Partitions: 2}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the topic that was made later is assigned", func() bool { return len(i.Assignment()) == 3 })
	r.addPartitions("a", 3)
	eventually(t, "the partitions that were added are assigned", func() bool { return len(i.Assignment()) == 5 })
	r.produce("a", 2, "0")
	if got := readUntil(t, i, PollOptions{Wait: time.Second, MinBytes: 1}, 1); !slices.Equal(got, expect("a", 2, 0, 1)) {
		t.Errorf("read %v", got)
	}
}

func TestAPatternFollowsTopics(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a-1"}, {Name: "b-1"}, {Name: "xa-1"}, {Name: "a-secret"}}}, nil)
	one, two := r.create("g", "1", earliest), r.create("g", "2", earliest)
	for _, i := range []*Instance{one, two} {
		if err := i.SubscribePattern("a-.*", func(topic string) bool { return topic != "a-secret" }); err != nil {
			t.Fatal(err)
		}
	}
	held := func() []string {
		names := map[string]bool{}
		for _, p := range append(one.Assignment(), two.Assignment()...) {
			names[p.Topic] = true
		}
		return slices.Sorted(maps.Keys(names))
	}
	settle(t, one, -1)
	settle(t, two, -1)
	eventually(t, "the topic that matches is held", func() bool { return slices.Equal(held(), []string{"a-1"}) })
	for _, name := range []string{"a-2", "b-2"} {
		if err := r.broker.CreateTopic(embedded.Topic{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the new topic is held", func() bool { return slices.Equal(held(), []string{"a-1", "a-2"}) })
	if diff := cmp.Diff([]string{"a-1", "a-2"}, one.Subscription()); diff != "" {
		t.Errorf("subscription (-want +got):\n%s", diff)
	}
	if err := r.broker.DeleteTopic("a-1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the deleted topic is not held", func() bool { return slices.Equal(held(), []string{"a-2"}) })
}

func TestManyMembersAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a", Partitions: 100}}}, nil)
	began := time.Now()
	var settling sync.WaitGroup
	var all []*Instance
	for n := range 100 {
		i := r.subscribed("g", fmt.Sprint(n), earliest, "a")
		all = append(all, i)
		settling.Go(func() { settle(t, i, 1) })
	}
	settling.Wait()
	if took := time.Since(began); took > 10*time.Second+slack {
		t.Errorf("100 members took %v until each had a partition", took)
	}
	seen := map[record.TopicPartition]bool{}
	for _, i := range all {
		for _, p := range i.Assignment() {
			if seen[p] {
				t.Errorf("%v is held twice", p)
			}
			seen[p] = true
		}
	}
	if len(seen) != 100 {
		t.Errorf("%d of 100 partitions are held", len(seen))
	}
}
