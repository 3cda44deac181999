package embedded

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-gateway/weir/core/internal/record"
)

func start(t *testing.T, options Options) *Broker {
	t.Helper()
	b, err := Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func produce(t *testing.T, b *Broker, records ...*kgo.Record) error {
	t.Helper()
	client, err := kgo.NewClient(append(b.clientOptions(), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RetryTimeout(5*time.Second))...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return client.ProduceSync(ctx, records...).FirstErr()
}

func TestRecordsReadsBackWhatWasWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := start(t, Options{Topics: []Topic{{Name: "a", Partitions: 2}, {Name: "empty"}}, DataDir: dir})
	when := time.UnixMilli(1_700_000_000_123)
	err := produce(t, b,
		&kgo.Record{Topic: "a", Partition: 1, Key: []byte("k"), Value: []byte("v"), Timestamp: when, Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("1")}, {Key: "h"}}},
		&kgo.Record{Topic: "a", Partition: 0, Key: []byte{}, Value: nil, Timestamp: when},
	)
	if err != nil {
		t.Fatal(err)
	}
	want := []Stored{
		{Record: record.Record{Topic: "a", Partition: 0, Key: []byte{}, Timestamp: when}},
		{Record: record.Record{Topic: "a", Partition: 1, Key: []byte("k"), Value: []byte("v"), Timestamp: when,
			Headers: []record.Header{{Name: "h", Value: []byte("1")}, {Name: "h"}}}},
	}
	got, err := b.Records("a")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if got, err := b.Records("empty"); err != nil || len(got) != 0 {
		t.Errorf("empty topic: %v, %v", got, err)
	}
	if _, err := b.Records("none"); err == nil {
		t.Error("a topic that does not exist gives no error")
	}

	b.Close()
	again := start(t, Options{Topics: []Topic{{Name: "a", Partitions: 2}, {Name: "empty"}}, DataDir: dir})
	if got := again.End("a", 1); got != 1 {
		t.Errorf("after a restart the partition ends at %d, want 1", got)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	write := func(b *Broker) error { return produce(t, b, &kgo.Record{Topic: "a", Value: []byte("v")}) }

	t.Run("code", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{Topics: []Topic{{Name: "a"}}})
		stop := b.Fail("Produce", AnyNode, 87, 1)
		if err := write(b); err == nil {
			t.Error("the injected error did not come")
		}
		if err := write(b); err != nil {
			t.Errorf("after one failure: %v", err)
		}
		if hits := stop(); hits != 1 {
			t.Errorf("%d hits, want 1", hits)
		}
	})
	t.Run("disconnect after applying", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{Topics: []Topic{{Name: "a"}}})
		b.Disconnect("Produce", AnyNode, true, 1)
		if err := write(b); err != nil {
			t.Fatal(err)
		}
		if end := b.End("a", 0); end != 1 {
			t.Errorf("the partition ends at %d, want 1: the retry must have been recognised", end)
		}
	})
	t.Run("freeze", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{Topics: []Topic{{Name: "a"}}})
		if err := b.Freeze(0); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- write(b) }()
		select {
		case err := <-done:
			t.Errorf("a frozen broker answered: %v", err)
		case <-time.After(100 * time.Millisecond):
		}
		if err := b.Up(0); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Errorf("after the freeze: %v", err)
		}
	})
	t.Run("no such node", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		if err := b.Freeze(7); err == nil {
			t.Error("no error")
		}
	})
}
