// Package kafkaenv is the conformance suite's way to a Kafka that speaks the real protocol: it makes topics and reads their
// records back through a client of its own, independent of the one in the gateway under test.
//
// It is apart from package conformance so that whoever embeds the suite takes no Kafka client with it. It cannot inject
// faults: on a broker that is not the suite's own nothing may be broken. Topics that it made it also deletes.
package kafkaenv

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/weir-gateway/weir/conformance"
)

// requestTimeout bounds one request to the brokers.
const requestTimeout = 20 * time.Second

// pollEvery is how often a new topic is looked at until every partition has a leader.
const pollEvery = 20 * time.Millisecond

// Env is a conformance.Env on a cluster. It is safe for concurrent use.
type Env struct {
	client  *kgo.Client
	options []kgo.Opt
}

var (
	_ conformance.Env          = (*Env)(nil)
	_ conformance.TopicDeleter = (*Env)(nil)
)

// New connects to a cluster by its bootstrap servers, host:port each. Options such as SASL may follow. The error says that no
// broker answered.
func New(ctx context.Context, bootstrap []string, options ...kgo.Opt) (*Env, error) {
	options = append([]kgo.Opt{
		kgo.SeedBrokers(bootstrap...), kgo.ClientID("weir-conformance"),
		kgo.MaxVersions(kversion.V4_0_0()), // later ones commit offsets for topic ids, not names
	}, options...)
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, fmt.Errorf("kafka client: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := client.Ping(ctx); err != nil {
		client.Close()
		return nil, fmt.Errorf("no Kafka broker answers at %v: %w", bootstrap, err)
	}
	return &Env{client: client, options: options}, nil
}

// Close ends the connections.
func (e *Env) Close() { e.client.Close() }

// MakeTopic implements conformance.Env. It returns when the broker knows a leader for every partition.
func (e *Env) MakeTopic(ctx context.Context, name string, partitions int, configs map[string]string) error {
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, int32(partitions), 1
	for key, value := range configs {
		config := kmsg.NewCreateTopicsRequestTopicConfig()
		config.Name, config.Value = key, &value
		topic.Configs = append(topic.Configs, config)
	}
	request := kmsg.NewPtrCreateTopicsRequest()
	request.Topics = append(request.Topics, topic)
	request.TimeoutMillis = int32(requestTimeout.Milliseconds())
	response, err := request.RequestWith(ctx, e.client)
	if err != nil {
		return err
	}
	for _, t := range response.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return errorWithMessage(err, t.ErrorMessage)
		}
	}
	for {
		found, err := e.partitions(ctx, name)
		if err == nil && len(found) == partitions {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("topic %s has no leaders: %w", name, errors.Join(err, ctx.Err()))
		case <-time.After(pollEvery):
		}
	}
}

// DeleteTopic implements conformance.TopicDeleter. A topic that does not exist is no error.
func (e *Env) DeleteTopic(ctx context.Context, name string) error {
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = &name
	request := kmsg.NewPtrDeleteTopicsRequest()
	request.TopicNames, request.Topics = []string{name}, append(request.Topics, topic)
	request.TimeoutMillis = int32(requestTimeout.Milliseconds())
	response, err := request.RequestWith(ctx, e.client)
	if err != nil {
		return err
	}
	for _, t := range response.Topics {
		err := kerr.ErrorForCode(t.ErrorCode)
		if err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
			return errorWithMessage(err, t.ErrorMessage)
		}
	}
	return nil
}

func errorWithMessage(err error, message *string) error {
	if message == nil {
		return err
	}
	return fmt.Errorf("%w (%s)", err, *message)
}

// partitions gives a topic's partitions that have a leader.
func (e *Env) partitions(ctx context.Context, name string) ([]int32, error) {
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = &name
	request := kmsg.NewPtrMetadataRequest()
	request.Topics = append(request.Topics, topic)
	response, err := request.RequestWith(ctx, e.client)
	if err != nil {
		return nil, err
	}
	var found []int32
	for _, t := range response.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return nil, err
		}
		for _, p := range t.Partitions {
			if p.ErrorCode == 0 && p.Leader >= 0 {
				found = append(found, p.Partition)
			}
		}
	}
	return found, nil
}

// Records implements conformance.Env: it reads each partition from its beginning to the end that it has now.
func (e *Env) Records(ctx context.Context, topic string) ([]conformance.Record, error) {
	partitions, err := e.partitions(ctx, topic)
	if err != nil {
		return nil, err
	}
	from, ends := map[int32]kgo.Offset{}, map[int32]int64{}
	for _, p := range partitions {
		start, end, err := e.bounds(ctx, topic, p)
		if err != nil {
			return nil, fmt.Errorf("partition %d: %w", p, err)
		}
		if end > start {
			from[p], ends[p] = kgo.NewOffset().At(start), end
		}
	}
	records := []conformance.Record{}
	if len(ends) == 0 {
		return records, nil
	}
	options := append([]kgo.Opt{}, e.options...)
	reader, err := kgo.NewClient(append(options, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}), kgo.FetchMaxWait(100*time.Millisecond), kgo.KeepControlRecords())...)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	for len(ends) > 0 {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return nil, err
		}
		for _, failure := range fetches.Errors() {
			return nil, fmt.Errorf("partition %d: %w", failure.Partition, failure.Err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			end, wanted := ends[r.Partition]
			if !wanted || r.Offset >= end {
				return
			}
			if !r.Attrs.IsControl() { // a transaction's mark may be the last thing there is
				records = append(records, fromKafka(r))
			}
			if r.Offset == end-1 {
				delete(ends, r.Partition)
			}
		})
	}
	sort.Slice(records, func(i, j int) bool {
		if records[i].Partition != records[j].Partition {
			return records[i].Partition < records[j].Partition
		}
		return records[i].Offset < records[j].Offset
	})
	return records, nil
}

func fromKafka(r *kgo.Record) conformance.Record {
	record := conformance.Record{Partition: r.Partition, Offset: r.Offset, Key: r.Key, Value: r.Value, Timestamp: r.Timestamp}
	for _, h := range r.Headers {
		record.Headers = append(record.Headers, conformance.RecordHeader{Name: h.Key, Value: h.Value})
	}
	return record
}

// bounds gives the offsets of a partition's first record and after its last.
func (e *Env) bounds(ctx context.Context, topic string, partition int32) (start, end int64, err error) {
	const earliest, latest = -2, -1
	var offsets [2]int64
	for i, timestamp := range []int64{earliest, latest} {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = partition, timestamp
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic, t.Partitions = topic, append(t.Partitions, p)
		request := kmsg.NewPtrListOffsetsRequest()
		request.ReplicaID, request.Topics = -1, append(request.Topics, t)
		response, err := request.RequestWith(ctx, e.client)
		if err != nil {
			return 0, 0, err
		}
		if len(response.Topics) != 1 || len(response.Topics[0].Partitions) != 1 {
			return 0, 0, errors.New("the broker gave no offsets")
		}
		got := response.Topics[0].Partitions[0]
		if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
			return 0, 0, err
		}
		offsets[i] = got.Offset
	}
	return offsets[0], offsets[1], nil
}

// Inject implements conformance.Env: it cannot.
func (e *Env) Inject(context.Context, conformance.Fault) (func(), error) {
	return nil, conformance.ErrNotSupported
}
