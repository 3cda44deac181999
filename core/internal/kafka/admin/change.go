package admin

import (
	"context"
	"errors"
	"time"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka"
)

// NewTopic is a topic to create.
type NewTopic struct {
	Name                string
	Partitions          *int32            // nil: the brokers' default
	ReplicationFactor   *int16            // nil: the brokers' default
	ReplicasAssignments map[int32][]int32 // brokers by partition; overrides the two above when not empty
	Configs             []NewTopicConfig
	ValidateOnly        bool // say whether it could be created, and create nothing
}

// NewTopicConfig is one setting of a topic. A nil Value is the default.
type NewTopicConfig struct {
	Name  string
	Value *string
}

// CreatedTopic is what the broker says about a topic that was, or could be, created. 0: not told.
type CreatedTopic struct {
	Partitions        int32
	ReplicationFactor int16
}

// CreateTopic creates a topic. When it returns, the gateway can produce to it: its partitions have leaders, unless that took
// more than a few seconds. A connection that breaks after the request was sent gives KafkaRetriable: whether the topic exists
// is then for Topic to say.
func (a *Admin) CreateTopic(ctx context.Context, topic NewTopic) (CreatedTopic, error) {
	detail := &sarama.TopicDetail{NumPartitions: -1, ReplicationFactor: -1, ConfigEntries: map[string]*string{}}
	if len(topic.ReplicasAssignments) > 0 {
		detail.ReplicaAssignment = topic.ReplicasAssignments
	} else {
		if topic.Partitions != nil {
			detail.NumPartitions = *topic.Partitions
		}
		if topic.ReplicationFactor != nil {
			detail.ReplicationFactor = *topic.ReplicationFactor
		}
	}
	for _, c := range topic.Configs {
		detail.ConfigEntries[c.Name] = c.Value
	}
	var created CreatedTopic
	err := a.change(ctx, func(b *sarama.Broker, left time.Duration) (sarama.KError, *string, error) {
		request := sarama.NewCreateTopicsRequest(a.client.Version(), map[string]*sarama.TopicDetail{topic.Name: detail}, left, topic.ValidateOnly)
		response, err := b.CreateTopics(request)
		if err != nil {
			return 0, nil, err
		}
		if result := response.TopicResults[topic.Name]; result != nil {
			created = CreatedTopic{Partitions: max(0, result.NumPartitions), ReplicationFactor: max(0, result.ReplicationFactor)}
		}
		answer := response.TopicErrors[topic.Name]
		if answer == nil {
			return 0, nil, unreadable(errors.New("the create-topics answer lacks the topic"))
		}
		return answer.Err, answer.ErrMsg, nil
	})
	if err != nil {
		return CreatedTopic{}, err
	}
	if !topic.ValidateOnly {
		a.settle(ctx, topic.Name, func(t *kafka.Topic, err error) bool { return err == nil && t.Led() })
	}
	return created, nil
}

// DeleteTopic deletes a topic. When it returns, the gateway no longer knows it.
func (a *Admin) DeleteTopic(ctx context.Context, name string) error {
	err := a.change(ctx, func(b *sarama.Broker, left time.Duration) (sarama.KError, *string, error) {
		response, err := b.DeleteTopics(sarama.NewDeleteTopicsRequest(a.client.Version(), []string{name}, left))
		if err != nil {
			return 0, nil, err
		}
		code, answered := response.TopicErrorCodes[name]
		if !answered {
			return 0, nil, unreadable(errors.New("the delete-topics answer lacks the topic"))
		}
		return code, response.TopicErrorMessages[name], nil
	})
	if err != nil {
		return err
	}
	a.client.Forget(name)
	a.settle(ctx, name, func(_ *kafka.Topic, err error) bool {
		if err == nil {
			a.client.Forget(name)
			return false
		}
		return fault.From(err).Code == fault.UnknownTopic
	})
	return nil
}

// change sends a request to the controller, and again only when the broker says that it is not the one and has done nothing.
func (a *Admin) change(parent context.Context, send func(b *sarama.Broker, left time.Duration) (sarama.KError, *string, error)) error {
	ctx, cancel := context.WithTimeout(parent, a.client.AdminTimeout())
	defer cancel()
	for {
		var code sarama.KError
		var message *string
		err := a.call(ctx, kafka.Controller, false, func(b *sarama.Broker) error {
			deadline, _ := ctx.Deadline()
			var err error
			// The broker gives up a little before we do: its answer says more than our timeout.
			code, message, err = send(b, max(time.Until(deadline)*9/10, time.Millisecond))
			return err
		})
		if err != nil {
			return err
		}
		if code != sarama.ErrNotController {
			return a.code(code, message)
		}
		if _, err := a.client.Refresh(ctx, quietTopic); err != nil && ctx.Err() != nil || !pause(ctx) {
			return a.code(code, message)
		}
	}
}

const settleLongest = 5 * time.Second

// settle asks for a topic until the brokers that are asked see it as it should now be. That they do not yet is no error: the
// change was made.
func (a *Admin) settle(ctx context.Context, name string, done func(*kafka.Topic, error) bool) {
	ctx, cancel := context.WithTimeout(ctx, min(settleLongest, a.client.AdminTimeout()))
	defer cancel()
	for {
		topic, err := a.client.Refresh(ctx, name)
		if done(topic, err) || !pause(ctx) {
			return
		}
	}
}
