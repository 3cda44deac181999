package reader

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-gateway/weir/core/internal/embedded"
	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/record"
)

// A broker that hangs has half of the room at most, and not for long: its connections are given up when the reads that wanted its
// answers are over.
func TestABrokerThatHangsKeepsNoRoom(t *testing.T) {
	t.Parallel()
	const polls = 64
	settings := consumeSettings()
	settings.FetchConnections, settings.BufferBytes = polls, 16<<20
	r := newRig(t, embedded.Options{Brokers: 2, Topics: []embedded.Topic{{Name: "a", Partitions: 2}}}, settings)
	positions := spread(t, r.broker, "a", 2)
	produce(t, newProducer(t, r.broker.Addresses()), values("a", 0, 3, 10)...)
	produce(t, newProducer(t, r.broker.Addresses()), values("a", 1, 3, 10)...)
	readAll(t, r.reader, []record.Position{positions[0]}, Options{Patience: 3 * time.Second})
	readAll(t, r.reader, []record.Position{positions[1]}, Options{Patience: 3 * time.Second})
	var all sync.WaitGroup
	for range polls {
		all.Go(func() {
			_, release, _ := r.reader.Fetch(t.Context(), []record.Position{position("a", 1, 3)}, Options{Wait: 700 * time.Millisecond})
			release()
		})
	}
	holdsWithin(t, 5*time.Second, "all are under way", func() bool { return r.reader.pool.Connections() >= polls && r.reader.Buffered() >= 8<<20-2<<20 })
	if err := r.broker.Freeze(1); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	for range 20 {
		if got := r.fetchOne(t, position("a", 0, 0), Options{Patience: 3 * time.Second}); got.Err != nil || len(got.Records) != 3 {
			t.Fatalf("a healthy broker: %+v", got)
		}
	}
	if held := r.reader.Buffered(); held > settings.BufferBytes/2 {
		t.Errorf("%d bytes are held for the broker that hangs", held)
	}
	holdsWithin(t, 3*time.Second, "the room is given back", func() bool { return r.reader.Buffered() == 0 }) // long before the read timeout of 5 s
}

// Who does not take its answers is refused more, and others read on. A poll at the end of the log needs no room at all.
func TestASlowOwnerLeavesRoom(t *testing.T) {
	t.Parallel()
	settings := consumeSettings()
	settings.BufferBytes = 8 << 20
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a", Partitions: 2}}}, settings)
	p := newProducer(t, r.broker.Addresses(), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(128<<10))
	for range 12 {
		produce(t, p, values("a", 0, 1000, 1000)...)
	}
	hoard := func(owner string) (releases []func()) {
		for at := position("a", 0, 0); ; {
			results, release, err := r.reader.Fetch(t.Context(), []record.Position{at}, Options{Owner: owner})
			if err != nil {
				wantCode(t, "one who takes no answer", err, fault.Overloaded)
				return releases
			}
			releases = append(releases, release)
			if at.Offset = results[0].End; results[0].AtEnd() {
				at.Offset = 0
			}
		}
	}
	slow := hoard("slow")
	if held := r.reader.Buffered(); held < 3<<20 || held > 5<<20 {
		t.Errorf("one owner holds %d bytes of %d", held, settings.BufferBytes)
	}
	for range 3 {
		results, release, err := r.reader.Fetch(t.Context(), []record.Position{position("a", 0, 0)}, Options{Owner: "quick"})
		if err != nil || len(results[0].Records) < 100 {
			t.Errorf("another owner: %v, %+v", err, results)
		}
		release()
	}
	all := hoard("")
	for _, owner := range []string{"", "slow", "quick"} {
		results, release, err := r.reader.Fetch(t.Context(), []record.Position{position("a", 1, 0)}, Options{Wait: 200 * time.Millisecond, Owner: owner})
		release()
		if err != nil || results[0].Err != nil || !results[0].AtEnd() {
			t.Errorf("a poll at the end of the log: %v, %+v", err, results)
		}
	}
	_, release, err := r.reader.Fetch(t.Context(), []record.Position{position("a", 0, 0)}, Options{Owner: "quick"})
	release()
	wantCode(t, "a read of records while all is held", err, fault.Overloaded)
	for _, release := range append(slow, all...) {
		release()
	}
}

func newBudget(size int64) *budget {
	return &budget{size: size, owners: map[string]int64{}, brokers: map[string]int64{}}
}

func TestBudgetBounds(t *testing.T) {
	t.Parallel()
	const size = 1600
	now := time.Now()
	for name, test := range map[string]struct {
		before      []account // each has taken 100
		a           account
		want, least int64
		taken       int64
	}{
		"all that is wanted":            {a: account{broker: "1"}, want: 700, least: 10, taken: 700},
		"beyond the broker's half":      {before: []account{{"", "1"}}, a: account{broker: "1"}, want: 650, least: 10, taken: 10},
		"beyond the owner's half":       {before: []account{{"x", "1"}}, a: account{"x", "2"}, want: 650, least: 10, taken: 10},
		"nobody's has no half":          {before: []account{{"", "1"}, {"", "1"}}, a: account{"", "2"}, want: 700, least: 10, taken: 700},
		"another owner":                 {before: []account{{"x", "1"}, {"x", "1"}}, a: account{"y", "2"}, want: 700, least: 10, taken: 700},
		"more than a bound, alone":      {a: account{"x", "1"}, want: 5000, least: 5000, taken: 5000},
		"no room, not even a little":    {before: []account{{"x", "1"}, {"x", "2"}, {"x", "3"}, {"x", "4"}, {"x", "5"}, {"x", "6"}, {"x", "7"}, {"x", "8"}}, a: account{"x", "9"}, want: 100, least: 10},
		"the last eighth is for little": {before: []account{{"x", "1"}, {"x", "2"}, {"x", "3"}, {"x", "4"}, {"x", "5"}, {"x", "6"}, {"x", "7"}}, a: account{"x", "9"}, want: 100, least: 10, taken: 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBudget(size)
			for _, a := range test.before {
				if taken, err := b.reserve(t.Context(), now, a, 100, 100); taken != 100 {
					t.Fatal(taken, err)
				}
			}
			taken, err := b.reserve(t.Context(), now, test.a, test.want, test.least)
			if taken != test.taken || (err == nil) != (test.taken > 0) {
				t.Errorf("taken %d, %v; want %d", taken, err, test.taken)
			}
			if err == nil {
				b.arrive(test.a, taken, 0)
			}
			for _, a := range test.before {
				b.arrive(a, 100, 70)
				b.release(a.owner, 70)
			}
			if b.used != 0 || len(b.owners)+len(b.brokers) != 0 || b.waiting.Len() != 0 {
				t.Errorf("left: %+v", b)
			}
		})
	}
}

// Who waits because of its own broker keeps nobody else waiting.
func TestAClaimOfAFullBrokerIsPassed(t *testing.T) {
	t.Parallel()
	b := newBudget(1000)
	if _, err := b.reserve(t.Context(), time.Now(), account{broker: "1"}, 600, 600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, err := b.reserve(ctx, time.Now().Add(time.Minute), account{broker: "1"}, 100, 100)
		done <- err
	}()
	holdsWithin(t, 5*time.Second, "it waits", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.waiting.Len() == 1
	})
	if taken, err := b.reserve(t.Context(), time.Now(), account{broker: "2"}, 100, 10); taken != 100 || err != nil {
		t.Errorf("another broker: %d, %v", taken, err)
	}
	if b.wanted() {
		t.Error("nobody waits for what others could give back")
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("it was granted")
	}
}
