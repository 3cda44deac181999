package kafkaenv

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-gateway/weir/conformance"
)

func TestEnv(t *testing.T) {
	t.Parallel()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	ctx := t.Context()
	env, err := New(ctx, cluster.ListenAddrs())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(env.Close)
	if err := env.MakeTopic(ctx, "t", 2, map[string]string{"cleanup.policy": "compact"}); err != nil {
		t.Fatal(err)
	}
	if err := env.MakeTopic(ctx, "t", 2, nil); err == nil {
		t.Error("a topic could be made twice")
	}
	if records, err := env.Records(ctx, "t"); err != nil || len(records) != 0 {
		t.Errorf("an empty topic: got %v, %v", records, err)
	}
	producer, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(producer.Close)
	at := time.UnixMilli(1700000000123)
	err = producer.ProduceSync(ctx,
		&kgo.Record{Topic: "t", Partition: 1, Value: []byte("second"), Timestamp: at},
		&kgo.Record{Topic: "t", Partition: 0, Key: []byte{}, Value: nil, Timestamp: at, Headers: []kgo.RecordHeader{{Key: "h", Value: nil}, {Key: "h", Value: []byte{}}}},
	).FirstErr()
	if err != nil {
		t.Fatal(err)
	}
	got, err := env.Records(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	want := []conformance.Record{
		{Partition: 0, Key: []byte{}, Timestamp: at, Headers: []conformance.RecordHeader{{Name: "h"}, {Name: "h", Value: []byte{}}}},
		{Partition: 1, Value: []byte("second"), Timestamp: at},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	testWriting(ctx, t, env)
	if err := env.DeleteTopic(ctx, "t"); err != nil {
		t.Error(err)
	}
	if err := env.DeleteTopic(ctx, "t"); err != nil {
		t.Errorf("a topic that is gone: %v", err)
	}
	if _, err := env.Records(ctx, "t"); err == nil {
		t.Error("a topic that is gone could be read")
	}
	if _, err := env.Inject(ctx, conformance.Fault{API: "Produce"}); !errors.Is(err, conformance.ErrNotSupported) {
		t.Errorf("got %v, want ErrNotSupported", err)
	}
}

func testWriting(ctx context.Context, t *testing.T, env *Env) {
	t.Helper()
	if err := env.MakeTopic(ctx, "written", 1, nil); err != nil {
		t.Fatal(err)
	}
	at := time.UnixMilli(1700000000123)
	record := conformance.Record{Value: []byte("v"), Timestamp: at, Headers: []conformance.RecordHeader{{Name: "h", Value: []byte("1")}}}
	for _, options := range []conformance.ProduceOptions{
		{}, {Compression: "gzip"}, {Compression: "snappy"}, {Compression: "lz4"}, {Compression: "zstd"}, {Transaction: "abort"}, {Transaction: "commit"},
	} {
		if err := env.Produce(ctx, "written", []conformance.Record{record}, options); err != nil {
			t.Errorf("%+v: %v", options, err)
		}
	}
	for _, options := range []conformance.ProduceOptions{{Compression: "rar"}, {Transaction: "maybe"}} {
		if err := env.Produce(ctx, "written", []conformance.Record{record}, options); err == nil {
			t.Errorf("%+v: no error", options)
		}
	}
	if err := env.DeleteRecords(ctx, "written", 0, 4); err != nil {
		t.Fatal(err)
	}
	got, err := env.Records(ctx, "written")
	if err != nil || len(got) == 0 {
		t.Fatalf("got %v, %v", got, err)
	}
	want := record
	want.Offset = 4
	if diff := cmp.Diff(want, got[0]); diff != "" {
		t.Errorf("the first record (-want +got):\n%s", diff)
	}

	if got, err := env.Committed(ctx, "nobody"); err != nil || len(got) != 0 {
		t.Errorf("a group that is not there: got %v, %v", got, err)
	}
	metadata := "m"
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset, p.Metadata = 5, &metadata
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic, topic.Partitions = "written", append(topic.Partitions, p)
	commit := kmsg.NewPtrOffsetCommitRequest()
	commit.Group, commit.Topics = "g", append(commit.Topics, topic)
	response, err := commit.RequestWith(ctx, env.client)
	if err != nil {
		t.Fatal(err)
	}
	if err := kerr.ErrorForCode(response.Topics[0].Partitions[0].ErrorCode); err != nil {
		t.Fatal(err)
	}
	committed, err := env.Committed(ctx, "g")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]conformance.Committed{{Topic: "written", Offset: 5, Metadata: "m"}}, committed); diff != "" {
		t.Errorf("committed (-want +got):\n%s", diff)
	}
}
