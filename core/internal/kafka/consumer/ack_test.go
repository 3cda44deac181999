package consumer

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/record"
)

// acked reads once with an acknowledgement.
func acked(t *testing.T, i *Instance, ack string, options PollOptions) (*Batch, error) {
	t.Helper()
	options.Ack = &ack
	if options.Wait == 0 {
		options.Wait = 2 * time.Second
	}
	options.MinBytes = 1
	batch, err := i.Poll(t.Context(), options)
	if err == nil {
		batch.Done(err == nil)
	}
	return batch, err
}

func mustAck(t *testing.T, i *Instance, ack string, options PollOptions) *Batch {
	t.Helper()
	batch, err := acked(t, i, ack, options)
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

func TestALostAnswerIsGivenAgain(t *testing.T) {
	inBubble(t, func(s *config.Consume) { s.AutoCommitInterval = 0 }, func(t *testing.T, r *fakeRig) {
		r.log.write(at("a", 0), numbered(0, 30)...)
		i := r.subscribed(t, "i", earliest)
		first := mustAck(t, i, "", PollOptions{MaxBytes: 11})
		if diff := cmp.Diff(expect("a", 0, 0, 10), shown(first)); diff != "" || first.Token == "" || first.Again {
			t.Fatalf("the first (-want +got):\n%s", diff)
		}
		for n := range 3 { // it was lost, with other bounds each time
			again := mustAck(t, i, "", PollOptions{MaxBytes: 3 + 100*n})
			if diff := cmp.Diff(shown(first), shown(again)); diff != "" || again.Token != first.Token || !again.Again {
				t.Fatalf("again (-want +got):\n%s %+v", diff, again)
			}
		}
		second := mustAck(t, i, first.Token, PollOptions{MaxBytes: 11})
		if diff := cmp.Diff(expect("a", 0, 10, 15), shown(second)); diff != "" || second.Again {
			t.Fatalf("the second (-want +got):\n%s", diff)
		}
		again := mustAck(t, i, first.Token, PollOptions{})
		if diff := cmp.Diff(shown(second), shown(again)); diff != "" || !again.Again {
			t.Fatalf("the second again (-want +got):\n%s", diff)
		}
		synctest.Wait() // for the commit of the first
		third := mustAck(t, i, second.Token, PollOptions{})
		if diff := cmp.Diff(expect("a", 0, 15, 30), shown(third)); diff != "" {
			t.Fatalf("the third (-want +got):\n%s", diff)
		}
		if _, err := acked(t, i, first.Token, PollOptions{}); code(err) != fault.IllegalState {
			t.Errorf("a token before the last two: %v", err)
		}
		time.Sleep(time.Second)
		if got := r.group.commits()[at("a", 0)]; got != 15 {
			t.Errorf("committed %d, want what was acknowledged, 15", got)
		}
		empty := mustAck(t, i, third.Token, PollOptions{})
		if empty.Token != "" || empty.State != AtEnd {
			t.Errorf("at the end: %+v", empty)
		}
		empty = mustAck(t, i, third.Token, PollOptions{})
		if empty.Token != "" || empty.State != AtEnd {
			t.Errorf("at the end, again: %+v", empty)
		}
		r.log.write(at("a", 0), numbered(30, 31)...)
		if diff := cmp.Diff(expect("a", 0, 30, 31), shown(mustAck(t, i, third.Token, PollOptions{}))); diff != "" {
			t.Errorf("after the end (-want +got):\n%s", diff)
		}
	})
}

func TestStrangeTokens(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *fakeRig) {
		r.log.write(at("a", 0), numbered(0, 30)...)
		i, other := r.subscribed(t, "i", earliest), r.subscribed(t, "other", earliest)
		token := mustAck(t, i, "", PollOptions{MaxBytes: 5}).Token
		foreign := mustAck(t, other, "", PollOptions{MaxBytes: 5}).Token
		if err := r.Delete(t.Context(), i.key); err != nil {
			t.Fatal(err)
		}
		i = r.subscribed(t, "i", earliest)
		flipped := []byte(foreign)
		flipped[len(flipped)/2] ^= 1
		for name, ack := range map[string]string{
			"of an earlier instance of the name": token, "of another instance": foreign, "no token": "x", "changed": string(flipped), "long": strings.Repeat("A", 10000),
		} {
			if _, err := acked(t, i, ack, PollOptions{}); code(err) != fault.InvalidRequest {
				t.Errorf("%s: %v", name, err)
			}
		}
		if len(token) > 100 {
			t.Errorf("the token of one range has %d bytes", len(token))
		}
		if diff := cmp.Diff(5-1, len(shown(mustAck(t, i, "", PollOptions{MaxBytes: 5})))); diff != "" {
			t.Errorf("a read after those: %s", diff)
		}
	})
}

// TestClientsThatLoseAnswersLoseNoRecords plays a client that loses answers at random and asks again, while records come, partitions
// are sought, and the group rebalances without taking anything away.
func TestClientsThatLoseAnswersLoseNoRecords(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, r *fakeRig) {
				random := rand.New(rand.NewPCG(seed, 7))
				r.log.perFetch = random.IntN(4)
				i := r.subscribed(t, "i", earliest)
				written := map[record.TopicPartition]int{}
				got := map[record.TopicPartition][]string{}
				token, lost := "", 0
				for step := 0; step < 300 || len(got[at("a", 0)])+len(got[at("a", 1)]) < written[at("a", 0)]+written[at("a", 1)]; step++ {
					if step > 3000 {
						t.Fatalf("after %d steps: %d and %d records of %v", step, len(got[at("a", 0)]), len(got[at("a", 1)]), written)
					}
					if step < 300 && random.IntN(2) == 0 {
						p := at("a", random.Int32N(2))
						n := random.IntN(20)
						r.log.write(p, numbered(written[p], written[p]+n)...)
						written[p] += n
					}
					if random.IntN(20) == 0 {
						r.group.set(func(g *fakeGroup) { g.rebalances = true })
						time.Sleep(time.Duration(random.IntN(1000)) * time.Millisecond)
					}
					batch, err := acked(t, i, token, PollOptions{Wait: time.Duration(1+random.IntN(50)) * time.Millisecond, MaxBytes: 1 + random.IntN(30)})
					if err != nil {
						t.Fatal(err)
					}
					if random.IntN(3) == 0 {
						lost++
						continue
					}
					for _, part := range batch.Ranges {
						got[part.TopicPartition] = append(got[part.TopicPartition], shown(&Batch{Ranges: []record.Range{part}})...)
					}
					if batch.Token != "" {
						token = batch.Token
					}
				}
				for p, n := range written {
					if diff := cmp.Diff(expect(p.Topic, p.Partition, 0, n), got[p]); diff != "" {
						t.Errorf("%v (-want +got):\n%s", p, diff)
					}
				}
				if lost == 0 {
					t.Error("no answer was lost")
				}
			})
		})
	}
}

func TestAnAnswerOfARevokedPartitionIsNotGivenAgain(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *fakeRig) {
		r.log.write(at("a", 0), numbered(0, 3)...)
		r.log.write(at("a", 1), numbered(0, 3)...)
		i := r.subscribed(t, "i", Options{AutoOffsetReset: "earliest"})
		settleTimeless(t, i)
		first := mustAck(t, i, "", PollOptions{})
		if len(first.Ranges) != 2 {
			t.Fatalf("%+v", first)
		}
		r.group.set(func(g *fakeGroup) { g.rebalances, g.gives = true, g.gives[:1] })
		time.Sleep(2 * time.Second)
		_, err := acked(t, i, "", PollOptions{})
		if code(err) != fault.IllegalState || !strings.Contains(err.Error(), "a-1") || strings.Contains(err.Error(), "a-0") {
			t.Fatalf("the answer again: %v", err)
		}
		if diff := cmp.Diff(expect("a", 0, 0, 3), shown(mustAck(t, i, "", PollOptions{}))); diff != "" {
			t.Errorf("on with the same ack (-want +got):\n%s", diff)
		}
	})
	t.Run("acknowledged", func(t *testing.T) {
		inBubble(t, nil, func(t *testing.T, r *fakeRig) {
			r.log.write(at("a", 0), numbered(0, 3)...)
			r.log.write(at("a", 1), numbered(0, 3)...)
			i := r.subscribed(t, "i", Options{AutoOffsetReset: "earliest"})
			settleTimeless(t, i)
			first := mustAck(t, i, "", PollOptions{})
			r.group.set(func(g *fakeGroup) { g.rebalances, g.gives = true, g.gives[:1] })
			time.Sleep(2 * time.Second)
			if next := mustAck(t, i, first.Token, PollOptions{}); len(next.Ranges) != 0 {
				t.Errorf("after it was acknowledged: %v", shown(next))
			}
			if err := i.Commit(t.Context(), nil); code(err) != fault.IllegalState || !strings.Contains(err.Error(), "a-1") {
				t.Errorf("what was acknowledged is not all committed: %v", err)
			}
			if err := i.Commit(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(map[record.TopicPartition]int64{at("a", 0): 3}, r.group.commits()); diff != "" {
				t.Errorf("committed (-want +got):\n%s", diff)
			}
		})
	})
}

// settleTimeless has an instance join, and know its positions.
func settleTimeless(t *testing.T, i *Instance) {
	t.Helper()
	batch, err := i.Poll(t.Context(), PollOptions{Wait: time.Second, MinBytes: 1, MaxBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	batch.Done(false)
	synctest.Wait()
}

func TestWhatIsGoneIsSaid(t *testing.T) {
	missing := func(from, to int64) record.Range {
		return record.Range{TopicPartition: at("a", 0), Start: from, End: to}
	}
	for name, test := range map[string]struct {
		change func(l *fakeLog)
		left   []string
		gone   []record.Range
	}{
		"retention": {func(l *fakeLog) { l.retain(at("a", 0), 4) }, expect("a", 0, 4, 10), []record.Range{missing(0, 4)}},
		"all of it": {func(l *fakeLog) { l.retain(at("a", 0), 20) }, nil, []record.Range{missing(0, 10)}},
		"compaction": {
			func(l *fakeLog) { l.remove(at("a", 0), 0, 3, 4, 9) },
			append(expect("a", 0, 1, 3), expect("a", 0, 5, 9)...), []record.Range{missing(0, 1), missing(3, 5), missing(9, 10)},
		},
		"nothing": {func(*fakeLog) {}, expect("a", 0, 0, 10), nil},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, r *fakeRig) {
				r.log.write(at("a", 0), numbered(0, 20)...)
				i := r.subscribed(t, "i", earliest)
				first := mustAck(t, i, "", PollOptions{MaxBytes: 11})
				test.change(r.log)
				for range 2 {
					again := mustAck(t, i, "", PollOptions{})
					if diff := cmp.Diff(test.left, shown(again)); diff != "" {
						t.Errorf("again (-want +got):\n%s", diff)
					}
					if diff := cmp.Diff(test.gone, again.Missing); diff != "" {
						t.Errorf("missing (-want +got):\n%s", diff)
					}
					if again.Token != first.Token {
						t.Error("it has another token")
					}
				}
				next := shown(mustAck(t, i, first.Token, PollOptions{}))
				want := expect("a", 0, 10, 20)
				if name == "all of it" {
					want = nil
				}
				if diff := cmp.Diff(want, next); diff != "" {
					t.Errorf("the next (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestSeekWhileAnAnswerIsOutstanding(t *testing.T) {
	start := func(t *testing.T, r *fakeRig) (*Instance, *Batch) {
		r.log.write(at("a", 0), numbered(0, 3)...)
		r.log.write(at("a", 1), numbered(0, 3)...)
		i := r.subscribed(t, "i", earliest)
		settleTimeless(t, i)
		first := mustAck(t, i, "", PollOptions{})
		if len(first.Ranges) != 2 {
			t.Fatalf("%+v", first)
		}
		if err := i.Seek(t.Context(), []Target{{TopicPartition: at("a", 0), Offset: 2}}); err != nil {
			t.Fatal(err)
		}
		return i, first
	}
	t.Run("and was lost", func(t *testing.T) {
		inBubble(t, nil, func(t *testing.T, r *fakeRig) {
			i, first := start(t, r)
			again := mustAck(t, i, "", PollOptions{})
			if diff := cmp.Diff(expect("a", 1, 0, 3), shown(again)); diff != "" {
				t.Errorf("again (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(expect("a", 0, 2, 3), shown(mustAck(t, i, first.Token, PollOptions{}))); diff != "" {
				t.Errorf("then (-want +got):\n%s", diff)
			}
		})
	})
	t.Run("and was received", func(t *testing.T) {
		inBubble(t, nil, func(t *testing.T, r *fakeRig) {
			i, first := start(t, r)
			if diff := cmp.Diff(expect("a", 0, 2, 3), shown(mustAck(t, i, first.Token, PollOptions{}))); diff != "" {
				t.Errorf("then (-want +got):\n%s", diff)
			}
		})
	})
	t.Run("of all of it", func(t *testing.T) {
		inBubble(t, nil, func(t *testing.T, r *fakeRig) {
			i, _ := start(t, r)
			if err := i.Seek(t.Context(), []Target{{TopicPartition: at("a", 1), Offset: 1}}); err != nil {
				t.Fatal(err)
			}
			next := mustAck(t, i, "", PollOptions{})
			if got := len(shown(next)); got != 3 || next.Again {
				t.Errorf("after seeking everything: %v", shown(next))
			}
		})
	})
}

func TestAReadWithoutAckAfterOneWith(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *fakeRig) {
		r.log.write(at("a", 0), numbered(0, 3)...)
		i := r.subscribed(t, "i", earliest)
		first := mustAck(t, i, "", PollOptions{})
		if diff := cmp.Diff(expect("a", 0, 0, 3), readOnce(t, i, PollOptions{Wait: time.Second, MinBytes: 1})); diff != "" {
			t.Errorf("without (-want +got):\n%s", diff)
		}
		if next := mustAck(t, i, first.Token, PollOptions{}); len(next.Ranges) != 0 {
			t.Errorf("with the token again: %v", shown(next))
		}
	})
}
