package consumer

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-gateway/weir/core/internal/embedded"
	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka/reader"
	"github.com/weir-gateway/weir/core/internal/record"
)

func TestMaxBytes(t *testing.T) {
	for name, test := range map[string]struct {
		values []string
		max    int
		want   []string // the lengths of each answer's records
	}{
		"a record that would reach it is left":  {[]string{"12345", "12345", "12345"}, 15, []string{"5 5", "5"}},
		"one byte more and it fits":             {[]string{"12345", "12345", "12345"}, 16, []string{"5 5 5"}},
		"a large record comes alone":            {[]string{"1", "12345678", "1"}, 5, []string{"1", "8", "1"}},
		"the first comes whatever its size":     {[]string{"12345678", "12345678"}, 1, []string{"8", "8"}},
		"records without a value take no bytes": {[]string{"", "", "", "12"}, 1, []string{"0 0 0", "2"}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, r *fakeRig) {
				r.log.write(at("a", 0), test.values...)
				i := r.subscribed(t, "i", earliest)
				settleTimeless(t, i)
				var got []string
				for range test.want {
					batch, err := i.Poll(t.Context(), PollOptions{Wait: time.Second, MinBytes: 1, MaxBytes: test.max})
					if err != nil {
						t.Fatal(err)
					}
					var lengths []string
					for _, s := range batch.Ranges[0].Records {
						lengths = append(lengths, fmt.Sprint(len(s.Value)))
					}
					got = append(got, strings.Join(lengths, " "))
					batch.Done(true)
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("answers (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestMinBytes(t *testing.T) {
	for name, test := range map[string]struct {
		minimum, maximum int
		took             time.Duration
		count            int
	}{
		"1: as soon as there is a record":        {1, 0, time.Second, 1},
		"0: the same":                            {0, 0, time.Second, 1},
		"3: as soon as there are more than 3":    {3, 0, 4 * time.Second, 4},
		"-1: the whole time":                     {-1, 0, 10 * time.Second, 9},
		"-1, but there is as much as may be":     {-1, 4, 4 * time.Second, 3},
		"more than comes in time":                {100, 0, 10 * time.Second, 9},
		"1, with records that are there at once": {1, 1, time.Second, 1},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, r *fakeRig) {
				i := r.subscribed(t, "i", earliest)
				settleTimeless(t, i)
				go func() {
					for range 20 {
						time.Sleep(time.Second)
						r.log.write(at("a", 0), "x")
					}
				}()
				began := time.Now()
				got := readOnce(t, i, PollOptions{Wait: 10 * time.Second, MinBytes: test.minimum, MaxBytes: test.maximum})
				took := time.Since(began)
				if len(got) < test.count || len(got) > test.count+1 || took < test.took || took > test.took+200*time.Millisecond {
					t.Errorf("%d records after %v, want %d after %v", len(got), took, test.count, test.took)
				}
				time.Sleep(20 * time.Second)
			})
		})
	}
}

// TestFairness holds that a partition with a backlog does not keep the others from being read.
func TestFairness(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *fakeRig) {
		r.log.write(at("a", 0), numbered(0, 1000)...)
		i := r.subscribed(t, "i", earliest)
		settleTimeless(t, i)
		for range 3 {
			readOnce(t, i, PollOptions{Wait: time.Second, MinBytes: 1, MaxBytes: 10})
		}
		r.log.write(at("a", 1), "0")
		for n := range 3 {
			if got := readOnce(t, i, PollOptions{Wait: time.Second, MinBytes: 1, MaxBytes: 10}); slices.Contains(got, "a-1@0 0") {
				return
			} else if n == 2 {
				t.Errorf("the other partition has not had its turn after three answers")
			}
		}
	})
}

func TestUndecodable(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *fakeRig) {
		r.log.write(at("a", 0), "good", "good", "bad", "good")
		i := r.subscribed(t, "i", earliest)
		decodable := func(topic string, partition int32, s *record.Stored) error {
			if string(s.Value) == "bad" {
				return fault.Newf(fault.Undecodable, "%s-%d@%d", topic, partition, s.Offset)
			}
			return nil
		}
		options := PollOptions{Wait: time.Second, MinBytes: 1, Decodable: decodable}
		if got := readUntil(t, i, options, 2); len(got) != 2 {
			t.Errorf("before it: %v", got)
		}
		for range 2 {
			if _, err := i.Poll(t.Context(), options); code(err) != fault.Undecodable || err.Error() != "a-0@2" {
				t.Errorf("at it: %v", err)
			}
		}
		if err := i.Seek(t.Context(), []Target{{TopicPartition: at("a", 0), Offset: 3}}); err != nil {
			t.Fatal(err)
		}
		if got := readOnce(t, i, options); !slices.Equal(got, []string{"a-0@3 good"}) {
			t.Errorf("behind it: %v", got)
		}
	})
}

func TestSeekDuringAnOpenRead(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *fakeRig) {
		r.log.write(at("a", 0), numbered(0, 10)...)
		i := r.subscribed(t, "i", earliest)
		settleTimeless(t, i)
		result := make(chan []string)
		go func() { result <- readOnce(t, i, PollOptions{Wait: 10 * time.Second, MinBytes: -1}) }()
		time.Sleep(5 * time.Second) // it has everything, and waits for more
		if err := i.Seek(t.Context(), []Target{{TopicPartition: at("a", 0), Offset: 7}}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(expect("a", 0, 7, 10), <-result); diff != "" {
			t.Errorf("a read that was open (-want +got):\n%s", diff)
		}
		written, err := i.Poll(t.Context(), PollOptions{Wait: time.Second, MinBytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := i.Seek(t.Context(), []Target{{TopicPartition: at("a", 0), Offset: 2}}); err != nil {
			t.Fatal(err)
		}
		written.Done(true)
		if diff := cmp.Diff(expect("a", 0, 2, 10), readOnce(t, i, PollOptions{Wait: time.Second, MinBytes: 1})); diff != "" {
			t.Errorf("after one that was being written (-want +got):\n%s", diff)
		}
	})
}

func TestSeek(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a", Partitions: 2}}}, nil)
	r.produce("a", 0, numbered(0, 10)...)
	i := r.subscribed("g", "i", Options{AutoOffsetReset: "earliest"}, "a")
	if err := i.Seek(t.Context(), []Target{{TopicPartition: at("a", 0)}}); code(err) != fault.IllegalState ||
		fault.From(err).Message != "Illegal state: No current assignment for partition a-0" {
		t.Errorf("before it has partitions: %v", err)
	}
	readUntil(t, i, PollOptions{Wait: time.Second, MinBytes: 1}, 10)
	one := PollOptions{Wait: time.Second, MinBytes: 1, MaxBytes: 1}
	future := time.Now().Add(24 * time.Hour).UnixMilli()
	for name, test := range map[string]struct {
		targets []Target
		want    string
	}{
		"an offset":                 {[]Target{{TopicPartition: at("a", 0), Offset: 4}}, "a-0@4 4"},
		"the last of several":       {[]Target{{TopicPartition: at("a", 0), Offset: 4}, {TopicPartition: at("a", 0), Offset: 6}}, "a-0@6 6"},
		"the beginning":             {[]Target{{TopicPartition: at("a", 0), Lookup: true, At: reader.Earliest}}, "a-0@0 0"},
		"the end":                   {[]Target{{TopicPartition: at("a", 0), Lookup: true, At: reader.Latest}}, ""},
		"a time before everything":  {[]Target{{TopicPartition: at("a", 0), Lookup: true, At: 1}}, "a-0@0 0"},
		"a time after the last one": {[]Target{{TopicPartition: at("a", 0), Lookup: true, At: future}}, ""},
	} {
		if err := i.Seek(t.Context(), test.targets); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if test.want == "" {
			one.Wait = 50 * time.Millisecond
		}
		if got := strings.Join(readOnce(t, i, one), " "); got != test.want {
			t.Errorf("%s: read %q, want %q", name, got, test.want)
		}
		one.Wait = time.Second
	}
	if err := i.Seek(t.Context(), []Target{{TopicPartition: at("a", 0), Offset: 5}}); err != nil {
		t.Fatal(err)
	}
	for name, targets := range map[string][]Target{
		"a partition that it does not hold": {{TopicPartition: at("a", 0), Offset: 1}, {TopicPartition: at("a", 2)}},
		"a negative offset":                 {{TopicPartition: at("a", 0), Offset: 1}, {TopicPartition: at("a", 0), Offset: -1}},
	} {
		if err := i.Seek(t.Context(), targets); code(err) != fault.IllegalState && code(err) != fault.InvalidRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := readOnce(t, i, one); !slices.Equal(got, []string{"a-0@5 5"}) {
		t.Errorf("a seek that failed moved something: %v", got)
	}
}

func TestResetPolicies(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}}, nil)
	r.produce("a", 0, numbered(0, 5)...)

	latest := r.subscribed("latest", "i", Options{AutoOffsetReset: "latest", AutoCommit: true}, "a")
	settle(t, latest, 1)
	r.produce("a", 0, numbered(5, 7)...)
	if diff := cmp.Diff(expect("a", 0, 5, 7), readUntil(t, latest, PollOptions{Wait: time.Second, MinBytes: 1}, 2)); diff != "" {
		t.Errorf("latest is where it was when the partition was assigned (-want +got):\n%s", diff)
	}

	unread := r.subscribed("unread", "i", Options{AutoOffsetReset: "latest", AutoCommit: true}, "a")
	settle(t, unread, 1)
	r.delete(unread)
	r.produce("a", 0, numbered(7, 8)...)
	heir := r.subscribed("unread", "j", Options{AutoOffsetReset: "latest", AutoCommit: true}, "a")
	if diff := cmp.Diff(expect("a", 0, 7, 8), readUntil(t, heir, PollOptions{Wait: time.Second, MinBytes: 1}, 1)); diff != "" {
		t.Errorf("and stays there for whoever has it next (-want +got):\n%s", diff)
	}

	none := r.subscribed("none", "i", Options{AutoOffsetReset: "none"}, "a")
	for range 2 {
		_, err := poll(t, none, PollOptions{Wait: 5 * time.Second})
		if code(err) != fault.KafkaFailed || fault.From(err).Message != "Undefined offset with no reset policy for partitions: [a-0]" {
			t.Errorf("none: %v", err)
		}
	}
	if err := none.Seek(t.Context(), []Target{{TopicPartition: at("a", 0), Offset: 6}}); err != nil {
		t.Fatal(err)
	}
	if got := readOnce(t, none, PollOptions{Wait: time.Second, MinBytes: 1}); !slices.Equal(got, expect("a", 0, 6, 8)) {
		t.Errorf("after a seek: %v", got)
	}
}

func TestPositionsOutsideTheLog(t *testing.T) {
	for policy, want := range map[string][]string{"earliest": expect("a", 0, 5, 10), "latest": nil} {
		t.Run(policy, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, r *fakeRig) {
				r.log.write(at("a", 0), numbered(0, 10)...)
				r.group.offsets[at("a", 0)] = 2
				r.log.retain(at("a", 0), 5)
				i := r.subscribed(t, "i", Options{AutoOffsetReset: policy})
				if diff := cmp.Diff(want, readOnce(t, i, PollOptions{Wait: 5 * time.Second, MinBytes: 1})); diff != "" {
					t.Errorf("records (-want +got):\n%s", diff)
				}
			})
		})
	}
	t.Run("none", func(t *testing.T) {
		inBubble(t, nil, func(t *testing.T, r *fakeRig) {
			r.log.write(at("a", 0), numbered(0, 10)...)
			r.group.offsets[at("a", 0)], r.group.offsets[at("a", 1)] = 2, 0
			r.log.retain(at("a", 0), 5)
			i := r.subscribed(t, "i", Options{AutoOffsetReset: "none"})
			if _, err := i.Poll(t.Context(), PollOptions{Wait: 5 * time.Second}); code(err) != fault.KafkaFailed || !strings.Contains(err.Error(), "position 2 is out of range for partition a-0") {
				t.Errorf("the read: %v", err)
			}
		})
	})
}

func TestCommit(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a", Partitions: 2}}}, nil)
	r.produce("a", 0, numbered(0, 10)...)
	i := r.subscribed("g", "i", Options{AutoOffsetReset: "earliest"}, "a")
	if err := i.Commit(t.Context(), []Committed{{TopicPartition: at("a", 0), Offset: 1}}); code(err) != fault.IllegalState {
		t.Errorf("before it has partitions: %v", err)
	}
	if err := i.Commit(t.Context(), nil); err != nil {
		t.Errorf("of nothing: %v", err)
	}
	settle(t, i, 2)
	if got := len(readOnce(t, i, PollOptions{Wait: time.Second, MinBytes: 1, MaxBytes: 5})); got != 4 {
		t.Fatalf("read %d", got)
	}
	for _, test := range []struct {
		name    string
		offsets []Committed
		want    fault.Code
		leaves  int64
	}{
		{"what was delivered", nil, 0, 4},
		{"more than was delivered", []Committed{{TopicPartition: at("a", 0), Offset: 10, Metadata: "m"}}, 0, 10},
		{"beyond the end", []Committed{{TopicPartition: at("a", 0), Offset: 11}}, fault.InvalidRequest, 10},
		{"negative", []Committed{{TopicPartition: at("a", 0), Offset: -1}}, fault.InvalidRequest, 10},
		{"not held", []Committed{{TopicPartition: at("a", 0), Offset: 1}, {TopicPartition: at("b", 0), Offset: 1}}, fault.IllegalState, 10},
		{"back", []Committed{{TopicPartition: at("a", 0), Offset: 1}}, 0, 1},
		{"what was delivered, again", nil, 0, 4},
	} {
		if err := i.Commit(t.Context(), test.offsets); code(err) != test.want || test.want == 0 && err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if got := r.committed(i, at("a", 0))[at("a", 0)]; got != test.leaves {
			t.Errorf("%s: committed %d, want %d", test.name, got, test.leaves)
		}
	}
	r.produce("a", 0, numbered(10, 12)...)
	if err := i.Commit(t.Context(), []Committed{{TopicPartition: at("a", 0), Offset: 12, Metadata: "m"}}); err != nil {
		t.Errorf("up to an end that it has not seen: %v", err)
	}
	found, err := i.Committed(t.Context(), []record.TopicPartition{at("a", 0), at("a", 1), at("b", 0)})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Committed{{TopicPartition: at("a", 0), Offset: 12, Metadata: "m"}, {TopicPartition: at("a", 1)}}[:1], found[:1]); diff != "" || len(found) > 2 {
		t.Errorf("committed (-want +got):\n%s of %v", diff, found)
	}
}
