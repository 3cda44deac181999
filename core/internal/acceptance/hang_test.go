//go:build acceptance

package acceptance

import (
	"context"
	"testing"
	"time"

	"github.com/weir-gateway/weir/core/internal/apachekafka"
	"github.com/weir-gateway/weir/core/internal/history"
)

// One of two brokers hangs and stays the leader of its partitions. Records for the other broker go on at the latency that they had
// before, under the same load, while a backlog builds up for the first.
func TestABrokerThatHangsDoesNotHoldUpTheOther(t *testing.T) {
	// With a session as long as this the cluster never declares the broker dead: the gateway has to live with it.
	cluster := startKafka(t, apachekafka.Options{Brokers: 2, Properties: map[string]string{"broker.session.timeout.ms": "600000"}})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	const lively, hanging = "on-the-lively-broker", "on-the-hanging-broker"
	for topic, broker := range map[string]int32{lively: 1, hanging: 2} {
		if err := cluster.CreateTopicOn(ctx, topic, [][]int32{{broker}, {broker}, {broker}, {broker}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	w := serveKafka(t, cluster, "")
	const patience = 5 * time.Minute // the streams are long
	steady, stopSteady := background(t, history.Load{
		URL: w.url, Timeout: patience, Topics: []string{lively}, Prefix: "lively", Rate: 300, Padding: 200,
		Workers: map[history.Mode]int{history.Single: 4, history.Batch: 2, history.PingPong: 2, history.StreamHTTP2: 1},
	})
	backlog, stopBacklog := background(t, history.Load{
		URL: w.url, Timeout: patience, Topics: []string{hanging}, Prefix: "hanging", Rate: 1000, Padding: 1000,
		// So many that some are free to send when the partitions have been taking nothing for a while.
		Workers: map[history.Mode]int{history.Single: 1000, history.List: 300, history.Stream: 10, history.StreamHTTP2: 10},
	})
	span := time.Duration(scaled(8, 30)) * time.Second
	if err := wait(ctx, 2*time.Second); err != nil { // the first connections, the first metadata
		t.Fatal(err)
	}
	beforeFrom := steady.Elapsed()
	if err := wait(ctx, span); err != nil {
		t.Fatal(err)
	}
	beforeTo := steady.Elapsed()
	if err := cluster.Node(2).Pause(); err != nil {
		t.Fatal(err)
	}
	duringFrom, backlogFrom := steady.Elapsed(), backlog.Elapsed()
	if err := wait(ctx, 2*span); err != nil { // past the stall timeout and the request timeout
		t.Fatal(err)
	}
	duringTo := steady.Elapsed()
	stopSteady()
	if err := cluster.Node(2).Resume(); err != nil {
		t.Fatal(err)
	}
	stopBacklog()

	begun := func(from, to time.Duration) func(*history.Attempt) bool {
		return func(a *history.Attempt) bool { return a.Sent >= from && a.Sent < to }
	}
	before, countBefore := steady.Quantile(0.99, begun(beforeFrom, beforeTo))
	during, countDuring := steady.Quantile(0.99, begun(duringFrom, duringTo))
	worst, _ := steady.Quantile(1, begun(duringFrom, duringTo))
	held, countHeld := backlog.Quantile(0.99, func(a *history.Attempt) bool { return a.Sent >= backlogFrom })
	t.Logf("the other broker's records: p99 %s of %d before, %s of %d during the hang, at worst %s", before, countBefore, during, countDuring, worst)
	turnedAway := backlog.Count(func(a *history.Attempt) bool {
		return a.Verdict == history.NotPersisted || a.Verdict == history.Refused
	})
	t.Logf("the hanging broker's records: %d, p99 %s; %d turned away", countHeld, held, turnedAway)
	if turnedAway == 0 {
		t.Error("nothing was turned away: the backlog came nowhere near its bounds")
	}
	// Generous, for computers that do other things as well: a broker's hang that is felt takes seconds.
	if limit := max(5*before, 200*time.Millisecond); during > limit {
		t.Errorf("p99 rose from %s to %s, want at most %s", before, during, limit)
	}
	if worst > 2*time.Second {
		t.Errorf("a record for the lively broker took %s", worst)
	}
	if countDuring < 2*countBefore*8/10 {
		t.Errorf("got %d records in twice the time of %d before, want the same rate", countDuring, countBefore)
	}
	if failed := steady.Count(func(a *history.Attempt) bool { return a.Verdict != history.Persisted }); failed > 0 {
		t.Errorf("%d records for the lively broker were not written", failed)
	}
	end(t, w)
	check(t, cluster, []string{lively, hanging}, steady, backlog)
}
