package consumer

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/record"
)

// TestAnAnswerThatCannotBeGivenAgainWhole loses an answer that needs more room, or more time, than the reads that ask for it again have.
func TestAnAnswerThatCannotBeGivenAgainWhole(t *testing.T) {
	for name, test := range map[string]struct {
		hinder func(l *fakeLog)
		wait   time.Duration
	}{
		"for want of room": {func(l *fakeLog) { l.room, l.perFetch = 2, 3 }, 2 * time.Second},
		"for want of time": {func(l *fakeLog) { l.slow, l.perFetch = 100*time.Millisecond, 3 }, 250 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, r *fakeRig) {
				r.log.write(at("a", 0), numbered(0, 30)...)
				r.log.write(at("a", 1), numbered(0, 5)...)
				i := r.subscribed(t, "i", earliest)
				settleTimeless(t, i)
				first := mustAck(t, i, "", PollOptions{})
				if got := len(shown(first)); got != 35 {
					t.Fatalf("the first has %d records", got)
				}
				r.log.mu.Lock()
				test.hinder(r.log)
				r.log.mu.Unlock()
				got := map[record.TopicPartition][]string{}
				cut := mustAck(t, i, "", PollOptions{Wait: test.wait})
				if n := len(shown(cut)); n == 0 || n >= 35 || !cut.Again || cut.Token == first.Token || cut.Token == "" {
					t.Fatalf("what there was room and time for: %d records, %+v", n, cut)
				}
				again := mustAck(t, i, "", PollOptions{Wait: test.wait})
				if diff := cmp.Diff(shown(cut), shown(again)); diff != "" || again.Token != cut.Token {
					t.Fatalf("the part again (-want +got):\n%s", diff)
				}
				for token := ""; len(got[at("a", 0)])+len(got[at("a", 1)]) < 35; {
					batch := mustAck(t, i, token, PollOptions{Wait: test.wait})
					if len(batch.Ranges) == 0 || len(batch.Missing) > 0 {
						t.Fatalf("no progress: %+v", batch)
					}
					for _, part := range batch.Ranges {
						got[part.TopicPartition] = append(got[part.TopicPartition], shown(&Batch{Ranges: []record.Range{part}})...)
					}
					token = batch.Token
				}
				for p, n := range map[record.TopicPartition]int{at("a", 0): 30, at("a", 1): 5} {
					if diff := cmp.Diff(expect(p.Topic, p.Partition, 0, n), got[p]); diff != "" {
						t.Errorf("%v (-want +got):\n%s", p, diff)
					}
				}
			})
		})
	}
}

func TestTheWholeAnswerArrivesAfterAPartOfIt(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *fakeRig) {
		r.log.write(at("a", 0), numbered(0, 10)...)
		i := r.subscribed(t, "i", earliest)
		first := mustAck(t, i, "", PollOptions{})
		r.log.mu.Lock()
		r.log.slow, r.log.perFetch = 100*time.Millisecond, 3
		r.log.mu.Unlock()
		if cut := mustAck(t, i, "", PollOptions{Wait: 250 * time.Millisecond}); len(shown(cut)) == 10 {
			t.Fatal("the answer was not cut")
		}
		r.log.write(at("a", 0), "10")
		if diff := cmp.Diff(expect("a", 0, 10, 11), shown(mustAck(t, i, first.Token, PollOptions{}))); diff != "" {
			t.Errorf("after the token of the whole (-want +got):\n%s", diff)
		}
	})
}

func TestWhatIsMissingFitsIntoAHeader(t *testing.T) {
	header := func(b *Batch) string {
		var all []string
		for _, r := range b.Missing {
			all = append(all, fmt.Sprintf("%s:%d:%d-%d", r.Topic, r.Partition, r.Start, r.End-1))
		}
		return strings.Join(all, ", ")
	}
	t.Run("one partition", func(t *testing.T) {
		inBubble(t, nil, func(t *testing.T, r *fakeRig) {
			r.log.write(at("a", 0), numbered(0, 20_000)...)
			i := r.subscribed(t, "i", earliest)
			mustAck(t, i, "", PollOptions{})
			var odd []int64
			for n := int64(1); n < 19_999; n += 2 {
				odd = append(odd, n)
			}
			r.log.remove(at("a", 0), odd...)
			again := mustAck(t, i, "", PollOptions{})
			want := []record.Range{{TopicPartition: at("a", 0), Start: 1, End: 19_998}}
			if diff := cmp.Diff(want, again.Missing); diff != "" || again.More != 0 {
				t.Errorf("missing (-want +got):\n%s, and %d more", diff, again.More)
			}
		})
	})
	t.Run("many long names", func(t *testing.T) {
		t.Parallel()
		for _, size := range []int{1, 20, 249} {
			var all []record.Range
			for n := range 100 {
				for gap := range int64(2) {
					all = append(all, record.Range{
						TopicPartition: at(strings.Repeat("x", size)+strconv.Itoa(n), 1<<31-1), Start: 1<<62 + 2*gap, End: 1<<62 + 2*gap + 1,
					})
				}
			}
			few, more := bounded(all)
			if got := len(header(&Batch{Missing: few})); got >= 2048 || len(few) == 0 || len(few) > 32 || len(few)+more != 100 {
				t.Errorf("names of %d: %d ranges and %d more in %d bytes", size, len(few), more, got)
			}
			if few[0].End-few[0].Start != 3 {
				t.Errorf("it does not cover both gaps: %+v", few[0])
			}
		}
	})
}

// TestGapsOfBeforeAreNotMissing has more gaps than a header may name, as the marks of transactions make them.
func TestGapsOfBeforeAreNotMissing(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *fakeRig) {
		r.log.write(at("a", 0), numbered(0, 2000)...)
		var marks []int64
		for n := int64(1); n < 1999; n += 2 {
			marks = append(marks, n)
		}
		r.log.remove(at("a", 0), marks...)
		i := r.subscribed(t, "i", earliest)
		mustAck(t, i, "", PollOptions{})
		r.log.retain(at("a", 0), 3)
		again := mustAck(t, i, "", PollOptions{})
		want := []record.Range{{TopicPartition: at("a", 0), Start: 0, End: 1}, {TopicPartition: at("a", 0), Start: 2, End: 3}}
		if diff := cmp.Diff(want, again.Missing); diff != "" {
			t.Errorf("missing (-want +got):\n%s", diff)
		}
	})
}

func TestARepeatEndsBeforeWhatCannotBeDecoded(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *fakeRig) {
		r.log.write(at("a", 0), numbered(0, 10)...)
		i := r.subscribed(t, "i", earliest)
		first := mustAck(t, i, "", PollOptions{})
		refuse := func(offset int64) PollOptions {
			return PollOptions{Decodable: func(_ string, _ int32, s *record.Stored) error {
				if s.Offset == offset {
					return fault.New(fault.Undecodable, "no")
				}
				return nil
			}}
		}
		if _, err := acked(t, i, "", refuse(0)); code(err) != fault.Undecodable {
			t.Errorf("the first of the answer: %v", err)
		}
		part := mustAck(t, i, "", refuse(4))
		if diff := cmp.Diff(expect("a", 0, 0, 4), shown(part)); diff != "" || part.Token == first.Token {
			t.Errorf("before it (-want +got):\n%s", diff)
		}
		if _, err := acked(t, i, part.Token, refuse(4)); code(err) != fault.Undecodable {
			t.Errorf("after the acknowledgement: %v", err)
		}
		if diff := cmp.Diff(expect("a", 0, 4, 10), shown(mustAck(t, i, part.Token, PollOptions{}))); diff != "" {
			t.Errorf("read otherwise (-want +got):\n%s", diff)
		}
	})
}

func TestAnOffsetThatIsOutOfRangeOnlyNowIsNotMissing(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *fakeRig) {
		r.log.write(at("a", 0), numbered(0, 10)...)
		i := r.subscribed(t, "i", earliest)
		first := mustAck(t, i, "", PollOptions{})
		refuse := func(err error) {
			r.log.mu.Lock()
			defer r.log.mu.Unlock()
			r.log.refuse[at("a", 0)] = err
		}
		refuse(fault.New(fault.OffsetOutOfRange, "out of range"))
		if batch, err := acked(t, i, "", PollOptions{Wait: time.Second}); err == nil && (batch.Token != "" || batch.Missing != nil) {
			t.Errorf("while the leader does not know better: %+v", batch)
		}
		refuse(nil)
		again := mustAck(t, i, "", PollOptions{})
		if diff := cmp.Diff(shown(first), shown(again)); diff != "" || again.Missing != nil {
			t.Errorf("again (-want +got):\n%s", diff)
		}
	})
}
