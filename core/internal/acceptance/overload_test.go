//go:build acceptance

package acceptance

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/weir-gateway/weir/core/internal/apachekafka"
	"github.com/weir-gateway/weir/core/internal/history"
)

// What the gateway's defaults and error table say.
const (
	stallTimeout       = 5 * time.Second
	brokerNotAvailable = 50302
)

// Four times the load that a healthy broker sustained, in bodies of 64 KiB, while the broker is frozen: the gateway stays within
// 1.15 times its memory limit, refuses quickly what it cannot take, and what it took is in the log when the broker goes on.
func TestOverloadWithAFrozenBroker(t *testing.T) {
	const limit = 256 << 20
	cluster := startKafka(t, apachekafka.Options{})
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	const topic = "overload"
	if err := cluster.CreateTopic(ctx, topic, 4, 1, nil); err != nil {
		t.Fatal(err)
	}
	w := serveKafka(t, cluster, "", "GOMEMLIMIT=256MiB")
	const body = 64 << 10
	load := history.Load{URL: w.url, ClusterID: cluster.ID(), Topics: []string{topic}, Padding: body}

	load.Prefix, load.Workers = "healthy", map[history.Mode]int{history.Single: 8}
	healthy, stop := background(t, load)
	if err := wait(ctx, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	span := healthy.Elapsed()
	rate := float64(healthy.Len()) / span.Seconds()
	stop()
	t.Logf("a healthy broker: %.0f records/s, %.0f MiB/s, RSS %d MiB", rate, rate*body/(1<<20), w.residentMemory(t)>>20)
	if bad := healthy.Count(func(a *history.Attempt) bool { return a.Verdict != history.Persisted }); bad > 0 {
		t.Errorf("%d of %d records were not written by a healthy broker", bad, healthy.Len())
	}

	if err := cluster.Node(1).Pause(); err != nil {
		t.Fatal(err)
	}
	load.Prefix, load.Workers, load.Rate = "overload", map[history.Mode]int{history.Single: 1500}, 4*rate
	overload, stop := background(t, load)
	frozen := time.Duration(scaled(20, 60)) * time.Second
	var peak int64
	for overload.Elapsed() < frozen {
		peak = max(peak, w.residentMemory(t))
		if err := wait(ctx, 50*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	// The management listener is what tells an operator of it.
	if status, _, err := get(w.management + "/livez"); err != nil || status != http.StatusOK {
		t.Errorf("/livez under overload: %d, %v", status, err)
	}
	if err := cluster.Node(1).Resume(); err != nil {
		t.Fatal(err)
	}
	stop()
	peak = max(peak, w.residentMemory(t))

	offered := overload.Count(func(a *history.Attempt) bool { return a.Sent < frozen })
	ratio := float64(offered) / frozen.Seconds() / rate
	t.Logf("a frozen broker: %d records offered in %s, %.1f times the rate; RSS at most %d MiB of %d", offered, frozen, ratio,
		peak>>20, int64(limit)>>20)
	if ratio < 3 {
		t.Errorf("only %.1f times the healthy rate was offered: this computer is too busy for the test", ratio)
	}
	if peak > limit*115/100 {
		t.Errorf("RSS rose to %d MiB, want at most 1.15 x %d", peak>>20, int64(limit)>>20)
	}

	// Who came while there was still room waited for the broker, until the partition was known to be stalled; everybody else was
	// refused on the spot.
	refused := func(a *history.Attempt) bool {
		return a.Verdict == history.Refused || a.Verdict == history.NotPersisted
	}
	waited := func(a *history.Attempt) bool {
		return refused(a) && a.Code == brokerNotAvailable && a.Sent < stallTimeout+time.Second
	}
	longest, waiting := overload.Quantile(1, waited)
	p99, count := overload.Quantile(0.99, func(a *history.Attempt) bool { return refused(a) && !waited(a) })
	took := overload.Count(func(a *history.Attempt) bool { return a.Verdict == history.Persisted || a.Verdict == history.Unknown })
	t.Logf("%d taken; %d refused after waiting up to %s; %d refused on the spot, 99 %% within %s", took, waiting, longest, count, p99)
	if took == 0 || count == 0 {
		t.Error("want some records taken and some refused")
	}
	if longest > stallTimeout+5*time.Second {
		t.Errorf("a record waited %s to be refused, want about the stall timeout, %s", longest, stallTimeout)
	}
	if p99 > 5*time.Second {
		t.Errorf("99 %% of the refusals on the spot took up to %s", p99)
	}
	// What clients measure contains the time that 1,500 of them take from each other on one computer. The gateway's own:
	own, lines := quantileOfRefusals(t, w, 0.99, stallTimeout-time.Second)
	t.Logf("by the gateway's log: %d refusals on the spot, 99 %% within %s", lines, own)
	if lines == 0 || own > 500*time.Millisecond {
		t.Errorf("by the gateway's log 99 %% of %d refusals on the spot took up to %s, want at most 500ms", lines, own)
	}
	end(t, w)
	check(t, cluster, []string{topic}, healthy, overload)
}

// quantileOfRefusals reads the gateway's access log: how long it took to answer 503, as far as that was quicker than longest.
func quantileOfRefusals(t *testing.T, w *weirProcess, q float64, longest time.Duration) (time.Duration, int) {
	t.Helper()
	log, err := os.Open(w.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	var times []float64
	for lines := bufio.NewScanner(log); lines.Scan(); {
		var line struct {
			Message  string  `json:"msg"`
			Status   int     `json:"status"`
			Duration float64 `json:"duration_ms"`
		}
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Message == "request" && line.Status == http.StatusServiceUnavailable &&
			line.Duration < float64(longest.Milliseconds()) {
			times = append(times, line.Duration)
		}
	}
	if len(times) == 0 {
		return 0, 0
	}
	slices.Sort(times)
	return time.Duration(times[int(q*float64(len(times)-1))] * float64(time.Millisecond)), len(times)
}
