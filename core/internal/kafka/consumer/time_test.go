package consumer

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/go-cmp/cmp"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/fault"
)

// inBubble runs a test on fakes in which time passes when everybody waits.
func inBubble(t *testing.T, change func(*config.Consume), test func(t *testing.T, r *fakeRig)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newFakeRig(t, change, at("a", 0), at("a", 1))
		defer r.end()
		test(t, r)
	})
}

func TestHeartbeatsKeepTheirInterval(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *fakeRig) {
		i := r.subscribed(t, "i", earliest)
		if got := r.group.called("join"); got != 0 {
			t.Fatalf("it joined before the first read")
		}
		readOnce(t, i, PollOptions{Wait: time.Second})
		before := r.group.called("heartbeat")
		time.Sleep(time.Minute)
		if got := r.group.called("heartbeat") - before; got < 119 || got > 121 {
			t.Errorf("%d heartbeats in a minute, want 120", got)
		}
		if got := r.group.called("join"); got != 2 {
			t.Errorf("%d JoinGroups, want the two of the first", got)
		}
	})
}

func TestIdleInstancesExpireTogether(t *testing.T) {
	inBubble(t, func(s *config.Consume) { s.InstanceTimeout = 10 * time.Second }, func(t *testing.T, r *fakeRig) {
		for _, name := range []string{"1", "2", "3"} {
			readOnce(t, r.subscribed(t, name, earliest), PollOptions{Wait: time.Second})
		}
		used := r.subscribed(t, "used", earliest)
		open, err := used.Poll(t.Context(), PollOptions{Wait: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if got := r.Instances(); got != 1 {
			t.Errorf("%d instances after the timeout, want the one whose answer is still being written", got)
		}
		if got := r.group.called("leave"); got != 3 {
			t.Errorf("%d left the group, want 3", got)
		}
		open.Done(true)
		time.Sleep(9 * time.Second)
		if _, err := r.Get(used.key); err != nil {
			t.Errorf("nine seconds after its last call: %v", err)
		}
		time.Sleep(9 * time.Second)
		if got := r.Instances(); got != 1 {
			t.Errorf("Get did not begin its idle time anew")
		}
		time.Sleep(3 * time.Second)
		if _, err := r.Get(used.key); code(err) != fault.InstanceNotFound {
			t.Errorf("after its timeout: %v", err)
		}
		if _, err := used.Poll(t.Context(), PollOptions{}); code(err) != fault.InstanceNotFound {
			t.Errorf("a read of an expired instance: %v", err)
		}
	})
}

func TestASilentCoordinatorCostsThePartitions(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *fakeRig) {
		i := r.subscribed(t, "i", earliest)
		readOnce(t, i, PollOptions{Wait: time.Second})
		r.group.set(func(g *fakeGroup) { g.hang["heartbeat"], g.hang["join"] = true, true })
		time.Sleep(9 * time.Second)
		if got := len(i.Assignment()); got != 2 {
			t.Errorf("before the session timeout it holds %d partitions, want 2", got)
		}
		time.Sleep(10 * time.Second)
		if got := len(i.Assignment()); got != 0 {
			t.Errorf("after the session timeout it holds %d partitions", got)
		}
		began := time.Now()
		batch, err := i.Poll(t.Context(), PollOptions{Wait: 2 * time.Second})
		if took := time.Since(began); took > 2500*time.Millisecond {
			t.Errorf("the read took %v", took)
		}
		if err != nil || batch.State != Rebalancing {
			t.Errorf("the read: %+v, %v", batch, err)
		}
		if err == nil {
			batch.Done(true)
		}
		r.group.set(func(g *fakeGroup) { clear(g.hang) })
		r.log.write(at("a", 0), "0")
		if diff := cmp.Diff(expect("a", 0, 0, 1), readUntilTimeless(t, i, 1)); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
	})
}

// readUntilTimeless is readUntil for a bubble.
func readUntilTimeless(t *testing.T, i *Instance, count int) []string {
	t.Helper()
	var all []string
	for range 4000 {
		if len(all) >= count {
			return all
		}
		batch, err := i.Poll(t.Context(), PollOptions{Wait: time.Second, MinBytes: 1})
		if err != nil {
			continue
		}
		all = append(all, shown(batch)...)
		batch.Done(true)
	}
	t.Fatalf("%d of %d records", len(all), count)
	return nil
}

func TestReadsEndInTimeWhateverHangs(t *testing.T) {
	for _, name := range []string{"connect", "join", "sync", "heartbeat", "committed", "commit", "fetch"} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(s *config.Consume) { s.AutoCommitInterval = 0 }, func(t *testing.T, r *fakeRig) {
				r.log.write(at("a", 0), numbered(0, 10)...)
				i := r.subscribed(t, "i", earliest)
				if name == "heartbeat" || name == "commit" {
					readOnce(t, i, PollOptions{Wait: time.Second, MaxBytes: 2})
				}
				r.group.set(func(g *fakeGroup) { g.hang[name] = true })
				r.log.hang(name == "fetch")
				for _, wait := range []time.Duration{0, time.Millisecond, time.Second, 20 * time.Second, 40 * time.Second} {
					began := time.Now()
					batch, err := i.Poll(t.Context(), PollOptions{Wait: wait, MinBytes: -1})
					if took := time.Since(began); took > wait+500*time.Millisecond {
						t.Errorf("a read with a wait of %v took %v", wait, took)
					}
					if err == nil {
						batch.Done(false)
					} else if c := code(err); c != fault.BrokerNotAvailable {
						t.Errorf("with a wait of %v: %v", wait, err)
					}
				}
				r.group.set(func(g *fakeGroup) { clear(g.hang) })
				r.log.hang(false)
				readUntilTimeless(t, i, 8)
			})
		})
	}
}

func TestACommitIsMadeAtMostOncePerInterval(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *fakeRig) {
		i := r.subscribed(t, "i", earliest)
		for n := range 100 {
			r.log.write(at("a", 0), "x")
			if got := readOnce(t, i, PollOptions{Wait: 10 * time.Second, MinBytes: 1}); len(got) != 1 {
				t.Fatalf("read %d gave %v", n, got)
			}
			time.Sleep(500 * time.Millisecond)
		}
		if got := r.group.called("commit"); got < 9 || got > 10 {
			t.Errorf("%d commits in 50 s with an interval of 5 s", got)
		}
		if err := r.Delete(t.Context(), i.key); err != nil {
			t.Fatal(err)
		}
		if got := r.group.commits()[at("a", 0)]; got != 100 {
			t.Errorf("committed %d, want 100: deleting commits the rest", got)
		}
	})
}

func TestWithoutAutoCommitNothingIsCommitted(t *testing.T) {
	inBubble(t, func(s *config.Consume) { s.AutoCommitInterval = 0 }, func(t *testing.T, r *fakeRig) {
		i := r.subscribed(t, "i", Options{AutoOffsetReset: "earliest"})
		r.log.write(at("a", 0), numbered(0, 3)...)
		readUntilTimeless(t, i, 3)
		readOnce(t, i, PollOptions{})
		r.group.set(func(g *fakeGroup) { g.rebalances = true })
		time.Sleep(2 * time.Second)
		if got := r.group.called("commit"); got != 0 {
			t.Errorf("%d commits", got)
		}
		if err := i.Commit(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if got := r.group.commits()[at("a", 0)]; got != 3 {
			t.Errorf("committed %d, want what was delivered, 3", got)
		}
	})
}

func TestARebalanceKeepsPositionsOnlyFromOneGenerationToTheNext(t *testing.T) {
	for name, test := range map[string]struct {
		missed int32
		want   int
	}{"the next generation": {0, 5}, "a generation was missed": {1, 0}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, r *fakeRig) {
				r.log.write(at("a", 0), numbered(0, 10)...)
				i := r.subscribed(t, "i", Options{AutoOffsetReset: "earliest"})
				if got := len(readOnce(t, i, PollOptions{Wait: time.Second, MaxBytes: 6})); got != 5 {
					t.Fatalf("the first read gave %d records", got)
				}
				r.group.set(func(g *fakeGroup) {
					g.rebalances = true
					g.generation += test.missed
				})
				time.Sleep(2 * time.Second)
				if diff := cmp.Diff(expect("a", 0, test.want, 10), readUntilTimeless(t, i, 10-test.want)); diff != "" {
					t.Errorf("records (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestARefusalOfTheGroupReachesTheRead(t *testing.T) {
	denied := fault.Wrap(fault.PermissionDenied, sarama.ErrGroupAuthorizationFailed, "Not authorized to access group: g")
	for _, name := range []string{"connect", "join", "sync", "committed"} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, r *fakeRig) {
				r.group.set(func(g *fakeGroup) { g.fail[name] = denied })
				i := r.subscribed(t, "i", earliest)
				for range 3 {
					began := time.Now()
					if _, err := i.Poll(t.Context(), PollOptions{Wait: time.Minute}); code(err) != fault.PermissionDenied {
						t.Fatalf("the read: %v", err)
					}
					if took := time.Since(began); took > time.Second {
						t.Errorf("it took %v to be told", took)
					}
				}
				joins := r.group.called("connect") + r.group.called("join")
				time.Sleep(time.Hour / 60)
				if name != "committed" && r.group.called("connect")+r.group.called("join") != joins {
					t.Errorf("it goes on asking while nobody reads")
				}
				r.group.set(func(g *fakeGroup) { clear(g.fail) })
				r.log.write(at("a", 0), "0")
				if got := readOnce(t, i, PollOptions{Wait: time.Second, MinBytes: 1}); len(got) != 1 {
					t.Errorf("when it is allowed: %v", got)
				}
			})
		})
	}
	t.Run("heartbeat", func(t *testing.T) {
		inBubble(t, nil, func(t *testing.T, r *fakeRig) {
			i := r.subscribed(t, "i", earliest)
			readOnce(t, i, PollOptions{Wait: time.Second})
			r.group.set(func(g *fakeGroup) { g.fail["heartbeat"] = denied })
			time.Sleep(time.Second)
			if _, err := i.Poll(t.Context(), PollOptions{Wait: time.Minute}); code(err) != fault.PermissionDenied {
				t.Fatalf("the read after it: %v", err)
			}
			if batch, err := i.Poll(t.Context(), PollOptions{Wait: 100 * time.Millisecond}); err != nil {
				t.Errorf("the one after that joins again: %v", err)
			} else {
				batch.Done(true)
			}
		})
	})
}

func TestReadsTakeTurns(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *fakeRig) {
		r.log.write(at("a", 0), numbered(0, 10)...)
		i := r.subscribed(t, "i", earliest)
		first, err := i.Poll(t.Context(), PollOptions{Wait: time.Second, MaxBytes: 6})
		if err != nil || len(first.Ranges) != 1 {
			t.Fatalf("%+v, %v", first, err)
		}
		began := time.Now()
		second, err := i.Poll(t.Context(), PollOptions{Wait: 3 * time.Second})
		if err != nil || len(second.Ranges) != 0 || time.Since(began) != 3*time.Second {
			t.Errorf("while the first is written: %+v, %v after %v", second, err, time.Since(began))
		}
		second.Done(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := i.Poll(ctx, PollOptions{Wait: 3 * time.Second}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("when its client goes: %v", err)
		}
		go func() {
			time.Sleep(time.Second)
			first.Done(true)
		}()
		if diff := cmp.Diff(expect("a", 0, 5, 10), readOnce(t, i, PollOptions{Wait: 3 * time.Second, MinBytes: 1})); diff != "" {
			t.Errorf("the next (-want +got):\n%s", diff)
		}
	})
}
