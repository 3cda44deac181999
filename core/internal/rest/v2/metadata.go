package v2

import (
	"context"
	"net/http"

	"github.com/go-json-experiment/json"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka"
	"github.com/weir-gateway/weir/core/internal/kafka/admin"
	"github.com/weir-gateway/weir/core/internal/rawjson"
	"github.com/weir-gateway/weir/core/internal/rest"
)

// The bodies of the answers. Field order is the REST Proxy's.
type (
	brokersBody struct {
		Brokers []int32 `json:"brokers"`
	}
	topicBody struct {
		Name       string             `json:"name"`
		Configs    map[string]*string `json:"configs"`
		Partitions []partitionBody    `json:"partitions"`
	}
	partitionBody struct {
		Partition int32         `json:"partition"`
		Leader    int32         `json:"leader"` // -1: none
		Replicas  []replicaBody `json:"replicas"`
	}
	replicaBody struct {
		Broker int32 `json:"broker"`
		Leader bool  `json:"leader"`
		InSync bool  `json:"in_sync"`
	}
	offsetsBody struct {
		Beginning int64 `json:"beginning_offset"`
		End       int64 `json:"end_offset"`
	}
)

// answer is a route that asks one cluster and answers with a body.
func answer(r *rest.Request, resources []rest.Resource, ask func(context.Context, *rest.Grant, *rest.Cluster) (any, error)) (rest.Operation, rest.Serve, error) {
	return rest.Operation{Resources: resources}, func(ctx context.Context, w http.ResponseWriter, grant *rest.Grant) error {
		cluster, err := grant.Cluster()
		if err != nil {
			return err
		}
		body, err := ask(ctx, grant, cluster)
		if err != nil {
			return err
		}
		return writeBody(w, r, body)
	}, nil
}

func writeBody(w http.ResponseWriter, r *rest.Request, body any) error {
	encoded, err := json.Marshal(body, json.Deterministic(true))
	if err != nil {
		return err
	}
	rest.WriteJSON(w, http.StatusOK, r.Answer, encoded)
	return nil
}

// bindRoot answers {} without asking Kafka: health checks are pointed at it.
func bindRoot(r *rest.Request) (rest.Operation, rest.Serve, error) {
	return rest.Operation{}, func(_ context.Context, w http.ResponseWriter, _ *rest.Grant) error {
		rest.WriteJSON(w, http.StatusOK, r.Answer, []byte("{}"))
		return nil
	}, nil
}

func bindRootPost(r *rest.Request) (rest.Operation, rest.Serve, error) {
	body, err := r.Body()
	if err != nil {
		return rest.Operation{}, nil, err
	}
	if len(body) > 0 {
		if err := rawjson.Check(body, r.JSONLimits()); err != nil {
			return rest.Operation{}, nil, rest.Malformed(err)
		}
		if rawjson.Kind(rawjson.Trim(body)) != '{' {
			return rest.Operation{}, nil, fault.New(fault.MalformedJSON, "The request body must be a JSON object of strings.")
		}
	}
	return bindRoot(r)
}

func bindBrokers(r *rest.Request) (rest.Operation, rest.Serve, error) {
	return answer(r, []rest.Resource{{Type: "cluster"}}, func(ctx context.Context, _ *rest.Grant, cluster *rest.Cluster) (any, error) {
		described, err := cluster.Cluster(ctx)
		body := brokersBody{Brokers: []int32{}}
		for _, broker := range described.Brokers {
			body.Brokers = append(body.Brokers, broker.ID)
		}
		return body, err
	})
}

// AnyTopic asks about a topic whatever it is, internal ones included.
var AnyTopic = admin.TopicOptions{Internal: true}

func bindTopics(r *rest.Request) (rest.Operation, rest.Serve, error) {
	return answer(r, []rest.Resource{{Type: "topic"}}, func(ctx context.Context, grant *rest.Grant, cluster *rest.Cluster) (any, error) {
		topics, err := cluster.Topics(ctx, admin.TopicOptions{})
		names := []string{}
		for _, topic := range topics {
			if grant.Visible(topic.Name) {
				names = append(names, topic.Name)
			}
		}
		return names, err
	})
}

// aboutTopic is answer for a route about the path's topic.
func aboutTopic(r *rest.Request, ask func(context.Context, *rest.Cluster, string) (any, error)) (rest.Operation, rest.Serve, error) {
	topic := r.PathValue("topic")
	if !kafka.ValidTopicName(topic) {
		return rest.Operation{}, nil, rest.UnknownTopic()
	}
	return answer(r, []rest.Resource{{Type: "topic", Name: topic}}, func(ctx context.Context, _ *rest.Grant, cluster *rest.Cluster) (any, error) {
		return ask(ctx, cluster, topic)
	})
}

func bindTopic(r *rest.Request) (rest.Operation, rest.Serve, error) {
	return aboutTopic(r, func(ctx context.Context, cluster *rest.Cluster, name string) (any, error) {
		topic, err := cluster.Topic(ctx, name, admin.TopicOptions{})
		if err != nil {
			return nil, err
		}
		configs, err := cluster.TopicConfigs(ctx, name)
		if err != nil {
			return nil, err
		}
		body := topicBody{Name: name, Configs: map[string]*string{}, Partitions: partitions(topic)}
		for _, entry := range configs {
			body.Configs[entry.Name] = entry.Value
		}
		return body, nil
	})
}

func bindPartitions(r *rest.Request) (rest.Operation, rest.Serve, error) {
	return aboutTopic(r, func(ctx context.Context, cluster *rest.Cluster, name string) (any, error) {
		topic, err := cluster.Topic(ctx, name, admin.TopicOptions{})
		return partitions(topic), err
	})
}

func bindPartition(r *rest.Request) (rest.Operation, rest.Serve, error) {
	number, err := rest.PathPartition(r)
	if err != nil {
		return rest.Operation{}, nil, err
	}
	return aboutTopic(r, func(ctx context.Context, cluster *rest.Cluster, name string) (any, error) {
		partition, err := cluster.Partition(ctx, name, number)
		return partitionOf(partition), err
	})
}

func bindOffsets(r *rest.Request) (rest.Operation, rest.Serve, error) {
	number, err := rest.PathPartition(r)
	if err != nil {
		return rest.Operation{}, nil, err
	}
	return aboutTopic(r, func(ctx context.Context, cluster *rest.Cluster, name string) (any, error) {
		beginning, end, err := cluster.Offsets(ctx, name, number)
		return offsetsBody{beginning, end}, err
	})
}

func partitions(topic admin.Topic) []partitionBody {
	bodies := []partitionBody{}
	for _, partition := range topic.Partitions {
		bodies = append(bodies, partitionOf(partition))
	}
	return bodies
}

func partitionOf(partition admin.Partition) partitionBody {
	body := partitionBody{Partition: partition.ID, Leader: partition.Leader, Replicas: []replicaBody{}}
	for _, replica := range partition.Replicas {
		body.Replicas = append(body.Replicas, replicaBody(replica))
	}
	return body
}
