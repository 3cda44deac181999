package kafkaenv

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

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
