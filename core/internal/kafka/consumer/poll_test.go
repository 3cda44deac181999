package consumer

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-gateway/weir/core/internal/embedded"
	"github.com/weir-gateway/weir/core/internal/record"
)

func TestOneMemberReadsEverythingInOrder(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a", Partitions: 2}}}, nil)
	r.produce("a", 0, numbered(0, 1000)...)
	r.produce("a", 1, numbered(0, 500)...)
	i := r.subscribed("g", "i", earliest, "a")
	got := map[record.TopicPartition][]string{}
	deadline := time.Now().Add(20 * time.Second)
	for len(got[at("a", 0)])+len(got[at("a", 1)]) < 1500 && time.Now().Before(deadline) {
		batch, err := poll(t, i, PollOptions{Wait: time.Second, MinBytes: 1, MaxBytes: 300})
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range batch.Ranges {
			got[part.TopicPartition] = append(got[part.TopicPartition], shown(&Batch{Ranges: []record.Range{part}})...)
		}
		batch.Done(true)
	}
	want := map[record.TopicPartition][]string{at("a", 0): expect("a", 0, 0, 1000), at("a", 1): expect("a", 1, 0, 500)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	batch, err := poll(t, i, PollOptions{Wait: 50 * time.Millisecond, MinBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer batch.Done(true)
	if batch.State != AtEnd || len(batch.Ranges) > 0 {
		t.Errorf("at the end: %+v", batch)
	}
}

func TestWhatWasNotWrittenIsGivenAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}}, nil)
	r.produce("a", 0, numbered(0, 10)...)
	i := r.subscribed("g", "i", earliest, "a")
	for range 2 {
		batch, err := poll(t, i, PollOptions{Wait: 5 * time.Second, MinBytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(expect("a", 0, 0, 10), shown(batch)); diff != "" {
			t.Fatalf("records (-want +got):\n%s", diff)
		}
		batch.Done(false)
	}
	readUntil(t, i, PollOptions{Wait: time.Second, MinBytes: 1}, 10)
	r.delete(i)
	again := r.subscribed("g", "j", earliest, "a")
	settle(t, again, 1)
	r.produce("a", 0, numbered(10, 12)...)
	if diff := cmp.Diff(expect("a", 0, 10, 12), readUntil(t, again, PollOptions{Wait: time.Second, MinBytes: 1}, 2)); diff != "" {
		t.Errorf("after what was delivered (-want +got):\n%s", diff)
	}
}

func TestTwoMembersShare(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a", Partitions: 4}}}, nil)
	one, two := r.subscribed("g", "1", earliest, "a"), r.subscribed("g", "2", earliest, "a")
	settle(t, one, 4)
	settle(t, two, 2)
	settle(t, one, 2)
	all := append(one.Assignment(), two.Assignment()...)
	seen := map[record.TopicPartition]bool{}
	for _, p := range all {
		seen[p] = true
	}
	if len(all) != 4 || len(seen) != 4 {
		t.Errorf("assignments: %v and %v", one.Assignment(), two.Assignment())
	}
	r.delete(two)
	settle(t, one, 4)
	if got := r.consumers.Stats(); got.Instances != 1 || got.Members != 1 || got.Polls != 0 || got.Rebalances < 4 {
		t.Errorf("statistics: %+v", got)
	}
}
