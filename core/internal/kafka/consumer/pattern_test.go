package consumer

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/go-cmp/cmp"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka"
)

// matching makes an instance that subscribes by pattern, on topics a and b.
func (r *fakeRig) matching(t *testing.T, pattern string, visible func(string) bool) *Instance {
	t.Helper()
	r.group.set(func(g *fakeGroup) { g.listed = []string{"a", "b"} })
	i, err := r.Create(Key{"owner", "g", "i"}, earliest)
	if err != nil {
		t.Fatal(err)
	}
	if err := i.SubscribePattern(pattern, visible); err != nil {
		t.Fatal(err)
	}
	return i
}

// TestAPatternIsReplacedDuringAJoin subscribes anew while the answer to a SyncGroup is on its way.
func TestAPatternIsReplacedDuringAJoin(t *testing.T) {
	inBubble(t, func(s *config.Consume) { s.PatternRefresh = time.Hour }, func(t *testing.T, r *fakeRig) {
		r.log.write(at("a", 0), "0")
		r.log.write(at("b", 0), "0")
		i := r.matching(t, "a", nil)
		r.group.set(func(g *fakeGroup) { g.slow["sync"] = time.Second })
		batch, err := i.Poll(t.Context(), PollOptions{Wait: 500 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		batch.Done(true)
		if err := i.SubscribePattern("b", nil); err != nil {
			t.Fatal(err)
		}
		r.group.set(func(g *fakeGroup) { g.gives = append(g.gives, at("b", 0)) })
		if diff := cmp.Diff(expect("b", 0, 0, 1), readUntilTimeless(t, i, 1)); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
	})
}

// TestNamesAreMatchedOnlyWhenThereAreOthers counts how often a name is looked at.
func TestNamesAreMatchedOnlyWhenThereAreOthers(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *fakeRig) {
		var looks atomic.Int32
		i := r.matching(t, ".*", func(string) bool { return looks.Add(1) > 0 })
		settleTimeless(t, i)
		looks.Store(0)
		time.Sleep(2 * time.Minute) // PatternRefresh is five seconds, and two names: 48 times two names until now
		if got := looks.Load(); got == 0 || got > 2*5 {
			t.Errorf("names were looked at %d times in two minutes, want every half minute", got)
		}
		r.log.write(at("c", 0), "0")
		r.group.set(func(g *fakeGroup) {
			g.listed = []string{"a", "b", "c"}
			g.gives = append(g.gives, at("c", 0))
		})
		time.Sleep(8 * time.Second)
		synctest.Wait()
		if got := len(i.Assignment()); got != 3 {
			t.Errorf("it has %d partitions when there is a further topic", got)
		}
	})
}

func TestARejoinWhileTopicsCannotBeListed(t *testing.T) {
	for name, hinder := range map[string]func(g *fakeGroup){
		"an error": func(g *fakeGroup) { g.fail["list"] = kafka.Fault(sarama.ErrUnknown) },
		"silence":  func(g *fakeGroup) { g.hang["list"] = true },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, r *fakeRig) {
				i := r.matching(t, "a", nil)
				settleTimeless(t, i)
				r.group.set(hinder)
				time.Sleep(6 * time.Second) // what is known is old
				r.log.write(at("a", 0), "0")
				r.group.set(func(g *fakeGroup) { g.rebalances = true })
				time.Sleep(4 * time.Second)
				if diff := cmp.Diff(expect("a", 0, 0, 1), readOnce(t, i, PollOptions{Wait: time.Second, MinBytes: 1})); diff != "" {
					t.Errorf("records (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestAPatternThatMatchesTooMuch(t *testing.T) {
	inBubble(t, func(s *config.Consume) { s.MaxPartitions = 1 }, func(t *testing.T, r *fakeRig) {
		i := r.matching(t, ".*", nil)
		if _, err := i.Poll(t.Context(), PollOptions{Wait: time.Minute}); code(err) != fault.Unprocessable {
			t.Errorf("the read: %v", err)
		}
		if err := i.SubscribePattern("a", nil); err != nil {
			t.Fatal(err)
		}
		r.log.write(at("a", 0), "0")
		readUntilTimeless(t, i, 1)
	})
}
