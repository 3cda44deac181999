//go:build acceptance

package acceptance

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"encoding/json"

	"github.com/weir-gateway/weir/core/internal/apachekafka"
)

// delivered is which offsets of a topic clients have received, and how often records came again.
type delivered struct {
	mu         sync.Mutex
	partitions map[int32][]byte // per offset, how often (at most 255)
	count      int
	again      int
}

func (d *delivered) add(records []consumed) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.partitions == nil {
		d.partitions = map[int32][]byte{}
	}
	for _, r := range records {
		seen := d.partitions[r.Partition]
		for int64(len(seen)) <= r.Offset {
			seen = append(seen, 0)
		}
		if seen[r.Offset] > 0 {
			d.again++
		} else {
			d.count++
		}
		seen[r.Offset] = min(seen[r.Offset]+1, 254)
		d.partitions[r.Partition] = seen
	}
}

// missing gives how many offsets below end were not received.
func (d *delivered) missing(partition int32, end int64) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	seen, n := d.partitions[partition], int64(0)
	for offset := range end {
		if offset >= int64(len(seen)) || seen[offset] == 0 {
			n++
		}
	}
	return n
}

func (d *delivered) total() (count, again int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.count, d.again
}

// Twelve instances of one group on three gateways, one of which joins or leaves every two seconds, while records are written: each
// record is delivered at least once, no committed offset has an undelivered one before it, and no read outlasts its timeout by more than
// half a second. Every call goes to the next gateway.
func TestGroupChurnLosesNothing(t *testing.T) {
	cluster := startKafka(t, apachekafka.Options{Brokers: 3})
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	const topic, group, partitions, members = "churn", "churners", 24, 12
	if err := cluster.CreateTopic(ctx, topic, partitions, 3, nil); err != nil {
		t.Fatal(err)
	}
	_, urls := servePeers(t, cluster, 3, "log: {access: false}\n")
	client := newConsumerClient(urls...)

	const timeout = time.Second
	var got delivered
	var slowest, polls, rebalancing atomic.Int64
	var running sync.WaitGroup
	// member reads until stop is closed, then deletes its instance.
	member := func(stop <-chan struct{}) {
		defer running.Done()
		in, err := client.create(group, nil)
		if err == nil {
			err = in.subscribe(topic)
		}
		if err != nil {
			t.Error(err)
			return
		}
		for {
			select {
			case <-stop:
				if err := in.remove(); err != nil {
					t.Error(err)
				}
				return
			default:
			}
			began := time.Now()
			records, answer, err := in.poll(fmt.Sprintf("?timeout=%d", timeout.Milliseconds()))
			took := time.Since(began)
			if err != nil {
				t.Error(err)
				return
			}
			polls.Add(1)
			if answer.header.Get("Weir-Consumer-State") == "rebalancing" {
				rebalancing.Add(1)
			}
			for {
				longest := slowest.Load()
				if int64(took) <= longest || slowest.CompareAndSwap(longest, int64(took)) {
					break
				}
			}
			got.add(records)
		}
	}
	var stops []chan struct{}
	join := func() {
		stop := make(chan struct{})
		stops = append(stops, stop)
		running.Add(1)
		go member(stop)
	}
	for range members {
		join()
	}

	count := scaled(60_000, 500_000)
	rate := 3000
	written := make(chan map[int32]int64, 1)
	go func() { written <- writeRecords(ctx, t, cluster, topic, count, 100, rate) }()
	churns := 0
	var ends map[int32]int64
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for ends == nil {
		select {
		case <-tick.C:
			if churns%2 == 0 {
				i := rand.IntN(len(stops))
				close(stops[i])
				stops = append(stops[:i], stops[i+1:]...)
			} else {
				join()
			}
			churns++
			committedIsDelivered(t, client, group, topic, partitions, &got)
		case ends = <-written:
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		}
	}
	deadline := time.Now().Add(time.Minute)
	for {
		n, _ := got.total()
		if n >= count || time.Now().After(deadline) || t.Failed() {
			break
		}
		time.Sleep(50 * time.Millisecond) // a poll with a deadline
	}
	for _, stop := range stops {
		close(stop)
	}
	running.Wait()
	committedIsDelivered(t, client, group, topic, partitions, &got)

	n, again := got.total()
	t.Logf("%d of %d records delivered by %d polls during %d joins and leaves; %d delivered again (%.2f %%); %d polls said rebalancing; the slowest took %s",
		n, count, polls.Load(), churns, again, 100*float64(again)/float64(count), rebalancing.Load(), time.Duration(slowest.Load()).Round(time.Millisecond))
	for partition, end := range ends {
		if missing := got.missing(partition, end); missing > 0 {
			t.Errorf("partition %d: %d of %d records were never delivered", partition, missing, end)
		}
	}
	if longest := time.Duration(slowest.Load()); longest > timeout+500*time.Millisecond {
		t.Errorf("a poll with a timeout of %s took %s", timeout, longest)
	}
}

// committedIsDelivered reads what the group has committed, and then holds it against what clients have received.
func committedIsDelivered(t *testing.T, client *consumerClient, group, topic string, partitions int32, got *delivered) {
	t.Helper()
	in, err := client.create(group, nil)
	if err != nil {
		t.Error(err)
		return
	}
	defer in.remove() //nolint:errcheck // it never joined
	query := "/offsets?"
	for p := range partitions {
		query += fmt.Sprintf("partition=%s:%d&", topic, p)
	}
	answer, err := client.expect(http.StatusOK, http.MethodGet, in.path+query, nil)
	if err != nil {
		t.Error(err)
		return
	}
	var body struct {
		Offsets []struct {
			Partition int32 `json:"partition"`
			Offset    int64 `json:"offset"`
		} `json:"offsets"`
	}
	if err := json.Unmarshal(answer.body, &body); err != nil {
		t.Error(err)
		return
	}
	// What was committed was in an answer that a client had received whole before the commit, but may not have counted yet.
	deadline := time.Now().Add(2 * time.Second)
	for _, one := range body.Offsets {
		for got.missing(one.Partition, one.Offset) > 0 {
			if time.Now().After(deadline) {
				t.Errorf("partition %d: %d is committed, and %d records before it were not delivered", one.Partition, one.Offset, got.missing(one.Partition, one.Offset))
				break
			}
			time.Sleep(10 * time.Millisecond) // a poll with a deadline
		}
	}
}
