package consumer

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/record"
)

// TestWhatThePolicyDecidedStays loses a member's partitions before anything was delivered: where "latest" was at first is where it begins.
func TestWhatThePolicyDecidedStays(t *testing.T) {
	latest := Options{AutoOffsetReset: "latest", AutoCommit: true}
	t.Run("committed at once", func(t *testing.T) {
		inBubble(t, nil, func(t *testing.T, r *fakeRig) {
			r.log.write(at("a", 0), numbered(0, 10)...)
			i := r.subscribed(t, "i", latest)
			settleTimeless(t, i)
			if diff := cmp.Diff(map[record.TopicPartition]int64{at("a", 0): 10, at("a", 1): 0}, r.group.commits()); diff != "" {
				t.Errorf("committed (-want +got):\n%s", diff)
			}
			r.log.write(at("a", 0), numbered(10, 11)...)
			r.group.set(func(g *fakeGroup) { g.generation++ })
			time.Sleep(2 * time.Second)
			if diff := cmp.Diff(expect("a", 0, 10, 11), readUntilTimeless(t, i, 1)); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
		})
	})
	t.Run("a commit that hangs holds up nobody for long, and is made again", func(t *testing.T) {
		inBubble(t, nil, func(t *testing.T, r *fakeRig) {
			i := r.subscribed(t, "i", latest)
			r.group.set(func(g *fakeGroup) { g.hang["commit"] = true })
			began := time.Now()
			for {
				batch, err := i.Poll(t.Context(), PollOptions{Wait: 100 * time.Millisecond})
				if err != nil {
					t.Fatal(err)
				}
				batch.Done(true)
				if batch.State == AtEnd {
					break
				}
			}
			if took := time.Since(began); took > 1500*time.Millisecond {
				t.Errorf("it read after %v", took)
			}
			r.group.set(func(g *fakeGroup) { g.hang["commit"] = false })
			time.Sleep(6 * time.Second) // the one that hangs ends
			readOnce(t, i, PollOptions{Wait: 100 * time.Millisecond})
			time.Sleep(6 * time.Second)
			readOnce(t, i, PollOptions{Wait: 100 * time.Millisecond})
			synctest.Wait()
			if got := len(r.group.commits()); got != 2 {
				t.Errorf("%d partitions are committed", got)
			}
		})
	})
	t.Run("not without automatic commits", func(t *testing.T) {
		inBubble(t, nil, func(t *testing.T, r *fakeRig) {
			settleTimeless(t, r.subscribed(t, "i", Options{AutoOffsetReset: "latest"}))
			if got := r.group.called("commit"); got != 0 {
				t.Errorf("%d commits", got)
			}
		})
	})
}

// TestACommitWhileTheGroupGathers commits while a JoinGroup waits for other members.
func TestACommitWhileTheGroupGathers(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *fakeRig) {
		r.log.write(at("a", 0), numbered(0, 3)...)
		i := r.subscribed(t, "i", Options{AutoOffsetReset: "earliest"})
		readUntilTimeless(t, i, 3)
		r.group.set(func(g *fakeGroup) { g.rebalances, g.hang["join"] = true, true })
		time.Sleep(time.Second)
		began := time.Now()
		if err := i.Commit(t.Context(), nil); err != nil || time.Since(began) > 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if got := r.group.commits()[at("a", 0)]; got != 3 {
			t.Errorf("committed %d", got)
		}
	})
}

// TestACommitThatWaitsIsInNobodysWay commits while the group shares out partitions: who commits by itself need not wait for it.
func TestACommitThatWaitsIsInNobodysWay(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *fakeRig) {
		r.log.write(at("a", 0), numbered(0, 3)...)
		i := r.subscribed(t, "i", earliest)
		readUntilTimeless(t, i, 3)
		r.group.set(func(g *fakeGroup) { g.rebalances, g.hang["sync"] = true, true })
		time.Sleep(time.Second)
		done := make(chan error)
		go func() { done <- i.Commit(t.Context(), nil) }()
		synctest.Wait()
		if len(i.committing) != 0 {
			t.Error("it has the turn to commit while it waits")
		}
		r.group.set(func(g *fakeGroup) { clear(g.hang) })
		<-done
	})
}

func TestACommitBeforeARejoinThatIsGivenUpIsLogged(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *fakeRig) {
		r.log.write(at("a", 0), numbered(0, 3)...)
		i := r.subscribed(t, "i", earliest)
		readUntilTimeless(t, i, 3)
		r.group.set(func(g *fakeGroup) { g.hang["commit"] = true })
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		done := make(chan error)
		go func() { done <- i.Commit(ctx, nil) }()
		synctest.Wait()
		r.group.set(func(g *fakeGroup) { g.rebalances = true })
		time.Sleep(5 * time.Second)
		if got := r.said.count("could not commit"); got != 1 {
			t.Errorf("%d lines say so", got)
		}
		r.group.set(func(g *fakeGroup) { clear(g.hang) })
		<-done
	})
}

// TestACommitOfWhatWasTakenSaysSo commits what was delivered, of which a part belongs to somebody else by now.
func TestACommitOfWhatWasTakenSaysSo(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *fakeRig) {
		r.log.write(at("a", 0), numbered(0, 2)...)
		r.log.write(at("a", 1), numbered(0, 2)...)
		i := r.subscribed(t, "i", Options{AutoOffsetReset: "earliest"})
		readUntilTimeless(t, i, 4)
		r.group.set(func(g *fakeGroup) { g.rebalances, g.gives = true, g.gives[:1] })
		time.Sleep(2 * time.Second)
		if err := i.Commit(t.Context(), nil); code(err) != fault.IllegalState || fault.From(err).Message != fault.From(takenAway(at("a", 1))).Message {
			t.Errorf("the first: %v", err)
		}
		if err := i.Commit(t.Context(), nil); err != nil {
			t.Errorf("the second: %v", err)
		}
		if diff := cmp.Diff(map[record.TopicPartition]int64{at("a", 0): 2}, r.group.commits()); diff != "" {
			t.Errorf("committed (-want +got):\n%s", diff)
		}
	})
	t.Run("of what was committed it does not", func(t *testing.T) {
		inBubble(t, nil, func(t *testing.T, r *fakeRig) {
			r.log.write(at("a", 1), numbered(0, 2)...)
			i := r.subscribed(t, "i", Options{AutoOffsetReset: "earliest"})
			readUntilTimeless(t, i, 2)
			if err := i.Commit(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			r.group.set(func(g *fakeGroup) { g.rebalances, g.gives = true, g.gives[:1] })
			time.Sleep(2 * time.Second)
			if err := i.Commit(t.Context(), nil); err != nil {
				t.Error(err)
			}
		})
	})
}

func TestAssignCommitsWhatItDrops(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *fakeRig) {
		r.log.write(at("a", 0), numbered(0, 2)...)
		r.log.write(at("a", 1), numbered(0, 3)...)
		i, err := r.Create(Key{"owner", "g", "i"}, earliest)
		if err != nil {
			t.Fatal(err)
		}
		assign := func(partitions ...record.TopicPartition) {
			t.Helper()
			if err := i.Assign(partitions); err != nil {
				t.Fatal(err)
			}
		}
		assign(at("a", 0), at("a", 1))
		readUntilTimeless(t, i, 5)
		assign(at("a", 0))
		if got := r.group.commits()[at("a", 1)]; got != 3 {
			t.Errorf("committed %d of the partition that was dropped", got)
		}
		assign()
		if got := r.group.commits()[at("a", 0)]; got != 2 {
			t.Errorf("committed %d of the last", got)
		}
		if err := i.Assign(make([]record.TopicPartition, r.settings.MaxPartitions+1)); code(err) != fault.Unprocessable {
			t.Errorf("too many: %v", err)
		}
	})
}

func TestUnsubscribeWaitsForTheAnswer(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *fakeRig) {
		r.log.write(at("a", 0), numbered(0, 3)...)
		i := r.subscribed(t, "i", earliest)
		settleTimeless(t, i)
		open, err := i.Poll(t.Context(), PollOptions{Wait: time.Second, MinBytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			time.Sleep(50 * time.Millisecond)
			open.Done(true)
		}()
		if err := i.Unsubscribe(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := r.group.commits()[at("a", 0)]; got != 3 {
			t.Errorf("committed %d, want 3", got)
		}
	})
}

// TestAnAutomaticCommitIsNotOlderThanItsTurn has a commit wait for its turn while the position is sought.
func TestAnAutomaticCommitIsNotOlderThanItsTurn(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *fakeRig) {
		r.log.write(at("a", 0), numbered(0, 20)...)
		i := r.subscribed(t, "i", earliest)
		readUntilTimeless(t, i, 20)
		i.committing <- struct{}{}
		time.Sleep(6 * time.Second)
		done := make(chan struct{})
		go func() {
			defer close(done)
			i.commitOnce(t.Context(), i.deliveredLocked)
		}()
		synctest.Wait()
		if err := i.Seek(t.Context(), []Target{{TopicPartition: at("a", 0), Offset: 10}}); err != nil {
			t.Fatal(err)
		}
		<-i.committing
		<-done
		if got := r.group.commits()[at("a", 0)]; got != 10 {
			t.Errorf("committed %d, want where it was sought to, 10", got)
		}
	})
}

func TestACloseDuringAHandshake(t *testing.T) {
	inBubble(t, func(s *config.Consume) { s.RebalanceTimeout = time.Hour }, func(t *testing.T, r *fakeRig) {
		r.group.set(func(g *fakeGroup) { g.hang["join"] = true })
		i := r.subscribed(t, "i", earliest)
		readOnce(t, i, PollOptions{Wait: time.Second})
		began := time.Now()
		if err := r.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
