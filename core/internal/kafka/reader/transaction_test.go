package reader

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-gateway/weir/core/internal/embedded"
	"github.com/weir-gateway/weir/core/internal/record"
)

// transact writes n records named name in a transaction and ends it; end nil leaves it open.
func transact(t testing.TB, client *kgo.Client, topic, name string, n int, end *kgo.TransactionEndTry) {
	t.Helper()
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for i := range n { // each a batch of its own
		produce(t, client, &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, "%s%d", name, i)})
	}
	if end == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := client.EndTransaction(ctx, *end); err != nil {
		t.Fatal(err)
	}
}

func valuesOf(records []record.Stored) (values []string) {
	for i := range records {
		values = append(values, string(records[i].Value))
	}
	return values
}

func TestTransactions(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}}, consumeSettings())
	// kfake does not say what was aborted in an answer that MaxBytes cuts: only whole ones.
	testTransactions(t, r.broker.Addresses(), r.reader, "a", 1<<20)
}

// testTransactions is run on the embedded broker and on a real one. sizes are values of MaxBytes.
func testTransactions(t *testing.T, addresses []string, reader *Reader, topic string, sizes ...int) {
	one := newProducer(t, addresses, kgo.TransactionalID(topic+"-one"))
	two := newProducer(t, addresses, kgo.TransactionalID(topic+"-two"))
	plain := newProducer(t, addresses)
	commit, abort := kgo.TryCommit, kgo.TryAbort

	// Two transactions at a time: one aborts while the other's records lie between, and commits.
	transact(t, two, topic, "two-", 1, nil)
	transact(t, one, topic, "aborted-", 2, &abort)
	produce(t, plain, &kgo.Record{Topic: topic, Value: []byte("plain")})
	transact(t, one, topic, "one-", 2, &commit)
	produce(t, two, &kgo.Record{Topic: topic, Value: []byte("two-1")})
	if err := two.EndTransaction(t.Context(), commit); err != nil {
		t.Fatal(err)
	}
	// The log ends with aborted records only, and then with an open transaction.
	transact(t, one, topic, "aborted-again-", 3, &abort)
	transact(t, two, topic, "open-", 2, nil)

	uncommitted := []string{"two-0", "aborted-0", "aborted-1", "plain", "one-0", "one-1", "two-1", "aborted-again-0", "aborted-again-1", "aborted-again-2", "open-0", "open-1"}
	committed := []string{"two-0", "plain", "one-0", "one-1", "two-1"}
	for _, maxBytes := range sizes {
		got := readAll(t, reader, []record.Position{position(topic, 0, 0)}, Options{Wait: 300 * time.Millisecond, MaxBytes: maxBytes})
		if diff := cmp.Diff(uncommitted, valuesOf(got[record.TopicPartition{Topic: topic}])); diff != "" {
			t.Errorf("uncommitted, MaxBytes %d (-want +got):\n%s", maxBytes, diff)
		}
		got = readAll(t, reader, []record.Position{position(topic, 0, 0)}, Options{Wait: 300 * time.Millisecond, MaxBytes: maxBytes, Committed: true})
		if diff := cmp.Diff(committed, valuesOf(got[record.TopicPartition{Topic: topic}])); diff != "" {
			t.Errorf("committed, MaxBytes %d (-want +got):\n%s", maxBytes, diff)
		}
	}

	// From the middle of an aborted transaction.
	results, release, err := reader.Fetch(t.Context(), []record.Position{position(topic, 0, 2)}, Options{Wait: 300 * time.Millisecond, Committed: true})
	release()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(committed[1:], valuesOf(results[0].Records)); diff != "" {
		t.Errorf("from offset 2 (-want +got):\n%s", diff)
	}
	stable, end := results[0].Readable, results[0].HighWatermark
	if stable >= end {
		t.Errorf("readable up to %d of %d, want less: a transaction is open", stable, end)
	}
	latest := At{TopicPartition: record.TopicPartition{Topic: topic}, At: Latest}
	for committed, want := range map[bool]int64{true: stable, false: end} {
		offsets, err := reader.Offsets(t.Context(), []At{latest}, committed)
		if err != nil || offsets[0].Err != nil || offsets[0].Offset != want {
			t.Errorf("latest, committed %v: %+v, %v; want %d", committed, offsets, err, want)
		}
	}
	if err := two.EndTransaction(t.Context(), abort); err != nil {
		t.Fatal(err)
	}
}

// Offsets that compaction took are passed.
func TestCompaction(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{}, consumeSettings())
	p := newProducer(t, r.broker.Addresses())
	setBrokerConfig(t, p, "log.cleaner.backoff.ms", "20")
	if err := r.broker.CreateTopic(embedded.Topic{Name: "a", Configs: map[string]string{"cleanup.policy": "compact"}}); err != nil {
		t.Fatal(err)
	}
	for i := range 10 { // batches of three; only the last of each key stays
		produce(t, p,
			&kgo.Record{Topic: "a", Key: []byte("x"), Value: fmt.Append(nil, i)},
			&kgo.Record{Topic: "a", Key: []byte("y"), Value: fmt.Append(nil, i)},
			&kgo.Record{Topic: "a", Key: fmt.Append(nil, "k", i), Value: fmt.Append(nil, i)})
	}
	var got []record.Stored
	holdsWithin(t, 10*time.Second, "the log is compacted", func() bool {
		got = readAll(t, r.reader, []record.Position{position("a", 0, 0)}, Options{Wait: 300 * time.Millisecond})[record.TopicPartition{Topic: "a"}]
		return len(got) < 20
	})
	for i := 1; i < len(got); i++ {
		if got[i].Offset <= got[i-1].Offset {
			t.Errorf("offset %d after %d", got[i].Offset, got[i-1].Offset)
		}
	}
	if last := got[len(got)-1].Offset; last != 29 {
		t.Errorf("the last offset is %d, want 29", last)
	}
	// From an offset that is no longer there.
	result := r.fetchOne(t, position("a", 0, 4), Options{Wait: 300 * time.Millisecond})
	if result.Err != nil || len(result.Records) == 0 || result.Records[0].Offset < 5 {
		t.Errorf("from a gap: %+v", result)
	}
}

func setBrokerConfig(t testing.TB, client *kgo.Client, name, value string) {
	t.Helper()
	request := kmsg.NewPtrIncrementalAlterConfigsRequest()
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType = kmsg.ConfigResourceTypeBroker
	config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	config.Name, config.Value = name, &value
	resource.Configs = append(resource.Configs, config)
	request.Resources = append(request.Resources, resource)
	response, err := request.RequestWith(t.Context(), client)
	if err != nil || response.Resources[0].ErrorCode != 0 {
		t.Fatalf("set %s: %+v, %v", name, response, err)
	}
}
