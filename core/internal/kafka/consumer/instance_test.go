package consumer

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/embedded"
	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/record"
)

func TestCapsAndNames(t *testing.T) {
	inBubble(t, func(s *config.Consume) {
		s.MaxInstances, s.MaxInstancesPerGroup, s.MaxInstancesPerOwner = 5, 3, 4
	}, func(t *testing.T, r *fakeRig) {
		for _, test := range []struct {
			key  Key
			want fault.Code
			says string
		}{
			{Key{"o", "g", "1"}, 0, ""},
			{Key{"o", "g", "1"}, fault.InstanceExists, ""},
			{Key{"p", "g", "1"}, 0, ""}, // another caller's
			{Key{"o", "g", "2"}, 0, ""},
			{Key{"o", "g", "3"}, fault.TooManyInstances, "3 (consume.max_instances_per_group)"},
			{Key{"o", "h", "1"}, 0, ""},
			{Key{"o", "h", "2"}, 0, ""},
			{Key{"q", "i", "1"}, fault.TooManyInstances, "5 (consume.max_instances)"},
		} {
			_, err := r.Create(test.key, Options{})
			if code(err) != test.want || !strings.Contains(fmt.Sprint(err), test.says) {
				t.Errorf("%v: %v", test.key, err)
			}
		}
		if err := r.Delete(t.Context(), Key{"p", "g", "1"}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Create(Key{"o", "i", "1"}, Options{}); code(err) != fault.TooManyInstances || !strings.Contains(err.Error(), "4 (consume.max_instances_per_owner)") {
			t.Errorf("over the owner's cap: %v", err)
		}
		for _, key := range []Key{{"p", "g", "1"}, {"p", "g", "2"}, {"o", "x", "1"}} {
			if _, err := r.Get(key); code(err) != fault.InstanceNotFound {
				t.Errorf("get %v: %v", key, err)
			}
			if err := r.Delete(t.Context(), key); code(err) != fault.InstanceNotFound {
				t.Errorf("delete %v: %v", key, err)
			}
		}
		if got := r.Instances(); got != 4 {
			t.Errorf("%d instances", got)
		}
	})
}

func TestDeleteEndsAnOpenRead(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *fakeRig) {
		i := r.subscribed(t, "i", earliest)
		result := make(chan error)
		for range 2 { // one that reads and one that waits for its turn
			go func() {
				_, err := i.Poll(t.Context(), PollOptions{Wait: time.Hour})
				result <- err
			}()
		}
		time.Sleep(time.Minute)
		began := time.Now()
		if err := r.Delete(t.Context(), i.key); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := <-result; code(err) != fault.InstanceNotFound {
				t.Errorf("the read: %v", err)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v", took)
		}
		if got := r.group.called("leave"); got != 1 {
			t.Errorf("%d LeaveGroups", got)
		}
	})
}

func TestStopEndsTheWait(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *fakeRig) {
		i := r.subscribed(t, "i", earliest)
		r.log.write(at("a", 0), "0")
		stop := make(chan struct{})
		go func() {
			time.Sleep(10 * time.Second)
			close(stop)
		}()
		began := time.Now()
		if got := readOnce(t, i, PollOptions{Wait: time.Hour, MinBytes: -1, Stop: stop}); len(got) != 1 || time.Since(began) != 10*time.Second {
			t.Errorf("read %v in %v", got, time.Since(began))
		}
		if got := readOnce(t, i, PollOptions{Wait: time.Hour, Stop: stop}); len(got) != 0 {
			t.Errorf("read %v", got)
		}
	})
}

func TestACloseLeavesEveryGroupAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a", Partitions: 8}}}, nil)
	r.produce("a", 0, numbered(0, 5)...)
	var all []*Instance
	for n := range 8 {
		all = append(all, r.subscribed("g", fmt.Sprint(n), earliest, "a"))
	}
	var settling sync.WaitGroup
	for _, i := range all {
		settling.Go(func() { settle(t, i, 1) })
	}
	settling.Wait()
	for _, i := range all {
		if got := i.Assignment()[0]; got.Partition == 0 {
			readUntil(t, i, PollOptions{Wait: time.Second, MinBytes: 1}, 5)
		}
	}
	open := make(chan error, 1)
	go func() {
		_, err := all[0].Poll(t.Context(), PollOptions{Wait: time.Minute, MinBytes: -1})
		open <- err
	}()
	eventually(t, "a read is open", func() bool { return r.consumers.Stats().Polls == 1 })
	other := rigOn(t, r.addresses, nil, nil)
	began := time.Now()
	if err := r.consumers.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-open; code(err) != fault.Unavailable {
		t.Errorf("the open read: %v", err)
	}
	if _, err := r.consumers.Create(Key{"o", "g", "n"}, Options{}); code(err) != fault.Unavailable {
		t.Errorf("create after Close: %v", err)
	}
	heir := other.subscribed("g", "heir", earliest, "a")
	settle(t, heir, 8)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %v until another member had the partitions", took)
	}
	if diff := cmp.Diff(map[record.TopicPartition]int64{at("a", 0): 5}, other.committed(heir, at("a", 0))); diff != "" {
		t.Errorf("committed (-want +got):\n%s", diff)
	}
}

func TestSubscriptionsExclude(t *testing.T) {
	inBubble(t, func(s *config.Consume) { s.PatternLength = 10 }, func(t *testing.T, r *fakeRig) {
		i, err := r.Create(Key{"o", "g", "i"}, earliest)
		if err != nil {
			t.Fatal(err)
		}
		ways := map[string]func() error{
			"topics":     func() error { return i.Subscribe([]string{"a"}) },
			"pattern":    func() error { return i.SubscribePattern("a", nil) },
			"assignment": func() error { return i.Assign([]record.TopicPartition{at("a", 0)}) },
		}
		for first, set := range ways {
			if err := set(); err != nil {
				t.Errorf("%s: %v", first, err)
			}
			for second, other := range ways {
				want := fault.IllegalState
				if first == second {
					want = 0
				}
				if err := other(); code(err) != want {
					t.Errorf("%s after %s: %v", second, first, err)
				}
			}
			if err := i.Unsubscribe(t.Context()); err != nil {
				t.Errorf("unsubscribe: %v", err)
			}
			if got := len(i.Assignment()) + len(i.Subscription()); got != 0 {
				t.Errorf("after Unsubscribe: %v, %v", i.Assignment(), i.Subscription())
			}
			if _, err := i.Poll(t.Context(), PollOptions{Wait: time.Hour}); code(err) != fault.IllegalState {
				t.Errorf("a read of nothing: %v", err)
			}
		}
		for pattern, want := range map[string]fault.Code{"a(": fault.Unprocessable, "a)(b": fault.Unprocessable, "(?=a)": fault.Unprocessable, "aaaaaaaaaaa": fault.Unprocessable, "a|b": 0} {
			if err := i.SubscribePattern(pattern, nil); code(err) != want {
				t.Errorf("pattern %q: %v", pattern, err)
			}
		}
	})
}

func TestSubscribingAnewReadsTheNewTopicsOnly(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}, {Name: "b"}}}, nil)
	r.produce("a", 0, numbered(0, 10)...)
	r.produce("b", 0, numbered(0, 10)...)
	i := r.subscribed("g", "i", earliest, "a")
	readUntil(t, i, PollOptions{Wait: time.Second, MinBytes: 1, MaxBytes: 5}, 4)
	if err := i.Subscribe([]string{"b"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(expect("b", 0, 0, 10), readUntil(t, i, PollOptions{Wait: 5 * time.Second, MinBytes: 1}, 10)); diff != "" {
		t.Errorf("after subscribing to b (-want +got):\n%s", diff)
	}
	if err := i.Subscribe([]string{"a", "b"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(expect("a", 0, 4, 10), readUntil(t, i, PollOptions{Wait: 5 * time.Second, MinBytes: 1}, 6)); diff != "" {
		t.Errorf("after subscribing to both (-want +got):\n%s", diff)
	}
	if err := i.Subscribe(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := i.Poll(t.Context(), PollOptions{}); code(err) != fault.IllegalState {
		t.Errorf("after subscribing to nothing: %v", err)
	}
}

func TestAssignedPartitions(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a", Partitions: 3}}}, nil)
	for p := range int32(3) {
		r.produce("a", p, numbered(0, 10)...)
	}
	i := r.create("g", "i", earliest)
	if err := i.Assign([]record.TopicPartition{at("a", 1), at("a", 0), at("a", 9), at("nowhere", 0)}); err != nil {
		t.Fatal(err)
	}
	got := readUntil(t, i, PollOptions{Wait: time.Second, MinBytes: 1}, 20)
	slices.Sort(got)
	if diff := cmp.Diff(append(expect("a", 0, 0, 10), expect("a", 1, 0, 10)...), got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if err := i.Assign([]record.TopicPartition{at("a", 1), at("a", 2)}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(expect("a", 2, 0, 10), readUntil(t, i, PollOptions{Wait: time.Second, MinBytes: 1}, 10)); diff != "" {
		t.Errorf("after assigning anew (-want +got):\n%s", diff)
	}
	r.delete(i)
	j := r.create("g", "j", earliest)
	if err := j.Assign([]record.TopicPartition{at("a", 1), at("a", 2)}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[record.TopicPartition]int64{at("a", 1): 10, at("a", 2): 10}, r.committed(j, at("a", 1), at("a", 2))); diff != "" {
		t.Errorf("committed (-want +got):\n%s", diff)
	}
	if batch, err := poll(t, j, PollOptions{Wait: 200 * time.Millisecond}); err != nil || batch.State != AtEnd {
		t.Errorf("from what is committed: %+v, %v", batch, err)
	} else {
		batch.Done(true)
	}
	if err := j.Assign([]record.TopicPartition{at("nowhere", 0)}); err != nil {
		t.Fatal(err)
	}
	if batch, err := poll(t, j, PollOptions{Wait: 200 * time.Millisecond}); err != nil || batch.State != NoPartitions {
		t.Errorf("of a topic that does not exist: %+v, %v", batch, err)
	} else {
		batch.Done(true)
	}
}

func TestAMemberWithoutPartitionsSaysSo(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}}, nil)
	one, two := r.subscribed("g", "1", earliest, "a"), r.subscribed("g", "2", earliest, "a")
	settle(t, one, 1)
	settle(t, two, -1)
	settle(t, one, -1)
	idle := two
	if len(one.Assignment()) == 0 {
		idle = one
	}
	began := time.Now()
	batch, err := poll(t, idle, PollOptions{Wait: 300 * time.Millisecond})
	if err != nil || batch.State != NoPartitions || time.Since(began) < 300*time.Millisecond {
		t.Errorf("%+v, %v after %v", batch, err, time.Since(began))
	}
	batch.Done(true)
}

// TestWhatIdleInstancesCost counts goroutines and memory of instances that have joined and are not read.
func TestWhatIdleInstancesCost(t *testing.T) {
	const count = 50
	const pooled = 8 // connections that the client and the reader keep for all for a while
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a", Partitions: 8}}}, func(s *config.Consume) { s.HeartbeatInterval = 500 * time.Millisecond })
	warm := r.subscribed("warm", "i", earliest, "a")
	settle(t, warm, 8)
	cost := func() (goroutines int, memory uint64) {
		for range 3 {
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return ours(t), m.HeapInuse + m.StackInuse
	}
	before, memory := cost()
	var all []*Instance
	for n := range count {
		i := r.subscribed(fmt.Sprintf("g%d", n), "i", earliest, "a")
		settle(t, i, 8)
		all = append(all, i)
	}
	eventually(t, "each has a goroutine at most", func() bool {
		after, _ := cost()
		return after-before <= count+pooled
	})
	_, after := cost()
	each := (int64(after) - int64(memory)) / count
	t.Logf("each: %d KiB of heap and stacks, the broker's side in this process included", each>>10)
	if each > 256<<10 {
		t.Errorf("an idle instance costs %d KiB", each>>10)
	}
	for _, i := range all {
		r.delete(i)
	}
	eventually(t, "nothing is left", func() bool {
		after, _ := cost()
		return after <= before+pooled
	})
}

// ours counts the goroutines of this side of the connections.
func ours(t *testing.T) int {
	t.Helper()
	buffer := make([]byte, 8<<20)
	buffer = buffer[:runtime.Stack(buffer, true)]
	count := 0
	for stack := range strings.SplitSeq(string(buffer), "\n\n") {
		if !strings.Contains(stack, "/kfake.") && !strings.Contains(stack, "internal/embedded.") && !strings.Contains(stack, "testing.(*T)") {
			count++
		}
	}
	return count
}

func TestCallsOfInstancesThatEnded(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *fakeRig) {
		i := r.subscribed(t, "i", earliest)
		readOnce(t, i, PollOptions{Wait: time.Second})
		if err := r.Delete(t.Context(), i.key); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for name, call := range map[string]func() error{
			"poll":        func() error { _, err := i.Poll(ctx, PollOptions{Wait: time.Second}); return err },
			"subscribe":   func() error { return i.Subscribe([]string{"a"}) },
			"pattern":     func() error { return i.SubscribePattern("a", nil) },
			"unsubscribe": func() error { return i.Unsubscribe(ctx) },
			"assign":      func() error { return i.Assign(nil) },
			"commit":      func() error { return i.Commit(ctx, nil) },
			"committed":   func() error { _, err := i.Committed(ctx, []record.TopicPartition{at("a", 0)}); return err },
			"seek":        func() error { return i.Seek(ctx, []Target{{TopicPartition: at("a", 0)}}) },
		} {
			if err := call(); code(err) != fault.InstanceNotFound {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}
