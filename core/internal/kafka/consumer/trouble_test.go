package consumer

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/go-cmp/cmp"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka"
	"github.com/weir-gateway/weir/core/internal/record"
)

// outcome reads once with a second's wait and says what came of it.
func outcome(t *testing.T, i *Instance) (State, error) {
	t.Helper()
	batch, err := i.Poll(t.Context(), PollOptions{Wait: time.Second, MinBytes: 1})
	if err != nil {
		return "", err
	}
	defer batch.Done(true)
	return batch.State, nil
}

// TestTroubleThatLastsIsSaid keeps answering what Kafka calls retriable.
func TestTroubleThatLastsIsSaid(t *testing.T) {
	for name, test := range map[string]struct {
		call  string
		code  sarama.KError
		which string // line of the log
	}{
		"JoinGroup 15":       {"join", sarama.ErrConsumerCoordinatorNotAvailable, "cannot join its group"},
		"FindCoordinator 15": {"connect", sarama.ErrConsumerCoordinatorNotAvailable, "cannot join its group"},
		"SyncGroup 16":       {"sync", sarama.ErrNotCoordinatorForConsumer, "cannot join its group"},
		"OffsetFetch 14":     {"committed", sarama.ErrOffsetsLoadInProgress, "cannot read a partition"},
		"ListOffsets 5":      {"offsets", sarama.ErrLeaderNotAvailable, "cannot read a partition"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, r *fakeRig) {
				fail := func(err error) {
					r.group.set(func(g *fakeGroup) { g.fail[test.call] = err })
					r.log.mu.Lock()
					defer r.log.mu.Unlock()
					if test.call == "offsets" {
						r.log.unsure = err
					}
				}
				fail(kafka.Fault(test.code))
				i := r.subscribed(t, "i", earliest)
				began := time.Now()
				var err error
				for err == nil && time.Since(began) < 10*time.Second {
					_, err = outcome(t, i)
				}
				if took := time.Since(began); codeOf(err) != test.code || took < 3*time.Second || took > 6*time.Second {
					t.Errorf("after %v: %v", took, err)
				}
				for range 10 {
					if _, err := outcome(t, i); codeOf(err) != test.code {
						t.Errorf("it goes on: %v", err)
					}
				}
				if got := r.said.count("level=WARN", test.which); got < 1 || got > 2 { // 2 partitions
					t.Errorf("%d warnings", got)
				}
				fail(nil)
				r.log.write(at("a", 0), "0")
				if diff := cmp.Diff(expect("a", 0, 0, 1), readUntilTimeless(t, i, 1)); diff != "" {
					t.Errorf("when it is over (-want +got):\n%s", diff)
				}
				if warned, over := r.said.count("level=WARN"), r.said.count("level=INFO", " again"); warned != over {
					t.Errorf("%d warnings, %d are over", warned, over)
				}
			})
		})
	}
}

func TestWhatIsNotRetriableIsSaidAtOnce(t *testing.T) {
	for _, call := range []string{"join", "sync"} {
		t.Run(call, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, r *fakeRig) {
				r.group.set(func(g *fakeGroup) { g.fail[call] = kafka.Fault(sarama.ErrUnknown) })
				i := r.subscribed(t, "i", earliest)
				for range 3 {
					began := time.Now()
					if _, err := i.Poll(t.Context(), PollOptions{Wait: time.Minute}); code(err) != fault.KafkaFailed || time.Since(began) > time.Second {
						t.Errorf("the read: %v after %v", err, time.Since(began))
					}
				}
				if got := r.said.count("level=WARN"); got != 1 {
					t.Errorf("%d warnings", got)
				}
			})
		})
	}
}

func TestACoordinatorThatFreezesDuringARejoin(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *fakeRig) {
		i := r.subscribed(t, "i", earliest)
		settleTimeless(t, i)
		r.group.set(func(g *fakeGroup) { g.rebalances, g.hang["join"], g.hang["coordinator"] = true, true, true })
		time.Sleep(time.Second)
		began := time.Now()
		var err error
		for err == nil && time.Since(began) < 30*time.Second {
			_, err = outcome(t, i)
		}
		if took := time.Since(began); code(err) != fault.BrokerNotAvailable || took > 10*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

// TestAtEndIsOfEveryPartition has partitions that cannot be read beside one that is at its end.
func TestAtEndIsOfEveryPartition(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		inBubble(t, nil, func(t *testing.T, r *fakeRig) {
			i := r.subscribed(t, "i", earliest)
			settleTimeless(t, i)
			refuse := func(err error) {
				r.log.mu.Lock()
				defer r.log.mu.Unlock()
				r.log.refuse[at("a", 1)] = err
			}
			refuse(fault.New(fault.KafkaFailed, "a batch cannot be read"))
			failures := 0
			for range 35 {
				state, err := outcome(t, i)
				if err != nil {
					if failures++; code(err) != fault.KafkaFailed {
						t.Fatal(err)
					}
				} else if state != "" {
					t.Fatalf("it says %q", state)
				}
			}
			if failures < 3 || failures > 4 {
				t.Errorf("%d reads in 35 s failed", failures)
			}
			for n := range 12 {
				r.log.write(at("a", 0), "x")
				time.Sleep(time.Second)
				if batch, err := i.Poll(t.Context(), PollOptions{Wait: time.Second, MinBytes: 1}); err != nil || len(batch.Ranges) != 1 {
					t.Fatalf("with records to give: %d, %+v, %v", n, batch, err)
				} else {
					batch.Done(true)
				}
			}
			if got := r.said.count("level=WARN", "partition=1"); got != 1 {
				t.Errorf("%d warnings", got)
			}
			refuse(nil)
			time.Sleep(time.Second)
			if state, err := outcome(t, i); state != AtEnd {
				t.Errorf("when it can be read: %q, %v", state, err)
			}
		})
	})
	t.Run("a topic that does not exist", func(t *testing.T) {
		inBubble(t, nil, func(t *testing.T, r *fakeRig) {
			i, err := r.Create(Key{"owner", "g", "i"}, earliest)
			if err != nil {
				t.Fatal(err)
			}
			if err := i.Assign([]record.TopicPartition{at("a", 0), at("nope", 0)}); err != nil {
				t.Fatal(err)
			}
			for range 15 {
				if state, err := outcome(t, i); err != nil || state != "" {
					t.Fatalf("%q, %v", state, err)
				}
			}
			r.log.write(at("nope", 0), "0")
			if diff := cmp.Diff([]string{"nope-0@0 0"}, readUntilTimeless(t, i, 1)); diff != "" {
				t.Errorf("when it exists (-want +got):\n%s", diff)
			}
			synctest.Wait()
			if state, err := outcome(t, i); state != AtEnd {
				t.Errorf("then: %q, %v", state, err)
			}
		})
	})
}
