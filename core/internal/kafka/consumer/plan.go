package consumer

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka"
)

const protocolType = "consumer"

// strategies are the ways of sharing partitions that a member offers, the one that it prefers first. The group uses one that all
// its members know, so a member that offers what others may insist on can join them: range is the first choice of the Java
// client and of sarama, and all that a default Java consumer shares with a client that cannot give partitions up one by one;
// roundrobin is what others are set to.
func strategies() []sarama.BalanceStrategy {
	return []sarama.BalanceStrategy{sarama.NewBalanceStrategyRange(), sarama.NewBalanceStrategyRoundRobin()}
}

// share is what the leader of a group does: it gives every member its partitions.
func share(protocol string, members map[string]sarama.ConsumerGroupMemberMetadata, counts map[string]int) (sarama.BalanceStrategyPlan, error) {
	topics := make(map[string][]int32, len(counts))
	for topic, count := range counts {
		partitions := make([]int32, count)
		for n := range partitions {
			partitions[n] = int32(n)
		}
		topics[topic] = partitions
	}
	for _, s := range strategies() {
		if s.Name() == protocol {
			plan, err := s.Plan(members, topics)
			if err != nil {
				return nil, fault.Wrap(fault.KafkaFailed, err, "The partitions could not be shared among the members of the group.")
			}
			for member := range members { // who gets nothing must be told too
				if plan[member] == nil {
					plan[member] = map[string][]int32{}
				}
			}
			return plan, nil
		}
	}
	return nil, fault.Newf(fault.KafkaFailed, "The group chose the protocol %q, which Weir did not offer.", protocol)
}

// union is every topic that a member of the group wants, sorted.
func union(members map[string]sarama.ConsumerGroupMemberMetadata) []string {
	var topics []string
	for _, m := range members {
		topics = append(topics, m.Topics...)
	}
	slices.Sort(topics)
	return slices.Compact(topics)
}

// catalog is what this room needs to know of topics.
type catalog interface {
	// counts asks how many partitions topics have. Those that do not exist are left out; so are those that could not be asked for in time
	// and were never seen.
	counts(ctx context.Context, topics []string) map[string]int
	// peek is counts from memory. What is older than age is asked for in the background.
	peek(topics []string, age time.Duration) map[string]int
	// list asks for the names of all topics but the internal ones, sorted.
	list(ctx context.Context) ([]string, error)
	// denied is the refusal when a topic is not the gateway's to see.
	denied(ctx context.Context, topic string) error
}

const lookupsAtOnce = 100

// topics is catalog on a cluster.
type topics struct {
	client   *kafka.Client
	observer kafka.Observer
}

func (t *topics) counts(ctx context.Context, names []string) map[string]int {
	found := make(map[string]int, len(names))
	var mu sync.Mutex
	var all sync.WaitGroup
	slots := make(chan struct{}, lookupsAtOnce)
	for _, name := range names {
		slots <- struct{}{}
		all.Go(func() { // ends with the look-up, which ends with ctx; the client makes one question of many
			defer func() { <-slots }()
			topic, err := t.client.Refresh(ctx, name)
			if err != nil {
				switch fault.From(err).Code {
				case fault.UnknownTopic, fault.KafkaRejected, fault.PermissionDenied:
					return
				}
				if topic, _ = t.client.Cached(name); topic == nil {
					return
				}
			}
			mu.Lock()
			found[name] = len(topic.Partitions)
			mu.Unlock()
		})
	}
	all.Wait()
	return found
}

func (t *topics) peek(names []string, age time.Duration) map[string]int {
	found := make(map[string]int, len(names))
	var old []string
	for _, name := range names {
		topic, ok := t.client.Cached(name)
		if ok {
			found[name] = len(topic.Partitions)
		}
		if !ok || time.Since(topic.Fetched) > age {
			old = append(old, name)
		}
	}
	if len(old) > 0 {
		t.client.Renew(old...)
	}
	return found
}

func (t *topics) list(ctx context.Context) ([]string, error) {
	var names []string
	err := t.client.Call(ctx, kafka.AnyBroker, true, func(b *sarama.Broker) error {
		response, err := b.GetMetadata(sarama.NewMetadataRequest(t.client.Version(), nil))
		if err != nil {
			return err
		}
		names = names[:0]
		for _, topic := range response.Topics {
			if !topic.IsInternal && (topic.Err == sarama.ErrNoError || len(topic.Partitions) > 0) {
				names = append(names, topic.Name)
			}
		}
		return nil
	})
	if err != nil {
		if t.observer != nil {
			t.observer.KafkaError("consume", kafka.ErrorName(err))
		}
		return nil, kafka.Fault(err)
	}
	slices.Sort(names)
	return names, nil
}

func (t *topics) denied(ctx context.Context, name string) error {
	_, err := t.client.Topic(ctx, name)
	if err != nil && fault.From(err).Code == fault.PermissionDenied {
		return fault.Wrap(fault.PermissionDenied, err, "Not authorized to access topics: ["+name+"]")
	}
	return nil
}
