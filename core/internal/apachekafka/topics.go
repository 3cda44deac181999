//go:build unix

package apachekafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// CreateTopic creates a topic and waits until every running broker knows it and each partition has a leader.
// replicationFactor -1 is the cluster's default; configs may be nil.
func (c *Cluster) CreateTopic(ctx context.Context, name string, partitions int32, replicationFactor int16, configs map[string]string) error {
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, replicationFactor
	return c.createTopic(ctx, topic, configs)
}

// CreateTopicOn is CreateTopic with the brokers of each partition's replicas given; the first is the preferred leader.
func (c *Cluster) CreateTopicOn(ctx context.Context, name string, replicas [][]int32, configs map[string]string) error {
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, -1, -1
	for partition, brokers := range replicas {
		assignment := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		assignment.Partition, assignment.Replicas = int32(partition), brokers
		topic.ReplicaAssignment = append(topic.ReplicaAssignment, assignment)
	}
	return c.createTopic(ctx, topic, configs)
}

func (c *Cluster) createTopic(ctx context.Context, topic kmsg.CreateTopicsRequestTopic, configs map[string]string) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.Close()
	for name, value := range configs {
		config := kmsg.NewCreateTopicsRequestTopicConfig()
		config.Name, config.Value = name, kmsg.StringPtr(value)
		topic.Configs = append(topic.Configs, config)
	}
	request := kmsg.NewPtrCreateTopicsRequest()
	request.TimeoutMillis = 15_000
	request.Topics = append(request.Topics, topic)
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return fmt.Errorf("create topic %s: %w", topic.Topic, err)
	}
	for _, created := range response.Topics {
		if err := kerr.ErrorForCode(created.ErrorCode); err != nil {
			return fmt.Errorf("create topic %s: %w", topic.Topic, err)
		}
	}
	partitions := max(int(topic.NumPartitions), len(topic.ReplicaAssignment))
	for _, node := range c.nodes {
		if !node.Running() {
			continue
		}
		if err := node.awaitTopic(ctx, topic.Topic, partitions); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) awaitTopic(ctx context.Context, topic string, partitions int) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(n.Address()))
	if err != nil {
		return fmt.Errorf("broker %d: %w", n.id, err)
	}
	defer client.Close()
	return poll(ctx, func(ctx context.Context) error {
		leaders, err := partitionLeaders(ctx, client.SeedBrokers()[0], topic)
		if err != nil {
			return err
		}
		for partition := range int32(partitions) {
			if leader, known := leaders[partition]; !known || leader < 0 {
				return fmt.Errorf("broker %d knows no leader of %s-%d", n.id, topic, partition)
			}
		}
		return nil
	})
}

// Leaders gives the broker that leads each partition of a topic; -1 where there is none.
func (c *Cluster) Leaders(ctx context.Context, topic string) (map[int32]int32, error) {
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return partitionLeaders(ctx, client, topic)
}

func partitionLeaders(ctx context.Context, from kmsg.Requestor, topic string) (map[int32]int32, error) {
	request := kmsg.NewPtrMetadataRequest()
	asked := kmsg.NewMetadataRequestTopic()
	asked.Topic = kmsg.StringPtr(topic)
	request.Topics = append(request.Topics, asked)
	response, err := request.RequestWith(ctx, from)
	if err != nil {
		return nil, fmt.Errorf("metadata of topic %s: %w", topic, err)
	}
	leaders := make(map[int32]int32)
	for _, answered := range response.Topics {
		if err := kerr.ErrorForCode(answered.ErrorCode); err != nil {
			return nil, fmt.Errorf("metadata of topic %s: %w", topic, err)
		}
		for _, partition := range answered.Partitions {
			leaders[partition.Partition] = partition.Leader
		}
	}
	return leaders, nil
}

// MoveLeader makes a broker the leader of a partition of which it holds an in-sync replica, by putting it first among the
// replicas and electing the first.
func (c *Cluster) MoveLeader(ctx context.Context, topic string, partition, to int32) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.Close()
	order := []int32{to}
	for _, node := range c.nodes {
		if node.ID() != to {
			order = append(order, node.ID())
		}
	}
	if err := reassign(ctx, client, topic, partition, order); err != nil {
		return err
	}
	return poll(ctx, func(ctx context.Context) error {
		if err := electPreferred(ctx, client, topic, partition); err != nil {
			return err
		}
		leaders, err := partitionLeaders(ctx, client, topic)
		if err != nil {
			return err
		}
		if leaders[partition] != to {
			return fmt.Errorf("broker %d leads %s-%d, not yet %d", leaders[partition], topic, partition, to)
		}
		return nil
	})
}

func reassign(ctx context.Context, client *kgo.Client, topic string, partition int32, replicas []int32) error {
	one := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
	one.Partition, one.Replicas = partition, replicas
	of := kmsg.NewAlterPartitionAssignmentsRequestTopic()
	of.Topic = topic
	of.Partitions = append(of.Partitions, one)
	request := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	request.TimeoutMillis = 15_000
	request.Topics = append(request.Topics, of)
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return fmt.Errorf("reassign %s-%d: %w", topic, partition, err)
	}
	if err := kerr.ErrorForCode(response.ErrorCode); err != nil {
		return fmt.Errorf("reassign %s-%d: %w", topic, partition, err)
	}
	for _, topics := range response.Topics {
		for _, partitions := range topics.Partitions {
			if err := kerr.ErrorForCode(partitions.ErrorCode); err != nil {
				return fmt.Errorf("reassign %s-%d to %v: %w", topic, partition, replicas, err)
			}
		}
	}
	return nil
}

func electPreferred(ctx context.Context, client *kgo.Client, topic string, partition int32) error {
	of := kmsg.NewElectLeadersRequestTopic()
	of.Topic, of.Partitions = topic, []int32{partition}
	request := kmsg.NewPtrElectLeadersRequest()
	request.TimeoutMillis = 15_000
	request.Topics = append(request.Topics, of)
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return fmt.Errorf("elect the leader of %s-%d: %w", topic, partition, err)
	}
	for _, topics := range response.Topics {
		for _, partitions := range topics.Partitions {
			err := kerr.ErrorForCode(partitions.ErrorCode)
			if err != nil && !errors.Is(err, kerr.ElectionNotNeeded) {
				return fmt.Errorf("elect the leader of %s-%d: %w", topic, partition, err)
			}
		}
	}
	return kerr.ErrorForCode(response.ErrorCode)
}

// AwaitInSync waits until each partition of a topic has a leader and all of its replicas are in sync again, as after faults.
func (c *Cluster) AwaitInSync(ctx context.Context, topic string) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.Close()
	return poll(ctx, func(ctx context.Context) error {
		request := kmsg.NewPtrMetadataRequest()
		asked := kmsg.NewMetadataRequestTopic()
		asked.Topic = kmsg.StringPtr(topic)
		request.Topics = append(request.Topics, asked)
		response, err := request.RequestWith(ctx, client)
		if err != nil {
			return fmt.Errorf("metadata of topic %s: %w", topic, err)
		}
		for _, answered := range response.Topics {
			if err := kerr.ErrorForCode(answered.ErrorCode); err != nil {
				return fmt.Errorf("metadata of topic %s: %w", topic, err)
			}
			for _, partition := range answered.Partitions {
				if partition.Leader < 0 || len(partition.ISR) < len(partition.Replicas) {
					return fmt.Errorf("%s-%d: leader %d, in sync %v of %v", topic, partition.Partition, partition.Leader, partition.ISR, partition.Replicas)
				}
			}
		}
		return nil
	})
}
