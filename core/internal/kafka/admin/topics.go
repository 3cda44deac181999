package admin

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka"
)

// Topic is a topic as the cluster describes it.
type Topic struct {
	Name       string
	Internal   bool
	Partitions []Partition // by id
	// Operations are the operations that the gateway's principal may do on the topic, in Kafka's names (READ, WRITE …),
	// sorted. nil: not asked, or not told.
	Operations []string
}

// Partition is where a partition lives. Leader is -1 when it has none.
type Partition struct {
	ID       int32
	Leader   int32
	Replicas []Replica // in the order of the assignment
}

// Replica is one copy of a partition.
type Replica struct {
	Broker int32
	Leader bool
	InSync bool
}

// TopicOptions say what to include.
type TopicOptions struct {
	Internal   bool // list internal topics too
	Operations bool // fill Topic.Operations
}

// Topics gives all topics that the gateway's principal may see, by name.
func (a *Admin) Topics(ctx context.Context, options TopicOptions) ([]Topic, error) {
	response, err := a.metadata(ctx, nil, options.Operations)
	if err != nil {
		return nil, err
	}
	topics := make([]Topic, 0, len(response.Topics))
	for _, t := range response.Topics {
		if t.IsInternal && !options.Internal || t.Err != sarama.ErrNoError && len(t.Partitions) == 0 {
			continue // one that is just being made or deleted has nothing to tell
		}
		topics = append(topics, toTopic(t, options.Operations))
	}
	slices.SortFunc(topics, func(x, y Topic) int { return cmp.Compare(x.Name, y.Name) })
	return topics, nil
}

// Topic gives one topic, internal or not.
func (a *Admin) Topic(ctx context.Context, name string, options TopicOptions) (Topic, error) {
	if !kafka.ValidTopicName(name) {
		return Topic{}, a.code(sarama.ErrInvalidTopic, nil)
	}
	response, err := a.metadata(ctx, []string{name}, options.Operations)
	if err != nil {
		return Topic{}, err
	}
	for _, t := range response.Topics {
		if t.Name != name {
			continue
		}
		if t.Err != sarama.ErrNoError && len(t.Partitions) == 0 {
			return Topic{}, a.code(t.Err, nil)
		}
		return toTopic(t, options.Operations), nil
	}
	return Topic{}, unreadable(errors.New("the metadata answer lacks the topic"))
}

// Partition gives one partition of a topic.
func (a *Admin) Partition(ctx context.Context, topic string, partition int32) (Partition, error) {
	t, err := a.Topic(ctx, topic, TopicOptions{})
	if err != nil {
		return Partition{}, err
	}
	for _, p := range t.Partitions {
		if p.ID == partition {
			return p, nil
		}
	}
	return Partition{}, fault.New(fault.PartitionNotFound, "Partition not found.")
}

func toTopic(t *sarama.TopicMetadata, operations bool) Topic {
	topic := Topic{Name: t.Name, Internal: t.IsInternal, Partitions: make([]Partition, 0, len(t.Partitions))}
	for _, p := range t.Partitions {
		partition := Partition{ID: p.ID, Leader: p.Leader, Replicas: make([]Replica, 0, len(p.Replicas))}
		for _, broker := range p.Replicas {
			partition.Replicas = append(partition.Replicas, Replica{Broker: broker, Leader: broker == p.Leader, InSync: slices.Contains(p.Isr, broker)})
		}
		topic.Partitions = append(topic.Partitions, partition)
	}
	slices.SortFunc(topic.Partitions, func(x, y Partition) int { return int(x.ID) - int(y.ID) })
	if operations {
		topic.Operations = operationNames(t.TopicAuthorizedOperations)
	}
	return topic
}

// operations are Kafka's names of ACL operations by their codes.
var operations = [...]string{
	3: "READ", 4: "WRITE", 5: "CREATE", 6: "DELETE", 7: "ALTER", 8: "DESCRIBE", 9: "CLUSTER_ACTION", 10: "DESCRIBE_CONFIGS",
	11: "ALTER_CONFIGS", 12: "IDEMPOTENT_WRITE", 13: "CREATE_TOKENS", 14: "DESCRIBE_TOKENS", 15: "TWO_PHASE_COMMIT",
}

// operationNames reads a set of operations, one bit for each code. The lowest number stands for "not told".
func operationNames(set int32) []string {
	if set == math.MinInt32 {
		return nil
	}
	names := []string{}
	for code, name := range operations {
		if name != "" && set&(1<<code) != 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Offsets gives a partition's first offset and the one after its last record, whether committed or not.
func (a *Admin) Offsets(ctx context.Context, topic string, partition int32) (beginning, end int64, err error) {
	beginning, err = a.offset(ctx, topic, partition, sarama.OffsetOldest)
	if err != nil {
		return 0, 0, err
	}
	end, err = a.offset(ctx, topic, partition, sarama.OffsetNewest)
	return beginning, end, err
}

const retryPause = 100 * time.Millisecond

// offset asks a partition's leader, and again when that has changed.
func (a *Admin) offset(parent context.Context, topic string, partition int32, at int64) (int64, error) {
	ctx, cancel := context.WithTimeout(parent, a.client.AdminTimeout())
	defer cancel()
	for {
		p, err := a.Partition(ctx, topic, partition)
		if err != nil {
			return 0, err
		}
		var offset int64
		if p.Leader >= 0 {
			offset, err = a.askOffset(ctx, topic, p, at)
		} else {
			err = a.code(sarama.ErrLeaderNotAvailable, nil)
		}
		if err == nil {
			return offset, nil
		}
		code := fault.From(err).Code
		if code != fault.KafkaRetriable && code != fault.BrokerNotAvailable && code != fault.UnknownTopic || !pause(ctx) {
			return 0, err
		}
	}
}

func (a *Admin) askOffset(ctx context.Context, topic string, p Partition, at int64) (int64, error) {
	var response *sarama.OffsetResponse
	err := a.read(ctx, p.Leader, func(b *sarama.Broker) error {
		request := sarama.NewOffsetRequest(a.client.Version())
		request.AddBlock(topic, p.ID, at, 1)
		var err error
		response, err = b.GetAvailableOffsets(request)
		return err
	})
	if err != nil {
		return 0, err
	}
	block := response.GetBlock(topic, p.ID)
	if block == nil {
		return 0, unreadable(errors.New("the offsets answer lacks the partition"))
	}
	return block.Offset, a.code(block.Err, nil)
}

// pause waits a little unless ctx ends first.
func pause(ctx context.Context) bool {
	timer := time.NewTimer(retryPause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
