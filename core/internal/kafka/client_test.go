package kafka

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/embedded"
	"github.com/weir-gateway/weir/core/internal/fault"
)

func settings(addresses ...string) config.Cluster {
	return config.Cluster{
		Name: "test", BootstrapServers: addresses, ClientID: "weir-test", KafkaVersion: "4.0.0", DialTimeout: time.Second,
		RequestTimeout: 2 * time.Second, MetadataRefresh: time.Minute, AdminTimeout: 3 * time.Second,
	}
}

func startBroker(t *testing.T, options embedded.Options) *embedded.Broker {
	t.Helper()
	b, err := embedded.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func open(t *testing.T, s config.Cluster, p config.Produce) *Client {
	t.Helper()
	c, err := Open(t.Context(), s, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return c
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 15 s: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func TestOpenBeforeTheBrokerIsThere(t *testing.T) {
	leaks := goleak.IgnoreCurrent()
	b, err := embedded.Start(embedded.Options{Topics: []embedded.Topic{{Name: "a"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Down(0); err != nil {
		t.Fatal(err)
	}
	c, err := Open(t.Context(), settings(b.Addresses()...), config.Produce{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if id, known := c.ID(); known {
		t.Errorf("the id is known to be %q before any broker answered", id)
	}
	eventually(t, "Ready names the address", func() bool { return strings.Contains(fmt.Sprint(c.Ready()), b.Addresses()[0]) })
	began := time.Now()
	if _, err := c.Topic(t.Context(), "a"); fault.From(err).Code != fault.BrokerNotAvailable {
		t.Errorf("a look-up without brokers: %v", err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("the refusal took %v", took)
	}
	if err := b.Up(0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it connects by itself", func() bool { return c.Ready() == nil })
	if id, known := c.ID(); !known || id != embedded.DefaultClusterID {
		t.Errorf("id %q, %v", id, known)
	}
	if topic, err := c.Topic(t.Context(), "a"); err != nil || len(topic.Partitions) != 1 || !topic.Led() {
		t.Errorf("topic %+v, %v", topic, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		t.Error(err)
	}
	b.Close()
	goleak.VerifyNone(t, leaks)
}

func TestPinnedID(t *testing.T) {
	t.Parallel()
	b := startBroker(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}})
	s := settings(b.Addresses()...)
	s.ID = "another-cluster-id-000"
	c := open(t, s, config.Produce{})
	if id, known := c.ID(); !known || id != s.ID {
		t.Errorf("a pinned id is known at once: %q, %v", id, known)
	}
	eventually(t, "Ready says both ids", func() bool {
		text := fmt.Sprint(c.Ready())
		return strings.Contains(text, s.ID) && strings.Contains(text, embedded.DefaultClusterID)
	})
	if _, err := c.Topic(t.Context(), "a"); fault.From(err).Code != fault.BrokerNotAvailable {
		t.Errorf("the wrong cluster answers: %v", err)
	}
	s.ID = embedded.DefaultClusterID
	right := open(t, s, config.Produce{})
	eventually(t, "the right id is ready", func() bool { return right.Ready() == nil })
}

func TestLookupsAreShared(t *testing.T) {
	t.Parallel()
	b := startBroker(t, embedded.Options{})
	c := open(t, settings(b.Addresses()...), config.Produce{UnknownTopicTTL: time.Minute})
	eventually(t, "ready", func() bool { return c.Ready() == nil })
	var asked atomic.Int32
	defer b.Observe("Metadata", func(int32) { asked.Add(1) })()
	var callers sync.WaitGroup
	for range 100 {
		callers.Go(func() {
			if _, err := c.Topic(t.Context(), "none"); fault.From(err).Code != fault.UnknownTopic {
				t.Errorf("unknown topic: %v", err)
			}
		})
	}
	callers.Wait()
	if n := asked.Load(); n > 3 {
		t.Errorf("100 look-ups of one topic asked %d times", n)
	}
	asked.Store(0)
	if _, err := c.Topic(t.Context(), "none"); err == nil {
		t.Error("no error")
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("a topic known to be absent was asked for %d times", n)
	}
}

func TestManyUnknownNames(t *testing.T) {
	t.Parallel()
	b := startBroker(t, embedded.Options{})
	c := open(t, settings(b.Addresses()...), config.Produce{UnknownTopicTTL: time.Minute})
	eventually(t, "ready", func() bool { return c.Ready() == nil })
	var asked atomic.Int32
	defer b.Observe("Metadata", func(int32) { asked.Add(1) })()
	var callers sync.WaitGroup
	const names, at = 10_000, 200
	for worker := range at {
		callers.Go(func() {
			for i := worker; i < names; i += at {
				if _, err := c.Topic(t.Context(), fmt.Sprintf("none-%d", i)); fault.From(err).Code != fault.UnknownTopic {
					t.Errorf("unknown topic: %v", err)
				}
			}
		})
	}
	callers.Wait()
	c.mu.RLock()
	kept := len(c.unknown)
	c.mu.RUnlock()
	if kept > maxAbsences {
		t.Errorf("%d absent topics are kept, at most %d", kept, maxAbsences)
	}
	if n := asked.Load(); n > names/20 {
		t.Errorf("%d names asked for at once by %d took %d questions", names, at, n)
	}
}

func TestTopicThatFlickers(t *testing.T) {
	t.Parallel()
	b := startBroker(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}})
	c := open(t, settings(b.Addresses()...), config.Produce{UnknownTopicTTL: time.Minute})
	if _, err := c.Topic(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	const unknownTopic = 3
	b.Inject(embedded.Failure{API: "Metadata", Node: embedded.AnyNode, Topic: "a", Code: unknownTopic, Times: 1})
	if _, err := c.Refresh(t.Context(), "a"); err != nil {
		t.Errorf("one broker's denial of a topic that was there: %v", err)
	}
	if err := b.DeleteTopic("a"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Refresh(t.Context(), "a"); fault.From(err).Code != fault.UnknownTopic {
		t.Errorf("after it was deleted: %v", err)
	}
	if _, known := c.Cached("a"); known {
		t.Error("a deleted topic is still cached")
	}
}

func TestAutoCreate(t *testing.T) {
	t.Parallel()
	b := startBroker(t, embedded.Options{AutoCreateTopics: true})
	c := open(t, settings(b.Addresses()...), config.Produce{AutoCreateTopics: true})
	if topic, err := c.Topic(t.Context(), "made"); err != nil || !topic.Led() {
		t.Errorf("%+v, %v", topic, err)
	}
	off := open(t, settings(b.Addresses()...), config.Produce{})
	if _, err := off.Topic(t.Context(), "other"); fault.From(err).Code != fault.UnknownTopic {
		t.Errorf("with auto-creation off: %v", err)
	}
}

func TestValidTopicName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"a": true, "A-b_c.9": true, "": false, ".": false, "..": false, "...": true, "a b": false, "ü": false, "a/b": false,
		"a\x00": false, strings.Repeat("a", 249): true, strings.Repeat("a", 250): false,
	} {
		if got := ValidTopicName(name); got != want {
			t.Errorf("ValidTopicName(%q) = %v", name, got)
		}
	}
}
