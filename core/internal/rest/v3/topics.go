package v3

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka"
	"github.com/weir-gateway/weir/core/internal/kafka/admin"
	"github.com/weir-gateway/weir/core/internal/rest"
)

// onCluster is a route about the path's cluster; serve is given the cluster and the names to write with.
func onCluster(r *rest.Request, resources []rest.Resource, serve func(context.Context, http.ResponseWriter, *rest.Grant, *rest.Cluster, names) error) (rest.Operation, rest.Serve, error) {
	id := r.PathValue("cluster")
	return rest.Operation{Cluster: id, Resources: resources}, func(ctx context.Context, w http.ResponseWriter, grant *rest.Grant) error {
		cluster, err := grant.Cluster()
		if err != nil {
			return err
		}
		return serve(ctx, w, grant, cluster, namesFor(r, id))
	}, nil
}

// onTopic is onCluster for the path's topic.
func onTopic(r *rest.Request, serve func(context.Context, http.ResponseWriter, *rest.Cluster, names, string) error) (rest.Operation, rest.Serve, error) {
	topic := r.PathValue("topic")
	if !kafka.ValidTopicName(topic) {
		return rest.Operation{}, nil, rest.UnknownTopic()
	}
	return onCluster(r, []rest.Resource{{Type: "topic", Name: topic}}, func(ctx context.Context, w http.ResponseWriter, _ *rest.Grant, cluster *rest.Cluster, n names) error {
		return serve(ctx, w, cluster, n, topic)
	})
}

// truth reads a query parameter as Java's Boolean.parseBoolean does.
func truth(r *rest.Request, parameter string) bool {
	return strings.EqualFold(r.URL.Query().Get(parameter), "true")
}

func bindListTopics(r *rest.Request) (rest.Operation, rest.Serve, error) {
	options := admin.TopicOptions{Operations: truth(r, "includeAuthorizedOperations")}
	return onCluster(r, []rest.Resource{{Type: "topic"}}, func(ctx context.Context, w http.ResponseWriter, grant *rest.Grant, cluster *rest.Cluster, n names) error {
		topics, err := cluster.Topics(ctx, options)
		if err != nil {
			return err
		}
		body := list[topicBody]{Kind: "KafkaTopicList", Metadata: listMetadata{Self: n.url("/topics")}, Data: []topicBody{}}
		for _, topic := range topics {
			if grant.Visible(topic.Name) {
				body.Data = append(body.Data, n.described(topic))
			}
		}
		return write(w, r, http.StatusOK, body)
	})
}

func bindGetTopic(r *rest.Request) (rest.Operation, rest.Serve, error) {
	options := admin.TopicOptions{Internal: true, Operations: truth(r, "include_authorized_operations")}
	return onTopic(r, func(ctx context.Context, w http.ResponseWriter, cluster *rest.Cluster, n names, name string) error {
		topic, err := cluster.Topic(ctx, name, options)
		if err != nil {
			return err
		}
		return write(w, r, http.StatusOK, n.described(topic))
	})
}

// described is a topic as the cluster describes it. Its replication factor is that of partition 0, as in the REST Proxy.
func (n names) described(topic admin.Topic) topicBody {
	replicas := 0
	if len(topic.Partitions) > 0 {
		replicas = len(topic.Partitions[0].Replicas)
	}
	body := n.topicBody(topic.Name, len(topic.Partitions), replicas)
	body.IsInternal = topic.Internal
	if topic.Operations != nil {
		body.AuthorizedOperations = topic.Operations
	}
	return body
}

func bindDeleteTopic(r *rest.Request) (rest.Operation, rest.Serve, error) {
	return onTopic(r, func(ctx context.Context, w http.ResponseWriter, cluster *rest.Cluster, _ names, name string) error {
		if err := cluster.DeleteTopic(ctx, name); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	})
}

// createTopicBody is the request. Pointers tell what was left out: the cluster's defaults then apply.
type createTopicBody struct {
	TopicName           *string            `json:"topic_name"`
	PartitionsCount     *int32             `json:"partitions_count"`
	ReplicationFactor   *int16             `json:"replication_factor"`
	ReplicasAssignments map[string][]int32 `json:"replicas_assignments"`
	Configs             []struct {
		Name  *string `json:"name"`
		Value *string `json:"value"`
	} `json:"configs"`
	ValidateOnly bool `json:"validate_only"`
}

func bindCreateTopic(r *rest.Request) (rest.Operation, rest.Serve, error) {
	topic, err := readNewTopic(r)
	if err != nil {
		return rest.Operation{}, nil, err
	}
	return onCluster(r, []rest.Resource{{Type: "topic", Name: topic.Name}}, func(ctx context.Context, w http.ResponseWriter, _ *rest.Grant, cluster *rest.Cluster, n names) error {
		created, err := cluster.CreateTopic(ctx, topic)
		if err != nil {
			return err
		}
		body := n.topicBody(topic.Name, int(created.Partitions), int(created.ReplicationFactor))
		w.Header().Set("Location", body.Metadata.Self)
		status := http.StatusCreated
		if topic.ValidateOnly {
			status = http.StatusOK
		}
		return write(w, r, status, body)
	})
}

func readNewTopic(r *rest.Request) (admin.NewTopic, error) {
	var none admin.NewTopic
	var body createTopicBody
	switch empty, err := r.Decode(&body); {
	case err != nil:
		return none, err
	case empty:
		return none, fault.New(fault.InvalidPayload, "Payload error. Request body is empty. Data is required.")
	}
	switch {
	case body.TopicName == nil:
		return none, fault.New(fault.MalformedJSON, "Missing required field: topic_name")
	case !kafka.ValidTopicName(*body.TopicName):
		return none, fault.New(fault.InvalidPayload, "Payload error. Invalid topic name.")
	}
	topic := admin.NewTopic{Name: *body.TopicName, Partitions: body.PartitionsCount, ReplicationFactor: body.ReplicationFactor, ValidateOnly: body.ValidateOnly}
	for _, config := range body.Configs {
		if config.Name == nil {
			return none, fault.New(fault.MalformedJSON, "Missing required field: configs.name")
		}
		topic.Configs = append(topic.Configs, admin.NewTopicConfig{Name: *config.Name, Value: config.Value})
	}
	for id, brokers := range body.ReplicasAssignments {
		partition, err := strconv.ParseInt(id, 10, 32)
		if err != nil || partition < 0 {
			return none, fault.Newf(fault.MalformedJSON, "replicas_assignments: %q is not a partition number.", id)
		}
		if topic.ReplicasAssignments == nil {
			topic.ReplicasAssignments = map[int32][]int32{}
		}
		topic.ReplicasAssignments[int32(partition)] = slices.Clone(brokers)
	}
	return topic, nil
}
