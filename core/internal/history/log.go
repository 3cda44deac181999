package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Entry is one record as it lies in a topic.
type Entry struct {
	Topic     string
	Partition int32
	Offset    int64
	ID        string // empty: no load has written this
	Sum       uint64 // of key and value
}

// ReadLog reads topics from their beginnings to the ends that they have when it is called, in the order of each partition.
// It needs every partition to have a leader; while one has none it tries again, until the context ends.
func ReadLog(ctx context.Context, bootstrapServers []string, topics ...string) ([]Entry, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrapServers...), kgo.FetchMaxWait(200*time.Millisecond))
	if err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	defer client.Close()
	begin, end, err := bounds(ctx, client, topics)
	if err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	open := 0
	for topic, partitions := range end {
		for partition, offset := range partitions {
			if begin[topic][partition].EpochOffset().Offset < offset {
				open++
			} else {
				delete(begin[topic], partition)
			}
		}
	}
	client.AddConsumePartitions(begin)
	var entries []Entry
	for open > 0 {
		fetches := client.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("read the log: %w, with %d partitions unread to their end", err, open)
		}
		var problems []error
		fetches.EachError(func(topic string, partition int32, err error) {
			problems = append(problems, fmt.Errorf("%s-%d: %w", topic, partition, err))
		})
		if err := errors.Join(problems...); err != nil {
			return nil, fmt.Errorf("read the log: %w", err)
		}
		fetches.EachRecord(func(record *kgo.Record) {
			last := end[record.Topic][record.Partition] - 1
			if record.Offset > last {
				return
			}
			entries = append(entries, entry(record))
			if record.Offset == last {
				open--
			}
		})
	}
	return entries, nil
}

func entry(record *kgo.Record) Entry {
	var value struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(record.Value, &value) != nil {
		value.ID = ""
	}
	return Entry{record.Topic, record.Partition, record.Offset, value.ID, sum(record.Key, record.Value)}
}

// bounds asks for the first and the end offset of every partition.
func bounds(ctx context.Context, client *kgo.Client, topics []string) (begin map[string]map[int32]kgo.Offset, end map[string]map[int32]int64, err error) {
	const earliest, latest = -2, -1
	var first, last map[string]map[int32]int64
	for {
		if first, err = offsets(ctx, client, topics, earliest); err == nil {
			if last, err = offsets(ctx, client, topics, latest); err == nil {
				break
			}
		}
		pause(ctx, 200*time.Millisecond)
		if ctx.Err() != nil {
			return nil, nil, errors.Join(err, ctx.Err())
		}
	}
	begin = make(map[string]map[int32]kgo.Offset)
	for topic, partitions := range first {
		begin[topic] = make(map[int32]kgo.Offset)
		for partition, offset := range partitions {
			begin[topic][partition] = kgo.NewOffset().At(offset)
		}
	}
	return begin, last, nil
}

func offsets(ctx context.Context, client *kgo.Client, topics []string, at int64) (map[string]map[int32]int64, error) {
	metadata := kmsg.NewPtrMetadataRequest()
	for _, topic := range topics {
		asked := kmsg.NewMetadataRequestTopic()
		asked.Topic = kmsg.StringPtr(topic)
		metadata.Topics = append(metadata.Topics, asked)
	}
	known, err := metadata.RequestWith(ctx, client)
	if err != nil {
		return nil, err
	}
	request := kmsg.NewPtrListOffsetsRequest()
	request.ReplicaID = -1
	for _, topic := range known.Topics {
		if err := kerr.ErrorForCode(topic.ErrorCode); err != nil {
			return nil, fmt.Errorf("topic %s: %w", *topic.Topic, err)
		}
		asked := kmsg.NewListOffsetsRequestTopic()
		asked.Topic = *topic.Topic
		for _, partition := range topic.Partitions {
			if partition.Leader < 0 {
				return nil, fmt.Errorf("%s-%d has no leader", asked.Topic, partition.Partition)
			}
			one := kmsg.NewListOffsetsRequestTopicPartition()
			one.Partition, one.Timestamp = partition.Partition, at
			asked.Partitions = append(asked.Partitions, one)
		}
		request.Topics = append(request.Topics, asked)
	}
	found := make(map[string]map[int32]int64)
	for _, shard := range client.RequestSharded(ctx, request) {
		if shard.Err != nil {
			return nil, shard.Err
		}
		for _, topic := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			if found[topic.Topic] == nil {
				found[topic.Topic] = make(map[int32]int64)
			}
			for _, partition := range topic.Partitions {
				if err := kerr.ErrorForCode(partition.ErrorCode); err != nil {
					return nil, fmt.Errorf("%s-%d: %w", topic.Topic, partition.Partition, err)
				}
				found[topic.Topic][partition.Partition] = partition.Offset
			}
		}
	}
	return found, nil
}
