package v2

import (
	"context"
	"net/http"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka"
	"github.com/weir-gateway/weir/core/internal/kafka/consumer"
	"github.com/weir-gateway/weir/core/internal/record"
	"github.com/weir-gateway/weir/core/internal/rest"
)

// emptyBody is the answer to a missing body where one is needed.
func emptyBody() error {
	return fault.New(fault.Unprocessable, "The request body is empty. Data is required.")
}

type subscriptionBody struct {
	Topics  *[]*string `json:"topics"`
	Pattern *string    `json:"topic_pattern"`
}

// bindSubscribe takes topics or a pattern; topics win. All topics of a request are decided as one, and a pattern is expanded by the
// server against what the caller may see.
func bindSubscribe(r *rest.Request) (rest.Operation, rest.Serve, error) {
	var body subscriptionBody
	switch empty, err := r.Decode(&body); {
	case err != nil:
		return rest.Operation{}, nil, err
	case empty:
		return rest.Operation{}, nil, emptyBody()
	}
	var resources []rest.Resource
	var topics []string
	switch {
	case body.Topics != nil:
		if err := few(r, "topics", len(*body.Topics)); err != nil {
			return rest.Operation{}, nil, err
		}
		for i, topic := range *body.Topics {
			switch {
			case topic == nil:
				return rest.Operation{}, nil, fault.Newf(fault.Unprocessable, "topics[%d] must not be null", i)
			case !kafka.ValidTopicName(*topic):
				return rest.Operation{}, nil, fault.Newf(fault.Unprocessable, "topics[%d]: %s is not a name that a topic can have.", i, excerpt(*topic))
			}
			topics = append(topics, *topic)
			resources = append(resources, rest.Resource{Type: "topic", Name: *topic})
		}
	case body.Pattern != nil:
		resources = []rest.Resource{{Type: "topic"}}
	}
	return onInstance(r, resources, func(_ context.Context, w http.ResponseWriter, grant *rest.Grant, instance *consumer.Instance) error {
		var err error
		switch {
		case body.Topics != nil:
			err = instance.Subscribe(topics)
		case body.Pattern != nil:
			err = instance.SubscribePattern(*body.Pattern, grant.Visible)
		}
		if err != nil {
			return err
		}
		rest.NoContent(w)
		return nil
	})
}

// few refuses lists that would make an instance hold, or a request ask, more than consume.max_partitions.
func few(r *rest.Request, list string, length int) error {
	if most := r.Settings.Consume.MaxPartitions; length > most {
		return fault.Newf(fault.Unprocessable, "%s has %d entries; at most %d are allowed (consume.max_partitions).", list, length, most)
	}
	return nil
}

type topicsBody struct {
	Topics []string `json:"topics"`
}

func bindGetSubscription(r *rest.Request) (rest.Operation, rest.Serve, error) {
	return onInstance(r, nil, func(_ context.Context, w http.ResponseWriter, _ *rest.Grant, instance *consumer.Instance) error {
		return writeBody(w, r, topicsBody{Topics: instance.Subscription()})
	})
}

func bindUnsubscribe(r *rest.Request) (rest.Operation, rest.Serve, error) {
	return onInstance(r, nil, func(ctx context.Context, w http.ResponseWriter, _ *rest.Grant, instance *consumer.Instance) error {
		if err := instance.Unsubscribe(ctx); err != nil {
			return err
		}
		rest.NoContent(w)
		return nil
	})
}

type topicPartitionBody struct {
	Topic     *string `json:"topic"`
	Partition *int32  `json:"partition"`
}

type partitionsBody struct {
	Partitions *[]topicPartitionBody `json:"partitions"`
}

// decodePartitions reads a body that lists partitions.
func decodePartitions(r *rest.Request) ([]record.TopicPartition, error) {
	var body partitionsBody
	switch empty, err := r.Decode(&body); {
	case err != nil:
		return nil, err
	case empty:
		return nil, emptyBody()
	case body.Partitions == nil:
		return nil, fault.New(fault.Unprocessable, "partitions must not be null")
	}
	if err := few(r, "partitions", len(*body.Partitions)); err != nil {
		return nil, err
	}
	partitions := make([]record.TopicPartition, 0, len(*body.Partitions))
	for i := range *body.Partitions {
		one := &(*body.Partitions)[i]
		partition, err := topicPartition("partitions", i, one.Topic, one.Partition)
		if err != nil {
			return nil, err
		}
		partitions = append(partitions, partition)
	}
	return partitions, nil
}

// topicPartition checks one entry of a list of partitions.
func topicPartition(list string, i int, topic *string, partition *int32) (record.TopicPartition, error) {
	switch {
	case topic == nil || *topic == "":
		return record.TopicPartition{}, fault.Newf(fault.Unprocessable, "%s[%d].topic must not be empty", list, i)
	case partition == nil:
		return record.TopicPartition{}, fault.Newf(fault.Unprocessable, "%s[%d].partition must not be null", list, i)
	case *partition < 0:
		return record.TopicPartition{}, fault.Newf(fault.Unprocessable, "%s[%d].partition must be greater than or equal to 0 (was %d)", list, i, *partition)
	case !kafka.ValidTopicName(*topic):
		return record.TopicPartition{}, fault.Newf(fault.Unprocessable, "%s[%d].topic: %s is not a name that a topic can have.", list, i, excerpt(*topic))
	}
	return record.TopicPartition{Topic: *topic, Partition: *partition}, nil
}

// topicResources are the topics of partitions, each once.
func topicResources[P any](partitions []P, topic func(*P) string) []rest.Resource {
	var resources []rest.Resource
	seen := map[string]bool{}
	for i := range partitions {
		if name := topic(&partitions[i]); !seen[name] {
			seen[name] = true
			resources = append(resources, rest.Resource{Type: "topic", Name: name})
		}
	}
	return resources
}

func ofPartition(p *record.TopicPartition) string { return p.Topic }

func bindAssign(r *rest.Request) (rest.Operation, rest.Serve, error) {
	partitions, err := decodePartitions(r)
	if err != nil {
		return rest.Operation{}, nil, err
	}
	return onInstance(r, topicResources(partitions, ofPartition), func(_ context.Context, w http.ResponseWriter, _ *rest.Grant, instance *consumer.Instance) error {
		if err := instance.Assign(partitions); err != nil {
			return err
		}
		rest.NoContent(w)
		return nil
	})
}

type assignedBody struct {
	Partitions []assigned `json:"partitions"`
}

type assigned struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
}

func bindGetAssignments(r *rest.Request) (rest.Operation, rest.Serve, error) {
	return onInstance(r, nil, func(_ context.Context, w http.ResponseWriter, _ *rest.Grant, instance *consumer.Instance) error {
		body := assignedBody{Partitions: []assigned{}}
		for _, partition := range instance.Assignment() {
			body.Partitions = append(body.Partitions, assigned(partition))
		}
		return writeBody(w, r, body)
	})
}
