//go:build acceptance && unix

package consumer

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/apachekafka"
	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/record"
)

func startKafka(t *testing.T, options apachekafka.Options) *apachekafka.Cluster {
	t.Helper()
	cluster, err := apachekafka.Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Close(); err != nil {
			t.Error(err)
		}
	})
	return cluster
}

func createTopic(t *testing.T, cluster *apachekafka.Cluster, name string, partitions int32, replicas int16) {
	t.Helper()
	if err := cluster.CreateTopic(t.Context(), name, partitions, replicas, nil); err != nil {
		t.Fatal(err)
	}
}

// asOperated are the settings that an operator gets.
func asOperated(s *config.Consume) {
	s.HeartbeatInterval, s.SessionTimeout, s.RebalanceTimeout = 500*time.Millisecond, 10*time.Second, 10*time.Second
}

// TestMembersThatComeAndGoOnKafka is TestMembersThatComeAndGo on Kafka, with members that leave at any moment.
func TestMembersThatComeAndGoOnKafka(t *testing.T) {
	cluster := startKafka(t, apachekafka.Options{})
	createTopic(t, cluster, "a", 12, 1)
	s := storm{
		addresses: cluster.BootstrapServers(), partitions: 12, each: 5000, members: 12, shortest: 500 * time.Millisecond, longest: 40 * time.Second,
		pace: 100 * time.Millisecond, patience: 3 * time.Minute, change: asOperated,
	}
	if os.Getenv("WEIR_SOAK") != "" {
		s.each, s.patience = 42_000, 20*time.Minute
	}
	s.run(t)
}

// TestAThousandIdleInstances holds what an idle instance may cost: 256 KiB of resident memory, a goroutine and a connection.
func TestAThousandIdleInstances(t *testing.T) {
	const count = 1000
	cluster := startKafka(t, apachekafka.Options{})
	createTopic(t, cluster, "a", 8, 1)
	r := rigOn(t, cluster.BootstrapServers(), func(s *config.Consume) { asOperated(s); s.MaxInstancesPerOwner = 2 * count }, nil)
	settle(t, r.subscribed("warm", "i", earliest, "a"), 8)
	debug.FreeOSMemory()
	memory, goroutines := resident(t), runtime.NumGoroutine()
	began := time.Now()
	var settling sync.WaitGroup
	slots := make(chan struct{}, 32)
	for n := range count {
		i := r.subscribed(fmt.Sprintf("g%d", n), "i", earliest, "a")
		slots <- struct{}{}
		settling.Go(func() {
			defer func() { <-slots }()
			settle(t, i, 8)
		})
	}
	settling.Wait()
	took := time.Since(began)
	const pooled = 50 // connections that are shared, kept for a while
	eventually(t, "each has a goroutine at most", func() bool { return runtime.NumGoroutine()-goroutines <= count+pooled })
	debug.FreeOSMemory()
	each := (resident(t) - memory) / count
	var before, after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	rebalances := r.consumers.Stats().Rebalances
	time.Sleep(20 * time.Second)
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	busy := time.Duration(after.Utime.Nano()+after.Stime.Nano()-before.Utime.Nano()-before.Stime.Nano()) / 20
	t.Logf("all were settled after %v; %d KiB each; together they take %v of CPU a second", took, each>>10, busy)
	if each > 256<<10 {
		t.Errorf("an idle instance costs %d KiB", each>>10)
	}
	if s := r.consumers.Stats(); s.Members != count+1 || s.Rebalances != rebalances {
		t.Errorf("after 20 s: %+v, with %d rebalances before", s, rebalances)
	}
	began = time.Now()
	if err := r.consumers.Close(t.Context()); err != nil {
		t.Error(err)
	}
	t.Logf("they left within %v", time.Since(began))
}

// resident is the memory of this process, in bytes.
func resident(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip(err)
	}
	var size, pages int
	if _, err := fmt.Sscan(string(status), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// TestTheCoordinatorDies kills the coordinator while members read: they find the new one, keep what they hold, and lose nothing.
func TestTheCoordinatorDies(t *testing.T) {
	cluster := startKafka(t, apachekafka.Options{Brokers: 3})
	createTopic(t, cluster, "a", 3, 3)
	r := rigOn(t, cluster.BootstrapServers(), asOperated, nil)
	for p := range int32(3) {
		r.produce("a", p, numbered(0, 100)...)
	}
	i := r.subscribed("g", "i", earliest, "a")
	readUntil(t, i, PollOptions{Wait: time.Second, MinBytes: 1, MaxBytes: 50}, 50)
	i.mu.Lock()
	generation := i.member.as.generation
	i.mu.Unlock()
	node, err := r.consumers.groups.coordinator(t.Context(), "g")
	if err != nil {
		t.Fatal(err)
	}
	if err := cluster.Node(int(node)).Kill(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	deadline := time.Now().Add(time.Minute)
	for len(seen) < 250 && time.Now().Before(deadline) {
		batch, err := poll(t, i, PollOptions{Wait: time.Second, MinBytes: 1, MaxBytes: 200})
		if err != nil {
			continue
		}
		for _, s := range shown(batch) {
			if seen[s] {
				t.Errorf("%s was given again", s)
			}
			seen[s] = true
		}
		batch.Done(true)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := i.Commit(ctx, nil); err != nil {
		t.Errorf("commit: %v", err)
	}
	if diff := cmp.Diff(map[record.TopicPartition]int64{at("a", 0): 100, at("a", 1): 100, at("a", 2): 100}, r.committed(i, at("a", 0), at("a", 1), at("a", 2))); diff != "" {
		t.Errorf("committed (-want +got):\n%s", diff)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	t.Logf("generation %d before and %d after", generation, i.member.as.generation)
}

// TestAGroupWithJava shares a topic with Kafka's own console consumer.
func TestAGroupWithJava(t *testing.T) {
	cluster := startKafka(t, apachekafka.Options{})
	createTopic(t, cluster, "a", 4, 1)
	r := rigOn(t, cluster.BootstrapServers(), asOperated, nil)
	one, two := r.subscribed("g", "1", earliest, "a"), r.subscribed("g", "2", earliest, "a")
	settle(t, one, -1)
	settle(t, two, -1)
	var java sync.WaitGroup
	var printed []byte
	var failed error
	java.Go(func() {
		printed, failed = cluster.Tool(t.Context(), apachekafka.ConsoleConsumer, nil, "--bootstrap-server", cluster.BootstrapServers()[0],
			"--topic", "a", "--group", "g", "--from-beginning", "--timeout-ms", "15000")
	})
	eventually(t, "Java has a share", func() bool { return len(one.Assignment())+len(two.Assignment()) < 4 })
	for p := range int32(4) {
		r.produce("a", p, numbered(int(p)*1000, int(p)*1000+50)...)
	}
	given := map[string]bool{}
	done := make(chan struct{})
	go func() {
		java.Wait()
		close(done)
	}()
	for over := false; !over; {
		select {
		case <-done:
			over = true // and once more
		default:
		}
		for _, i := range []*Instance{one, two} {
			for _, s := range readOnce(t, i, PollOptions{Wait: 200 * time.Millisecond, MinBytes: 1}) {
				given[s[strings.LastIndex(s, " ")+1:]] = true
			}
		}
	}
	ours := len(given)
	for line := range strings.FieldsSeq(string(printed)) {
		given[line] = true
	}
	t.Logf("%d records were given to us, %d lines printed by Java (%v)", ours, strings.Count(string(printed), "\n"), failed)
	for p := range 4 {
		for _, v := range numbered(p*1000, p*1000+50) {
			if !given[v] {
				t.Errorf("record %s was given to nobody", v)
			}
		}
	}
	if ours == 200 || strings.Count(string(printed), "\n") == 0 {
		t.Errorf("the records were not shared")
	}
	eventually(t, "what Java had is ours when it has left", func() bool { return len(one.Assignment())+len(two.Assignment()) == 4 })
}

// TestRefusalsOfKafka holds that what ACLs deny is said.
func TestRefusalsOfKafka(t *testing.T) {
	cluster := startKafka(t, apachekafka.Options{SASL: true})
	createTopic(t, cluster, "a", 1, 1)
	bob := apachekafka.Users()[2]
	r := rigOn(t, cluster.Addresses(apachekafka.SASLPlaintext), asOperated, func(c *config.Cluster) {
		c.SASL = config.SASL{Mechanism: "SCRAM-SHA-256", Username: bob.Name, Password: config.Secret(bob.Password), AllowPlaintext: true}
	})
	allow := func(arguments ...string) {
		t.Helper()
		arguments = append([]string{"--bootstrap-server", cluster.Addresses(apachekafka.Plaintext)[0], "--add", "--allow-principal", "User:" + bob.Name}, arguments...)
		if out, err := cluster.Tool(t.Context(), apachekafka.ACLCommand, nil, arguments...); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	i := r.subscribed("g", "i", earliest, "a")
	said := func(want string) {
		t.Helper()
		_, err := poll(t, i, PollOptions{Wait: 5 * time.Second})
		if code(err) != fault.PermissionDenied || fault.From(err).Message != want {
			t.Errorf("the read: %v, want %q", err, want)
		}
	}
	said("Not authorized to access group: g")
	said("Not authorized to access group: g")
	allow("--operation", "Read", "--group", "g")
	eventually(t, "the group may be read", func() bool {
		_, err := i.Poll(t.Context(), PollOptions{Wait: time.Second})
		return err == nil || !strings.Contains(fmt.Sprint(err), "group")
	})
	said("Not authorized to access topics: [a]")
	allow("--operation", "Describe", "--topic", "a")
	eventually(t, "the topic may be seen", func() bool { return len(i.Assignment()) == 1 || poked(t, i) })
	said("Not authorized to access topics: [a]")
	allow("--operation", "Read", "--topic", "a")
	produceTo(t, cluster.Addresses(apachekafka.Plaintext), "a", 0, "0")
	eventually(t, "the topic may be read", func() bool {
		batch, err := i.Poll(t.Context(), PollOptions{Wait: time.Second, MinBytes: 1})
		if err != nil {
			return false
		}
		defer batch.Done(true)
		return len(batch.Ranges) == 1
	})
}

// poked reads for a moment, and is false.
func poked(t *testing.T, i *Instance) bool {
	if batch, err := i.Poll(t.Context(), PollOptions{Wait: 100 * time.Millisecond}); err == nil {
		batch.Done(true)
	}
	return false
}
