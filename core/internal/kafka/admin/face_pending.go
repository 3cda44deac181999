// Package admin is what Weir asks of a cluster and changes in it, apart from records. PENDING: names and signatures stay,
// bodies follow. Every error is a *fault.Error. Every call ends within the cluster's admin timeout.
package admin

import (
	"context"
	"errors"

	"github.com/weir-gateway/weir/core/internal/kafka"
)

var errPending = errors.New("admin: not built yet")

type Admin struct{}

func New(client *kafka.Client) *Admin { return &Admin{} }

type Broker struct {
	ID   int32
	Host string
	Port int32
	Rack *string
}

type Cluster struct {
	ID         string
	Controller int32    // -1: none known
	Brokers    []Broker // sorted by id
}

type Topic struct {
	Name       string
	Internal   bool
	Partitions []Partition // sorted by id
	Operations []string    // operations the gateway's principal may do on it, Kafka's names (READ, WRITE …), sorted; nil: not asked
}

type Partition struct {
	ID       int32
	Leader   int32     // -1: none
	Replicas []Replica // in the order of the assignment
}

type Replica struct {
	Broker int32
	Leader bool
	InSync bool
}

type ConfigEntry struct {
	Name      string
	Value     *string // nil: sensitive, or null
	Source    string  // DYNAMIC_TOPIC_CONFIG, DEFAULT_CONFIG, …
	Default   bool
	ReadOnly  bool
	Sensitive bool
	Synonyms  []ConfigSynonym
}

type ConfigSynonym struct {
	Name   string
	Value  *string
	Source string
}

type TopicOptions struct {
	Internal   bool // list internal topics too
	Operations bool // fill Operations
}

type NewTopicConfig struct {
	Name  string
	Value *string
}

type NewTopic struct {
	Name                string
	Partitions          *int32
	ReplicationFactor   *int16
	ReplicasAssignments map[int32][]int32
	Configs             []NewTopicConfig
	ValidateOnly        bool
}

type CreatedTopic struct {
	Partitions        int32 // 0: not told
	ReplicationFactor int16 // 0: not told
}

func (a *Admin) Cluster(ctx context.Context) (Cluster, error)  { return Cluster{}, errPending }
func (a *Admin) Brokers(ctx context.Context) ([]Broker, error) { return nil, errPending }
func (a *Admin) Topics(ctx context.Context, options TopicOptions) ([]Topic, error) {
	return nil, errPending
}
func (a *Admin) Topic(ctx context.Context, name string, options TopicOptions) (Topic, error) {
	return Topic{}, errPending
}
func (a *Admin) Partition(ctx context.Context, topic string, partition int32) (Partition, error) {
	return Partition{}, errPending
}
func (a *Admin) TopicConfigs(ctx context.Context, name string) ([]ConfigEntry, error) {
	return nil, errPending
}
func (a *Admin) Offsets(ctx context.Context, topic string, partition int32) (beginning, end int64, err error) {
	return 0, 0, errPending
}
func (a *Admin) CreateTopic(ctx context.Context, topic NewTopic) (CreatedTopic, error) {
	return CreatedTopic{}, errPending
}
func (a *Admin) DeleteTopic(ctx context.Context, name string) error { return errPending }
