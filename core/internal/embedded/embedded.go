// Package embedded is a Kafka broker inside this process: what `weir dev` runs on, and what tests and the conformance suite
// use as a cluster whose every fault can be asked for.
//
// It is franz-go's kfake behind a face of our own, and the only package that imports it. It speaks the real protocol on
// real sockets, keeps records in memory or in a directory, and has neither replication nor quotas: it is for trying out
// and for tests, never for records that matter. Beside kfake's own faults it can freeze, cut and close a broker's sockets,
// which is how brokers fail in practice.
//
// Where kfake is known to differ from Apache Kafka, tests must not lean on it: it accepts illegal topic names and unknown
// topic configurations, gives few broker messages, and closes the connection on a wrong SASL password.
package embedded

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Topic is a topic that exists from the start.
type Topic struct {
	Name       string
	Partitions int32             // 0: one
	Configs    map[string]string // cleanup.policy and the like; nil: the defaults
}

// User is a SASL user. Every user is a superuser.
type User struct {
	Mechanism string // PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512
	Name      string
	Password  string
}

// Options shape the cluster. The zero value is one broker without topics on free ports of the loopback.
type Options struct {
	Brokers           int          // how many brokers, ids 0 to n-1; 0: one
	Ports             []int        // their ports; nil: free ones
	ClusterID         string       // empty: DefaultClusterID
	Topics            []Topic      // made at the start, unless DataDir has them already
	DefaultPartitions int          // for topics created without a count; 0: one
	AutoCreateTopics  bool         // a metadata request that allows it creates topics
	DataDir           string       // keeps everything in this directory; empty: in memory, and memory only grows
	DiscardRecords    bool         // count records but do not keep them: for benchmarks
	TLS               *tls.Config  // the listeners speak TLS
	Users             []User       // not empty: the listeners want SASL
	Logger            *slog.Logger // kfake's own warnings; nil: none
}

// DefaultClusterID is the id of a cluster that was not given one. It has the length and alphabet of real ones.
const DefaultClusterID = "WeirEmbeddedCluster-00"

// Broker is a running cluster. It is safe for concurrent use.
type Broker struct {
	cluster   *kfake.Cluster
	listeners *listeners
	options   Options
}

// Start starts the cluster. Its addresses accept connections when Start returns.
func Start(options Options) (*Broker, error) {
	if options.Brokers == 0 {
		options.Brokers = max(1, len(options.Ports))
	}
	if options.ClusterID == "" {
		options.ClusterID = DefaultClusterID
	}
	if options.DefaultPartitions == 0 {
		options.DefaultPartitions = 1
	}
	b := &Broker{options: options, listeners: &listeners{}}
	cluster, err := kfake.NewCluster(b.kfakeOptions()...)
	if err != nil {
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	b.cluster = cluster
	for _, topic := range options.Topics {
		if cluster.TopicInfo(topic.Name) != nil {
			continue // loaded from DataDir
		}
		if err := b.CreateTopic(topic); err != nil {
			cluster.Close()
			return nil, err
		}
	}
	return b, nil
}

func (b *Broker) kfakeOptions() []kfake.Opt {
	o := b.options
	opts := []kfake.Opt{
		kfake.NumBrokers(o.Brokers), kfake.DefaultNumPartitions(o.DefaultPartitions), kfake.ListenFn(b.listeners.listen),
		kfake.ClusterID(o.ClusterID),
	}
	if len(o.Ports) > 0 {
		opts = append(opts, kfake.Ports(o.Ports...))
	}
	if o.AutoCreateTopics {
		opts = append(opts, kfake.AllowAutoTopicCreation())
	}
	if o.DataDir != "" {
		opts = append(opts, kfake.DataDir(o.DataDir))
	}
	if o.DiscardRecords {
		opts = append(opts, kfake.BlackholeProduce())
	}
	if o.TLS != nil {
		opts = append(opts, kfake.TLS(o.TLS))
	}
	if len(o.Users) > 0 {
		opts = append(opts, kfake.EnableSASL())
		for _, u := range o.Users {
			opts = append(opts, kfake.Superuser(u.Mechanism, u.Name, u.Password))
		}
	}
	if o.Logger != nil {
		opts = append(opts, kfake.WithLogger(logger{o.Logger}))
	}
	return opts
}

// CreateTopic creates a topic behind the protocol's back: no fault and no access rule applies.
func (b *Broker) CreateTopic(topic Topic) error {
	partitions := topic.Partitions
	if partitions == 0 {
		partitions = 1
	}
	if err := b.cluster.CreateTopic(topic.Name, partitions, topic.Configs); err != nil {
		return fmt.Errorf("embedded broker: create topic %q with %d partitions: %w", topic.Name, partitions, err)
	}
	return nil
}

// DeleteTopic deletes a topic behind the protocol's back.
func (b *Broker) DeleteTopic(name string) error {
	if err := b.cluster.DeleteTopic(name); err != nil {
		return fmt.Errorf("embedded broker: delete topic %q: %w", name, err)
	}
	return nil
}

// Addresses are the host:port of every broker, in the order of their ids.
func (b *Broker) Addresses() []string { return b.cluster.ListenAddrs() }

// ClusterID is the id that the brokers report.
func (b *Broker) ClusterID() string { return b.options.ClusterID }

// NumBrokers is how many brokers were started.
func (b *Broker) NumBrokers() int { return b.options.Brokers }

// Leader is the id of the broker that leads a partition, or -1.
func (b *Broker) Leader(topic string, partition int32) int32 {
	return b.cluster.LeaderFor(topic, partition)
}

// MoveLeader makes a broker the leader of a partition.
func (b *Broker) MoveLeader(topic string, partition, node int32) error {
	return b.cluster.MoveTopicPartition(topic, partition, node)
}

// Close stops the brokers and closes their connections.
func (b *Broker) Close() {
	b.listeners.resumeAll()
	b.cluster.Close()
}

var errNoSuchNode = errors.New("embedded broker: no such node")

// logger gives kfake's messages to slog. kfake logs each request at info, so info is debug here.
type logger struct{ to *slog.Logger }

func (l logger) Logf(level kfake.LogLevel, format string, args ...any) {
	text := strings.TrimSpace(fmt.Sprintf(format, args...))
	switch level {
	case kfake.LogLevelError:
		l.to.Error(text)
	case kfake.LogLevelWarn:
		l.to.Warn(text)
	default:
		l.to.Debug(text)
	}
}
