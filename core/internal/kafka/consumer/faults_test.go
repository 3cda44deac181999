package consumer

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-gateway/weir/core/internal/embedded"
	"github.com/weir-gateway/weir/core/internal/fault"
)

// TestErrorsOfTheCoordinatorAreOvercome answers requests with errors that come and go: everything is read, and committed.
func TestErrorsOfTheCoordinatorAreOvercome(t *testing.T) {
	t.Parallel()
	const (
		loading, notAvailable, notCoordinator, illegalGeneration, unknownMember, rebalance, unstable = 14, 15, 16, 22, 25, 27, 88
	)
	for api, codes := range map[string][]int16{
		"FindCoordinator": {loading, notAvailable},
		"JoinGroup":       {loading, notAvailable, notCoordinator, unknownMember, rebalance, -1},
		"SyncGroup":       {notAvailable, notCoordinator, illegalGeneration, unknownMember, rebalance},
		"Heartbeat":       {notAvailable, notCoordinator, illegalGeneration, unknownMember, rebalance},
		"OffsetFetch":     {loading, notCoordinator, unstable},
		"OffsetCommit":    {loading, notAvailable, notCoordinator, rebalance},
		"ListOffsets":     {5, 6, 74},
		"Fetch":           {5, 6, 74, 3},
	} {
		for _, code := range codes {
			t.Run(fmt.Sprintf("%s %d", api, code), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a", Partitions: 2}}}, nil)
				r.produce("a", 0, numbered(0, 20)...)
				r.produce("a", 1, numbered(0, 20)...)
				i := r.subscribed("g", "i", Options{AutoOffsetReset: "earliest"}, "a")
				if api == "Heartbeat" {
					settle(t, i, 2)
				}
				times := 3
				if code == unknownMember {
					times = 1 // each leaves a member behind that the group waits for until its session ends
				}
				stop := r.broker.Fail(api, embedded.AnyNode, code, times)
				if api == "Heartbeat" {
					time.Sleep(3 * r.settings.HeartbeatInterval) // what it does then is up to it
				}
				seen := map[string]bool{}
				deadline := time.Now().Add(20 * time.Second)
				for len(seen) < 40 && time.Now().Before(deadline) {
					batch, err := poll(t, i, PollOptions{Wait: 300 * time.Millisecond, MinBytes: 1, MaxBytes: 10})
					if err != nil {
						if code != -1 {
							t.Fatal(err)
						}
						continue // Kafka calls it not retriable: each time it is the error of a read
					}
					for _, record := range shown(batch) {
						seen[record] = true
					}
					batch.Done(true)
				}
				if len(seen) != 40 {
					t.Fatalf("read %d of 40", len(seen))
				}
				err := i.Commit(t.Context(), nil)
				for err != nil && fault.From(err).Code == fault.IllegalState && time.Now().Before(deadline) {
					// The partitions were lost after the last read, and said so. What was not committed comes again.
					batch, failed := poll(t, i, PollOptions{Wait: 500 * time.Millisecond, MinBytes: 1})
					if failed != nil {
						t.Fatal(failed)
					}
					atEnd := batch.State == AtEnd
					batch.Done(true)
					if atEnd {
						err = i.Commit(t.Context(), nil)
					}
				}
				if err != nil {
					t.Fatalf("commit: %v", err)
				}
				if diff := cmp.Diff(map[string]int64{"0": 20, "1": 20}, map[string]int64{
					"0": r.committed(i, at("a", 0))[at("a", 0)], "1": r.committed(i, at("a", 1))[at("a", 1)],
				}); diff != "" {
					t.Errorf("committed (-want +got):\n%s", diff)
				}
				if hits := stop(); hits == 0 {
					t.Errorf("the fault was never met")
				}
			})
		}
	}
}

func TestConnectionsThatBreak(t *testing.T) {
	t.Parallel()
	for _, api := range []string{"FindCoordinator", "JoinGroup", "SyncGroup", "Heartbeat", "OffsetFetch", "OffsetCommit", "Fetch"} {
		for _, applied := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s applied %v", api, applied), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a", Partitions: 2}}}, nil)
				r.produce("a", 0, numbered(0, 20)...)
				i := r.subscribed("g", "i", Options{AutoOffsetReset: "earliest"}, "a")
				if api == "Heartbeat" {
					settle(t, i, 2)
				}
				r.broker.Disconnect(api, embedded.AnyNode, applied, 2)
				all := readUntil(t, i, PollOptions{Wait: 300 * time.Millisecond, MinBytes: 1, MaxBytes: 10}, 20)
				if diff := cmp.Diff(expect("a", 0, 0, 20), all); diff != "" {
					t.Errorf("records (-want +got):\n%s", diff)
				}
				if err := i.Commit(t.Context(), nil); err != nil {
					t.Errorf("commit: %v", err)
				}
			})
		}
	}
}

func TestABrokerThatFreezes(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a", Partitions: 2}}}, nil)
	r.produce("a", 0, numbered(0, 20)...)
	i := r.subscribed("g", "i", Options{AutoOffsetReset: "earliest"}, "a")
	got := readUntil(t, i, PollOptions{Wait: time.Second, MinBytes: 1, MaxBytes: 10}, 5)
	if err := r.broker.Freeze(0); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		batch, err := poll(t, i, PollOptions{Wait: 300 * time.Millisecond, MinBytes: 1, MaxBytes: 10})
		if err == nil {
			batch.Done(false)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := i.Commit(ctx, nil); err == nil || time.Since(began) > 2*time.Second {
		t.Errorf("a commit: %v after %v", err, time.Since(began))
	}
	if err := r.broker.Up(0); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for len(got) < 20 && time.Now().Before(deadline) {
		batch, err := poll(t, i, PollOptions{Wait: 300 * time.Millisecond, MinBytes: 1, MaxBytes: 10})
		if err != nil {
			continue // it has just come back
		}
		got = append(got, shown(batch)...)
		batch.Done(true)
	}
	if diff := cmp.Diff(expect("a", 0, 0, 20), got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestABrokerThatIsDown(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}}, nil)
	eventually(t, "the cluster is reached", func() bool { return r.client.Ready() == nil })
	if err := r.broker.Down(0); err != nil {
		t.Fatal(err)
	}
	i := r.subscribed("g", "i", earliest, "a")
	if _, err := poll(t, i, PollOptions{Wait: time.Second}); code(err) != fault.BrokerNotAvailable {
		t.Errorf("the read: %v", err)
	}
	began := time.Now()
	r.delete(i)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("deleting took %v", took)
	}
}

func TestARefusalOfATopicReachesTheRead(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}, {Name: "b"}}}, nil)
	r.produce("a", 0, numbered(0, 3)...)
	r.produce("b", 0, numbered(0, 3)...)
	i := r.subscribed("g", "i", earliest, "a", "b")
	settle(t, i, 2)
	stop := r.broker.Inject(embedded.Failure{API: "Fetch", Node: embedded.AnyNode, Topic: "a", Code: 29, Times: -1})
	if diff := cmp.Diff(expect("b", 0, 0, 3), readUntil(t, i, PollOptions{Wait: time.Second, MinBytes: 1}, 3)); diff != "" {
		t.Errorf("with one topic refused (-want +got):\n%s", diff)
	}
	stopB := r.broker.Inject(embedded.Failure{API: "Fetch", Node: embedded.AnyNode, Topic: "b", Code: 29, Times: -1})
	began := time.Now()
	_, err := poll(t, i, PollOptions{Wait: 10 * time.Second, MinBytes: 1})
	if code(err) != fault.PermissionDenied || fault.From(err).Message != "Not authorized to access topics: [a, b]" {
		t.Errorf("with both refused: %v", err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %v to be told", took)
	}
	stop()
	stopB()
	if diff := cmp.Diff(expect("a", 0, 0, 3), readUntil(t, i, PollOptions{Wait: time.Second, MinBytes: 1}, 3)); diff != "" {
		t.Errorf("afterwards (-want +got):\n%s", diff)
	}
}
