package v3

import (
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"

	"github.com/weir-gateway/weir/core/internal/rest"
)

// names writes one cluster's links and resource names as they look to the client of one request.
type names struct {
	clusters string // URL of all clusters
	resource string // crn://authority/
	cluster  string
}

func namesFor(r *rest.Request, cluster string) names {
	prefix := "/v3"
	if len(r.URL.Path) >= len("/kafka/") && r.URL.Path[:len("/kafka/")] == "/kafka/" {
		prefix = "/kafka/v3"
	}
	return names{clusters: r.BaseURL + prefix + "/clusters", resource: "crn://" + r.Settings.API.ResourceNameAuthority + "/", cluster: cluster}
}

func (n names) url(path string) string { return n.clusters + "/" + n.cluster + path }

func (n names) crn(path string) string { return n.resource + "kafka=" + n.cluster + path }

func (n names) link(path string) *link { return &link{n.url(path)} }

// The envelope: kind and metadata first, then the resource's own fields.
type (
	metadata struct {
		Self         string `json:"self"`
		ResourceName string `json:"resource_name"`
	}
	listMetadata struct {
		Self string  `json:"self"`
		Next *string `json:"next"` // always null: nothing is paged
	}
	list[T any] struct {
		Kind     string       `json:"kind"`
		Metadata listMetadata `json:"metadata"`
		Data     []T          `json:"data"`
	}
	link struct {
		Related string `json:"related"`
	}
)

type clusterBody struct {
	Kind                   string   `json:"kind"`
	Metadata               metadata `json:"metadata"`
	ClusterID              string   `json:"cluster_id"`
	Controller             *link    `json:"controller"`
	ACLs                   *link    `json:"acls"`
	Brokers                *link    `json:"brokers"`
	BrokerConfigs          *link    `json:"broker_configs"`
	ConsumerGroups         *link    `json:"consumer_groups"`
	Topics                 *link    `json:"topics"`
	PartitionReassignments *link    `json:"partition_reassignments"`
}

func (n names) clusterBody(controller int32) clusterBody {
	body := clusterBody{
		Kind: "KafkaCluster", Metadata: metadata{n.url(""), n.crn("")}, ClusterID: n.cluster,
		ACLs: n.link("/acls"), Brokers: n.link("/brokers"), BrokerConfigs: n.link("/broker-configs"), ConsumerGroups: n.link("/consumer-groups"),
		Topics: n.link("/topics"), PartitionReassignments: n.link("/topics/-/partitions/-/reassignment"),
	}
	if controller >= 0 {
		body.Controller = n.link("/brokers/" + strconv.Itoa(int(controller)))
	}
	return body
}

type topicBody struct {
	Kind                   string   `json:"kind"`
	Metadata               metadata `json:"metadata"`
	ClusterID              string   `json:"cluster_id"`
	TopicName              string   `json:"topic_name"`
	IsInternal             bool     `json:"is_internal"`
	ReplicationFactor      int      `json:"replication_factor"`
	PartitionsCount        int      `json:"partitions_count"`
	Partitions             *link    `json:"partitions"`
	Configs                *link    `json:"configs"`
	PartitionReassignments *link    `json:"partition_reassignments"`
	AuthorizedOperations   []string `json:"authorized_operations"`
}

func (n names) topicBody(topic string, partitions, replicationFactor int) topicBody {
	path := "/topics/" + topic
	return topicBody{
		Kind: "KafkaTopic", Metadata: metadata{n.url(path), n.crn("/topic=" + topic)}, ClusterID: n.cluster, TopicName: topic,
		ReplicationFactor: replicationFactor, PartitionsCount: partitions, Partitions: n.link(path + "/partitions"), Configs: n.link(path + "/configs"),
		PartitionReassignments: n.link(path + "/partitions/-/reassignment"), AuthorizedOperations: []string{},
	}
}

func write(w http.ResponseWriter, r *rest.Request, status int, body any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return err
	}
	rest.WriteJSON(w, status, r.Answer, encoded)
	return nil
}
