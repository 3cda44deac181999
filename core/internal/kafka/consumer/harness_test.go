package consumer

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/embedded"
	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka"
	"github.com/weir-gateway/weir/core/internal/kafka/reader"
	"github.com/weir-gateway/weir/core/internal/record"
)

func consumeSettings() config.Consume {
	return config.Consume{
		RequestMaxBytes: 64 << 20, FetchBytes: 1 << 20, FetchConnections: 64, BufferBytes: 128 << 20,
		AutoCommitInterval: 50 * time.Millisecond, InstanceTimeout: time.Minute,
		MaxInstances: 2000, MaxInstancesPerGroup: 500, MaxInstancesPerOwner: 1500,
		HeartbeatInterval: 50 * time.Millisecond, SessionTimeout: 6 * time.Second, RebalanceTimeout: 6 * time.Second,
		MaxPartitions: 5000, PatternLength: 256, PatternRefresh: 200 * time.Millisecond,
	}
}

// rig is instances on an embedded broker.
type rig struct {
	t         testing.TB
	broker    *embedded.Broker
	addresses []string
	client    *kafka.Client
	consumers *Consumers
	settings  config.Consume
}

func newRig(t testing.TB, options embedded.Options, change func(*config.Consume)) *rig {
	t.Helper()
	broker, err := embedded.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	r := rigOn(t, broker.Addresses(), change, nil)
	r.broker = broker
	return r
}

// rigOn gives a gateway's instances on a cluster; a test may have several.
func rigOn(t testing.TB, addresses []string, change func(*config.Consume), secure func(*config.Cluster)) *rig {
	t.Helper()
	settings := consumeSettings()
	if change != nil {
		change(&settings)
	}
	cluster := config.Cluster{
		Name: "test", BootstrapServers: addresses, ClientID: "weir-test", KafkaVersion: "4.0.0", DialTimeout: time.Second,
		RequestTimeout: 5 * time.Second, MetadataRefresh: time.Minute, AdminTimeout: 3 * time.Second,
	}
	if secure != nil {
		secure(&cluster)
	}
	client, err := kafka.Open(t.Context(), cluster, config.Produce{UnknownTopicTTL: 100 * time.Millisecond}, testLogger())
	if err != nil {
		t.Fatal(err)
	}
	from := reader.New(client, settings, nil)
	r := &rig{t: t, addresses: addresses, client: client, settings: settings, consumers: New(client, from, settings, nil)}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		if err := r.consumers.Close(ctx); err != nil {
			t.Errorf("close instances: %v", err)
		}
		from.Close()
		if held := from.Buffered(); held != 0 {
			t.Errorf("%d bytes of records are still held", held)
		}
		if err := client.Close(ctx); err != nil {
			t.Errorf("close client: %v", err)
		}
	})
	return r
}

// testLogger shows what instances do when WEIR_TEST_LOG is set.
func testLogger() *slog.Logger {
	if os.Getenv("WEIR_TEST_LOG") == "" {
		return nil
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

var earliest = Options{AutoOffsetReset: "earliest", AutoCommit: true, Timeout: time.Second}

func (r *rig) create(group, name string, options Options) *Instance {
	r.t.Helper()
	i, err := r.consumers.Create(Key{"owner", group, name}, options)
	if err != nil {
		r.t.Fatal(err)
	}
	return i
}

// subscribed makes an instance that subscribes to topics.
func (r *rig) subscribed(group, name string, options Options, topics ...string) *Instance {
	r.t.Helper()
	i := r.create(group, name, options)
	if err := i.Subscribe(topics); err != nil {
		r.t.Fatal(err)
	}
	return i
}

func (r *rig) delete(i *Instance) {
	r.t.Helper()
	if err := r.consumers.Delete(r.t.Context(), i.key); err != nil {
		r.t.Fatal(err)
	}
}

// produce writes values into a partition, one record each.
func (r *rig) produce(topic string, partition int32, values ...string) {
	r.t.Helper()
	produceTo(r.t, r.addresses, topic, partition, values...)
}

func produceTo(t testing.TB, addresses []string, topic string, partition int32, values ...string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addresses...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	records := make([]*kgo.Record, len(values))
	for n, v := range values {
		records[n] = &kgo.Record{Topic: topic, Partition: partition, Value: []byte(v)}
	}
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func numbered(from, to int) []string {
	values := make([]string, 0, to-from)
	for n := from; n < to; n++ {
		values = append(values, fmt.Sprint(n))
	}
	return values
}

func at(topic string, partition int32) record.TopicPartition {
	return record.TopicPartition{Topic: topic, Partition: partition}
}

// poll reads once and holds that it does not take longer than it may.
func poll(t testing.TB, i *Instance, options PollOptions) (*Batch, error) {
	t.Helper()
	began := time.Now()
	batch, err := i.Poll(t.Context(), options)
	if took := time.Since(began); took > options.Wait+500*time.Millisecond+slack {
		t.Errorf("a read with a wait of %v took %v", options.Wait, took)
	}
	return batch, err
}

// slack is for machines that are busy with other things.
const slack = 250 * time.Millisecond

// readOnce reads once, is given the answer for good, and says what was in it.
func readOnce(t testing.TB, i *Instance, options PollOptions) []string {
	t.Helper()
	batch, err := poll(t, i, options)
	if err != nil {
		t.Fatal(err)
	}
	defer batch.Done(true)
	return shown(batch)
}

// shown is the records of an answer, "topic-partition@offset value".
func shown(batch *Batch) []string {
	var all []string
	for _, r := range batch.Ranges {
		for _, s := range r.Records {
			all = append(all, fmt.Sprintf("%s-%d@%d %s", r.Topic, r.Partition, s.Offset, s.Value))
		}
	}
	return all
}

func expect(topic string, partition int32, from, to int) []string {
	var all []string
	for n := from; n < to; n++ {
		all = append(all, fmt.Sprintf("%s-%d@%d %d", topic, partition, n, n))
	}
	return all
}

// readUntil reads until it has been given count records.
func readUntil(t testing.TB, i *Instance, options PollOptions, count int) []string {
	t.Helper()
	var all []string
	deadline := time.Now().Add(20 * time.Second)
	for len(all) < count {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d records after 20 s", len(all), count)
		}
		all = append(all, readOnce(t, i, options)...)
	}
	return all
}

func code(err error) fault.Code {
	if err == nil {
		return 0
	}
	return fault.From(err).Code
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// settle reads until the instance has its partitions, and count of them if that is not negative.
func settle(t testing.TB, i *Instance, count int) {
	t.Helper()
	eventually(t, "the instance has its partitions", func() bool {
		i.mu.Lock()
		settled := i.member != nil && i.member.state == stable && !i.resolving && len(i.unresolvedLocked()) == 0 && (count < 0 || len(i.partitions) == count)
		i.mu.Unlock()
		if settled {
			return true
		}
		batch, err := i.Poll(t.Context(), PollOptions{Wait: 20 * time.Millisecond, MaxBytes: 1})
		if err == nil {
			batch.Done(false)
		}
		return false
	})
}

func (r *rig) committed(i *Instance, partitions ...record.TopicPartition) map[record.TopicPartition]int64 {
	r.t.Helper()
	found, err := i.Committed(r.t.Context(), partitions)
	if err != nil {
		r.t.Fatal(err)
	}
	offsets := map[record.TopicPartition]int64{}
	for _, f := range found {
		offsets[f.TopicPartition] = f.Offset
	}
	return offsets
}

// addPartitions gives a topic more partitions.
func (r *rig) addPartitions(topic string, count int32) {
	r.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(r.broker.Addresses()...))
	if err != nil {
		r.t.Fatal(err)
	}
	defer client.Close()
	request := kmsg.NewPtrCreatePartitionsRequest()
	request.TimeoutMillis = 10_000
	change := kmsg.NewCreatePartitionsRequestTopic()
	change.Topic, change.Count = topic, count
	request.Topics = append(request.Topics, change)
	response, err := request.RequestWith(r.t.Context(), client)
	if err != nil || response.Topics[0].ErrorCode != 0 {
		r.t.Fatalf("add partitions: %v, %+v", err, response)
	}
}
