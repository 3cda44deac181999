//go:build acceptance

package acceptance

import (
	"context"
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
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(scaled(5, 60))*time.Minute)
	defer cancel()
	topics := []string{"faults-a", "faults-b"}
	for _, topic := range topics {
		if err := cluster.CreateTopic(ctx, topic, faultPartitions, 3, nil); err != nil {
			t.Fatal(err)
		}
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	workers := make(map[history.Mode]int)
	for _, mode := range history.Modes() {
		workers[mode] = 3
	}
	load := history.Load{ClusterID: cluster.ID(), Topics: topics, Workers: workers, Padding: 100, CutShare: 0.4, Rate: 250, Seed: seed}
	// One gateway has the patience that is the default, and gets over every fault. The other's deadline is shorter than an outage,
	// so that it has to say of some records that their outcome is unknown, and of others that they were not written.
	patient := serveKafka(t, cluster, "")
	impatient := serveKafka(t, cluster, "produce: {timeout: 5s, stall_timeout: 2s}\n")
	load.URL, load.Prefix = patient.url, "patient"
	patiently, stopPatient := background(t, load)
	load.URL, load.Prefix = impatient.url, "impatient"
	impatiently, stopImpatient := background(t, load)
	count := func() (records, cuts int) {
		return patiently.Len() + impatiently.Len(), patiently.Cuts() + impatiently.Cuts()
	}
	random := rand.New(rand.NewPCG(seed, 0))
	possible := brokerFaults(topics)
	happened := 0
	enough := func() bool {
		nowRecords, nowCuts := count()
		return happened >= faults && nowRecords >= records && nowCuts >= cuts
	}
	for !enough() {
		fault := possible[happened%len(possible)]
		happened++
		began := time.Now()
		if err := fault.happen(ctx, cluster, random); err != nil {
			t.Fatalf("fault %d, %s: %v", happened, fault.name, err)
		}
		took := time.Since(began)
		for _, topic := range topics { // the next fault hits a whole cluster: two at once are more than it promises to bear
			if err := cluster.AwaitInSync(ctx, topic); err != nil {
				t.Fatalf("after fault %d, %s: %v", happened, fault.name, err)
			}
		}
		nowRecords, nowCuts := count()
		t.Logf("fault %2d: %-40s %6s, whole after %6s; %d records, %d cuts", happened, fault.name, took.Round(100*time.Millisecond),
			time.Since(began).Round(100*time.Millisecond), nowRecords, nowCuts)
	}
	stopPatient()
	stopImpatient()
	end(t, patient)
	end(t, impatient)
	report := check(t, cluster, topics, patiently, impatiently)
	nowRecords, nowCuts := count()
	t.Logf("%d faults, %d records, %d cuts", happened, nowRecords, nowCuts)
	if report.Told[history.Unknown] == 0 || report.Told[history.NotPersisted] == 0 {
		t.Error("no outcome was unknown, or none was not_persisted: the faults were not felt")
	}
	acknowledged := func(a *history.Attempt) bool { return a.Verdict == history.Persisted }
	p99, written := patiently.Quantile(0.99, acknowledged)
	answered := patiently.Count(func(a *history.Attempt) bool { return a.Verdict != history.Unanswered })
	t.Logf("by the patient gateway %d of %d answered records were acknowledged, 99 %% within %s", written, answered, p99.Round(time.Millisecond))
	// What it does not write it refuses, for partitions that have had no leader for longer than the stall timeout.
	if written*100 < answered*70 {
		t.Errorf("the patient gateway got only %d of %d records over the faults, want 70 %%", written, answered)
	}
}
