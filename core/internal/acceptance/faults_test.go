//go:build acceptance

package acceptance

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weir-gateway/weir/core/internal/apachekafka"
	"github.com/weir-gateway/weir/core/internal/history"
)

const faultPartitions = 6

// brokerFault is something that happens to a cluster of three brokers, and is over when it returns.
type brokerFault struct {
	name   string
	happen func(ctx context.Context, cluster *apachekafka.Cluster, random *rand.Rand) error
}

func brokerFaults(topics []string) []brokerFault {
	onOne := func(during time.Duration, break_, mend func(context.Context, *apachekafka.Node) error) func(context.Context, *apachekafka.Cluster, *rand.Rand) error {
		return func(ctx context.Context, cluster *apachekafka.Cluster, random *rand.Rand) error {
			node := cluster.Node(1 + random.IntN(3))
			if err := break_(ctx, node); err != nil {
				return err
			}
			if err := wait(ctx, during); err != nil {
				return err
			}
			return mend(ctx, node)
		}
	}
	kill := func(_ context.Context, n *apachekafka.Node) error { return n.Kill() }
	pause := func(_ context.Context, n *apachekafka.Node) error { return n.Pause() }
	resume := func(_ context.Context, n *apachekafka.Node) error { return n.Resume() }
	stop := func(ctx context.Context, n *apachekafka.Node) error { return n.Stop(ctx) }
	restart := func(ctx context.Context, n *apachekafka.Node) error { return n.Restart(ctx) }
	return []brokerFault{
		{"SIGKILL, then restart", onOne(500*time.Millisecond, kill, restart)},
		{"leaders moved", func(ctx context.Context, cluster *apachekafka.Cluster, random *rand.Rand) error {
			for _, topic := range topics {
				for partition := range int32(faultPartitions) {
					if err := cluster.MoveLeader(ctx, topic, partition, 1+random.Int32N(3)); err != nil {
						return err
					}
				}
			}
			return nil
		}},
		{"SIGSTOP past the session, then SIGCONT", onOne(9*time.Second, pause, resume)},
		{"SIGTERM, then restart", onOne(500*time.Millisecond, stop, restart)},
		{"SIGSTOP for a moment, then SIGCONT", onOne(1500*time.Millisecond, pause, resume)},
	}
}

func wait(ctx context.Context, duration time.Duration) error {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Three brokers, records replicated three times with two in sync, clients in every mode of sending, a good part of them cut off in
// the middle. Brokers are killed, frozen and restarted and leaders moved, one fault after the other. Afterwards no acknowledged
// record is missing, none is there twice, no key's order is inverted, and no outcome was told wrongly.
func TestFaultsUnderLoad(t *testing.T) {
	faults, records, cuts := scaled(8, 20), scaled(20_000, 100_000), scaled(1_000, 10_000)
	cluster := startKafka(t, apachekafka.Options{Brokers: 3})
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(scaled(4, 60))*time.Minute)
	defer cancel()
	topics := []string{"faults-a", "faults-b"}
	for _, topic := range topics {
		if err := cluster.CreateTopic(ctx, topic, faultPartitions, 3, nil); err != nil {
			t.Fatal(err)
		}
	}
	w := serveKafka(t, cluster, "")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	workers := make(map[history.Mode]int)
	for _, mode := range history.Modes() {
		workers[mode] = 4
	}
	recorded, stop := background(t, history.Load{
		URL: w.url, Topics: topics, Workers: workers, Padding: 100, CutShare: 0.4, Rate: float64(scaled(500, 400)), Seed: seed,
	})
	random := rand.New(rand.NewPCG(seed, 0))
	possible := brokerFaults(topics)
	for i := range faults {
		fault := possible[i%len(possible)]
		began := time.Now()
		if err := fault.happen(ctx, cluster, random); err != nil {
			t.Fatalf("fault %d, %s: %v", i+1, fault.name, err)
		}
		took := time.Since(began)
		for _, topic := range topics { // the next fault hits a whole cluster: two at once are more than it promises to bear
			if err := cluster.AwaitInSync(ctx, topic); err != nil {
				t.Fatalf("after fault %d, %s: %v", i+1, fault.name, err)
			}
		}
		t.Logf("fault %2d: %-40s %6s, whole after %6s; %d records, %d cuts", i+1, fault.name, took.Round(100*time.Millisecond),
			time.Since(began).Round(100*time.Millisecond), recorded.Len(), recorded.Cuts())
	}
	detail := ""
	eventually(t, time.Duration(scaled(60, 1800))*time.Second, "enough records and cuts", func() bool {
		detail = fmt.Sprintf("%d records, %d cuts", recorded.Len(), recorded.Cuts())
		return recorded.Len() >= records && recorded.Cuts() >= cuts
	}, &detail)
	stop()
	report := check(t, w, cluster, topics, recorded)
	t.Logf("%d faults, %d records, %d cuts", faults, recorded.Len(), recorded.Cuts())
	p99, acknowledged := recorded.Quantile(0.99, func(a *history.Attempt) bool { return a.Verdict == history.Persisted })
	t.Logf("%d acknowledged, 99 %% within %s", acknowledged, p99.Round(time.Millisecond))
	// The faults are such as a client with retries gets over: what the clients did not cut is written, by and large.
	if answered := recorded.Len() - report.Told[history.Unanswered]; report.Told[history.Persisted]*100 < answered*90 {
		t.Errorf("only %d of %d records whose client stayed were acknowledged", report.Told[history.Persisted], answered)
	}
}
