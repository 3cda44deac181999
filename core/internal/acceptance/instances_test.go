//go:build acceptance

package acceptance

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-gateway/weir/core/internal/apachekafka"
)

// errorCode is the error_code of an answer, 0 if it has none.
func errorCode(body []byte) int {
	var e struct {
		ErrorCode int `json:"error_code"`
	}
	if json.Unmarshal(body, &e) != nil {
		return 0
	}
	return e.ErrorCode
}

// A thousand instances that have joined their groups and hold eight partitions each cost little while nobody reads: at most 256 KiB of
// resident memory, one goroutine and one connection. A hundred reads of 1 MiB that are answered at the same time to slow clients hold what
// was asked and a tenth, in three times that of memory.
func TestIdleInstancesAreCheap(t *testing.T) {
	cluster := startKafka(t, apachekafka.Options{})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	const topic = "idle"
	if err := cluster.CreateTopic(ctx, topic, 8, 1, nil); err != nil {
		t.Fatal(err)
	}
	writeRecords(ctx, t, cluster, topic, 16_000, 1024, 0)
	const compressed = "compressed"
	if err := cluster.CreateTopic(ctx, compressed, 8, 1, nil); err != nil {
		t.Fatal(err)
	}
	writeCompressed(ctx, t, cluster, compressed, 160_000, 1024, 0, kgo.SnappyCompression())
	w := serveKafka(t, cluster, "log: {access: false}\n", "GODEBUG=madvdontneed=1")
	client := newConsumerClient(w.url)

	// The first instances pay for what all share.
	warm := joined(t, client, topic, "warm", 20)
	quiet := func() (memory int64, goroutines, connections int) {
		// Two collections, since memory is given back only after the second. There is no way to ask for one: they come by themselves
		// every two minutes, or with allocation, which small answers bring about.
		least := int64(1 << 62)
		for range 20 {
			for range 200 {
				if status, _, err := get(w.url + "/topics"); err != nil || status != http.StatusOK {
					t.Fatal(status, err)
				}
			}
			least = min(least, w.residentMemory(t))
		}
		return least, int(w.metric(t, "go_goroutines")), w.descriptors(t)
	}
	memory, goroutines, connections := quiet()
	count := scaled(400, 1000)
	began := time.Now()
	idle := joined(t, client, topic, "idle", count)
	t.Logf("%d instances made, subscribed and joined in %s", count, time.Since(began).Round(time.Millisecond))
	client.http.CloseIdleConnections()
	time.Sleep(2 * time.Second) // of heartbeats, with nothing else
	after, goroutinesAfter, connectionsAfter := quiet()
	perInstance := float64(after-memory) / float64(count)
	t.Logf("each idle instance: %.0f KiB, %.2f goroutines, %.2f descriptors (RSS %d → %d MiB)", perInstance/1024,
		float64(goroutinesAfter-goroutines)/float64(count), float64(connectionsAfter-connections)/float64(count), memory>>20, after>>20)
	if perInstance > 256<<10 {
		t.Errorf("an idle instance takes %.0f KiB", perInstance/1024)
	}
	if n := float64(goroutinesAfter-goroutines) / float64(count); n > 1.1 { // heartbeats under way have one for a moment
		t.Errorf("an idle instance has %.2f goroutines", n)
	}
	if n := float64(connectionsAfter-connections) / float64(count); n > 1.05 {
		t.Errorf("an idle instance has %.2f connections", n)
	}
	for _, in := range append(warm, idle...) {
		if err := in.remove(); err != nil {
			t.Fatal(err)
		}
	}

	// The reads are to be open together, which is the clients' doing: on a busy computer some are over before others begin. How much of the
	// log makes so much memory is an estimate, so that an answer may have less than was asked.
	for attempt := 1; readTogether(t, w, client, topic, 100, 1<<20, 0.2) < 0.5; attempt++ {
		if attempt == 5 {
			t.Errorf("the reads were not open together in %d attempts", attempt)
			break
		}
	}
	readTogether(t, w, client, compressed, 100, 1<<20, 0.2)
}

// joined makes instances, each in a group of its own, and reads with them until they hold all partitions.
func joined(t *testing.T, client *consumerClient, topic, prefix string, count int) []*instance {
	t.Helper()
	made := make([]*instance, count)
	var running sync.WaitGroup
	slots := make(chan struct{}, 16)
	for i := range count {
		running.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			in, err := client.create(fmt.Sprintf("%s-%d", prefix, i), map[string]any{"auto.offset.reset": "latest"})
			if err == nil {
				err = in.subscribe(topic)
			}
			for held, deadline := 0, time.Now().Add(30*time.Second); err == nil && held < 8; {
				if time.Now().After(deadline) {
					err = fmt.Errorf("holds %d partitions", held)
					break
				}
				if _, _, err = in.poll("?timeout=200"); err == nil {
					held, err = in.assigned()
				}
			}
			if err != nil {
				t.Errorf("%s-%d: %v", prefix, i, err)
			}
			made[i] = in
		})
	}
	running.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return made
}

// descriptors is how many files and sockets the process has open.
func (w *weirProcess) descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", w.process.PID()))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// readTogether opens reads whose clients take nothing until all are being answered, and watches what the gateway holds.
// least is the share of what was asked that answers must have. It gives what was held at most, as a share of what was asked.
func readTogether(t *testing.T, w *weirProcess, client *consumerClient, topic string, count, size int, least float64) float64 {
	t.Helper()
	made := make([]*instance, count)
	for i := range made {
		in, err := client.create(fmt.Sprintf("together-%d", i), nil)
		if err != nil {
			t.Fatal(err)
		}
		partitions := []map[string]any{}
		for p := range 8 {
			partitions = append(partitions, map[string]any{"topic": topic, "partition": p})
		}
		if _, err := client.expect(http.StatusNoContent, http.MethodPost, in.path+"/assignments", map[string]any{"partitions": partitions}); err != nil {
			t.Fatal(err)
		}
		made[i] = in
	}
	client.http.CloseIdleConnections()
	before := w.residentMemory(t)
	// Clients whose sockets take little: the answers stand in the gateway, not in the kernel.
	small := &net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) }) //nolint:errcheck // then held tells
	}}
	reading := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DialContext: small.DialContext}}
	defer reading.CloseIdleConnections()
	begun, release := make(chan struct{}, count), make(chan struct{})
	var got atomic.Int64
	var running sync.WaitGroup
	for _, in := range made {
		running.Go(func() {
			request, err := http.NewRequest(http.MethodGet, w.url+in.path+fmt.Sprintf("/records?timeout=1000&max_bytes=%d", size), nil)
			if err != nil {
				t.Error(err)
				return
			}
			request.Header.Set("Accept", jsonType)
			response, err := reading.Do(request)
			if err != nil {
				t.Error(err)
				begun <- struct{}{}
				return
			}
			defer response.Body.Close()
			begun <- struct{}{}
			<-release // the answer's header has come, its body stands in the sockets and in the gateway
			n, err := io.Copy(io.Discard, response.Body)
			if err != nil || response.StatusCode != http.StatusOK {
				t.Errorf("%d %v", response.StatusCode, err)
			}
			got.Add(n)
		})
	}
	var peak int64
	var held float64
	watch := func() {
		peak = max(peak, w.residentMemory(t))
		held = max(held, w.metric(t, "weir_reader_buffer_bytes"))
	}
	for range count {
		<-begun
		watch()
	}
	for range 20 {
		watch()
		time.Sleep(20 * time.Millisecond) // of looking
	}
	close(release)
	running.Wait()
	asked := float64(count * size)
	t.Logf("%d reads of %d KiB at once: %.0f MiB given; held at most %.0f MiB (%.0f %% of what was asked); RSS %d → at most %d MiB (%.1f times)",
		count, size>>10, float64(got.Load())/(1<<20), held/(1<<20), 100*held/asked, before>>20, peak>>20, float64(peak-before)/asked)
	if held > 1.1*asked {
		t.Errorf("%.0f bytes were held for reads of %.0f", held, asked)
	}
	if float64(peak-before) > 3*asked {
		t.Errorf("RSS rose by %d MiB for reads of %.0f MiB", (peak-before)>>20, asked/(1<<20))
	}
	if float64(got.Load()) < least*asked {
		t.Errorf("only %d bytes were given", got.Load())
	}
	for _, in := range made {
		if err := in.remove(); err != nil {
			t.Error(err)
		}
	}
	return held / asked
}

// A hundred instances of one group, made at once: all have what they are due within ten seconds. When a gateway ends on SIGTERM, the members
// on the other own its partitions within three.
func TestManyInstancesOfOneGroup(t *testing.T) {
	cluster := startKafka(t, apachekafka.Options{})
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	const topic, group, members = "many", "many", 100
	if err := cluster.CreateTopic(ctx, topic, members, 1, nil); err != nil {
		t.Fatal(err)
	}
	nodes, urls := servePeers(t, cluster, 2, "log: {access: false}\n")
	client := newConsumerClient(urls...)
	began := time.Now()
	made := make([]*instance, members)
	usable := make([]time.Duration, members)
	stop := make(chan struct{})
	var running, settled sync.WaitGroup
	settled.Add(members)
	var slowest atomic.Int64
	for i := range members {
		running.Go(func() {
			done := sync.OnceFunc(settled.Done)
			defer done()
			in, err := client.create(group, map[string]any{"auto.offset.reset": "earliest"})
			if err == nil {
				err = in.subscribe(topic)
			}
			if err != nil {
				t.Error(err)
				return
			}
			made[i] = in
			for {
				select {
				case <-stop:
					return
				default:
				}
				at := time.Now()
				_, answer, err := in.poll("?timeout=500")
				if took := int64(time.Since(at)); took > slowest.Load() {
					slowest.Store(took)
				}
				if err != nil {
					select {
					case <-stop: // its gateway is being ended
					default:
						t.Error(err)
					}
					return
				}
				if usable[i] == 0 && answer.header.Get("Weir-Consumer-State") == "at-end" {
					usable[i] = time.Since(began)
					done()
				}
			}
		})
	}
	settled.Wait()
	var last time.Duration
	for _, at := range usable {
		last = max(last, at)
		if at == 0 {
			t.Error("an instance never held a partition")
		}
	}
	t.Logf("%d instances hold their partition after %s; the slowest poll took %s", members, last.Round(time.Millisecond), time.Duration(slowest.Load()).Round(time.Millisecond))
	if last > 10*time.Second {
		t.Errorf("the last instance was usable after %s", last)
	}
	close(stop)
	running.Wait()
	if t.Failed() {
		return
	}

	// Which are on the gateway that stays is seen from there, when the other is gone.
	ended := time.Now()
	if err := syscall.Kill(nodes[1].process.PID(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	held := 0
	detail := ""
	client.gateways = urls[:1]
	eventually(t, 10*time.Second, "the other members own all partitions", func() bool {
		held = 0
		left := 0
		for _, in := range made {
			answer, err := client.call(http.MethodGet, in.path+"/assignments", nil)
			if err != nil || answer.status != http.StatusOK {
				continue
			}
			var body struct {
				Partitions []struct{} `json:"partitions"`
			}
			if json.Unmarshal(answer.body, &body) == nil {
				held += len(body.Partitions)
				left++
			}
		}
		detail = fmt.Sprintf("%d partitions on %d instances", held, left)
		return held == members
	}, &detail)
	took := time.Since(ended)
	t.Logf("%s, %s after SIGTERM", detail, took.Round(time.Millisecond))
	if took > 3*time.Second {
		t.Errorf("the partitions were owned %s after SIGTERM", took)
	}
}
