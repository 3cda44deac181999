package kafka

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/embedded"
)

// TestStaleConnection: the connections that lie idle were closed by the other side, as after a broker's restart. That is no
// failure of the address, and no caller sees it.
func TestStaleConnection(t *testing.T) {
	t.Parallel()
	b := startBroker(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}})
	c := open(t, settings(b.Addresses()...), config.Produce{})
	eventually(t, "ready", func() bool { return c.Ready() == nil })
	cut := func() {
		t.Helper()
		eventually(t, "a connection is idle", func() bool {
			c.pool.mu.Lock()
			defer c.pool.mu.Unlock()
			return len(c.pool.idle[b.Addresses()[0]]) > 0 && len(c.pool.busy) == 0
		})
		if err := b.Cut(0); err != nil {
			t.Fatal(err)
		}
	}
	cut()
	if _, err := c.Topic(t.Context(), "a"); err != nil {
		t.Errorf("a look-up: %v", err)
	}
	if err := c.Ready(); err != nil {
		t.Error(err)
	}
	cut()
	calls := 0
	err := c.Call(t.Context(), Controller, false, func(broker *sarama.Broker) error {
		calls++
		_, err := broker.CreateTopics(&sarama.CreateTopicsRequest{Version: 2, Timeout: time.Second,
			TopicDetails: map[string]*sarama.TopicDetail{"new": {NumPartitions: 1, ReplicationFactor: 1}}})
		return err
	})
	if err != nil || calls != 1 {
		t.Errorf("a call that must not be sent twice: %d times, %v", calls, err)
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if len(c.suspects) > 0 {
		t.Errorf("addresses are suspected: %v", c.suspects)
	}
}

// TestFailedLookupIsTriedAgain: what a look-up finds broken is looked at again soon, not at the next ping.
func TestFailedLookupIsTriedAgain(t *testing.T) {
	t.Parallel()
	b := startBroker(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}})
	c := open(t, settings(b.Addresses()...), config.Produce{})
	eventually(t, "ready", func() bool { return c.Ready() == nil })
	if err := b.Down(0); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Topic(t.Context(), "a"); err == nil {
		t.Fatal("a look-up without a broker succeeds")
	}
	if err := b.Up(0); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	eventually(t, "ready again", func() bool { return c.Ready() == nil })
	if took := time.Since(began); took > pingInterval/2 {
		t.Errorf("ready again after %v", took)
	}
}

// TestLookupsDoNotStarveTheRefresh: with look-ups that never pause, known topics are still asked for as often as set.
func TestLookupsDoNotStarveTheRefresh(t *testing.T) {
	t.Parallel()
	b := startBroker(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}})
	s := settings(b.Addresses()...)
	s.MetadataRefresh = 300 * time.Millisecond
	c := open(t, s, config.Produce{})
	first, err := c.Topic(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	eventually(t, "a is asked for again", func() bool {
		i++
		_, _ = c.Topic(t.Context(), fmt.Sprintf("none-%d", i)) // its error is not of interest
		now, known := c.Cached("a")
		return known && now.Fetched.After(first.Fetched)
	})
	if i < 3 {
		t.Fatalf("only %d look-ups were made", i)
	}
}

// TestClosedConnectionIsNoSASL: once a listener has served us, a connection that it closes says nothing about SASL.
func TestClosedConnectionIsNoSASL(t *testing.T) {
	t.Parallel()
	for verified, want := range map[bool]Cause{false: CauseSASLRequired, true: CauseOther} {
		c := &Client{verified: verified}
		var d *Diagnosis
		if !errors.As(c.explain(&callError{address: "broker:9092", err: io.EOF}), &d) || d.Cause != want {
			t.Errorf("verified %v: %v, want cause %s", verified, d, want)
		}
		if verified && strings.Contains(d.Error(), "sasl") {
			t.Errorf("the words name SASL: %v", d)
		}
	}
}
