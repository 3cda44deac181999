package conformance

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// A Feature is something that a target has or has not, and that a case can need.
type Feature string

// The closed set of features. The loader refuses a case that names another.
const (
	// V2 and V3 are the two APIs, V1 the older dialect of V2.
	V1 Feature = "v1"
	V2 Feature = "v2"
	V3 Feature = "v3"
	// H1 and H2 are HTTP/1.1 and HTTP/2 (prior knowledge on http URLs, ALPN on https). Cases are run over each of them.
	H1 Feature = "h1"
	H2 Feature = "h2"
	// Duplex is that a v3 record stream is answered while it is being sent.
	Duplex Feature = "duplex"
	// TopicAdmin is that the caller may create and delete topics through v3.
	TopicAdmin Feature = "topic-admin"
	// Raw is that the suite's own sockets reach the server itself, so that malformed HTTP is the server's to answer.
	Raw Feature = "raw"
	// Limits is that the bounds of Target.Limits are enforced.
	Limits Feature = "limits"
	// Weir is what Weir adds to the API: request ids, Prefer, Weir-Record-Errors, OPTIONS, /openapi.yaml, and the answers
	// in which it declares itself different.
	Weir Feature = "weir"
	// Faults is that the Env can inject faults.
	Faults Feature = "faults"
	// Topics, ReadBack and Kafka are worked out by Run: topics can be made, their records read, and records be produced and
	// deleted and committed offsets read behind the target's back.
	Topics   Feature = "topics"
	ReadBack Feature = "read-back"
	Kafka    Feature = "kafka"
)

var features = []Feature{V1, V2, V3, H1, H2, Duplex, TopicAdmin, Raw, Limits, Weir, Faults, Topics, ReadBack, Kafka}

// ErrNotSupported is what an Env returns for a fault that it cannot inject. The case is then reported as not supported.
var ErrNotSupported = errors.New("conformance: not supported by this environment")

// Target is a server to hold against the suite.
type Target struct {
	// Name says in reports what was tested.
	Name string
	// BaseURL is where the API begins: scheme, authority and, behind a gateway, a path.
	BaseURL string
	// Client makes HTTP/1.1 requests. Nil: one of the suite's own. It must not follow redirects.
	Client *http.Client
	// Client2 makes HTTP/2 requests. Nil: one of the suite's own.
	Client2 *http.Client
	// Header is sent with every request, beneath what a case sends: credentials for a gateway, say.
	Header http.Header
	// Features are what the target has. Probe finds them out for a server that is not known.
	Features []Feature
	// ClusterID is the Kafka cluster's id. Empty: the first that GET /v3/clusters lists.
	ClusterID string
	// Profile is the configuration that the target runs with, "" for the default one. A case belongs to one profile and runs
	// under that only. Profiles lists them.
	Profile string
	// Traits name the broker and product behind the target ("kfake", "apache", "confluent") whose declared differences apply.
	Traits []string
	// Limits are the target's bounds by their name in Weir's configuration ("key_bytes"); DefaultLimits where not given.
	Limits map[string]int64
	// Known are the failures that the target is known to have.
	Known []KnownFailure
}

// DefaultLimits are Weir's own, by the last part of their name in its configuration.
func DefaultLimits() map[string]int64 {
	return map[string]int64{
		"header_bytes": 16384, "header_count": 100, "uri_bytes": 8192, "body_bytes": 67108864, "records_per_request": 10000,
		"key_bytes": 65536, "record_headers": 100, "max_record_bytes": 1000000, "stream_record_bytes": 2097152,
		"batch_max_entries": 10, "depth": 1000, "number_length": 1000, "pattern_length": 256,
	}
}

// Env is the suite's way to the Kafka behind a target. Its methods are called by several goroutines at once.
type Env interface {
	// MakeTopic creates a topic with one replica and returns when it can be produced to.
	MakeTopic(ctx context.Context, name string, partitions int, configs map[string]string) error
	// Records reads everything that a topic holds, ordered by partition and offset.
	Records(ctx context.Context, topic string) ([]Record, error)
	// Produce writes records to the partitions that they name, in their order. Offsets are Kafka's to give.
	Produce(ctx context.Context, topic string, records []Record, options ProduceOptions) error
	// DeleteRecords makes a partition begin at an offset.
	DeleteRecords(ctx context.Context, topic string, partition int32, before int64) error
	// Committed gives what a group has committed, ordered by topic and partition. A group that does not exist has committed nothing.
	Committed(ctx context.Context, group string) ([]Committed, error)
	// Inject makes Kafka misbehave until undo is called. An Env that cannot returns ErrNotSupported. Cases that inject faults
	// run one at a time, after all others.
	Inject(ctx context.Context, fault Fault) (undo func(), err error)
}

// A TopicDeleter is an Env that can remove the topics it made. Run then does so at its end.
type TopicDeleter interface {
	DeleteTopic(ctx context.Context, name string) error
}

// Record is one record as Kafka holds it. A nil Key, Value or header Value is Kafka's null.
type Record struct {
	Partition int32
	Offset    int64
	Key       []byte
	Value     []byte
	Headers   []RecordHeader
	Timestamp time.Time
}

// RecordHeader is one header of a record.
type RecordHeader struct {
	Name  string
	Value []byte
}

// ProduceOptions are how records come into a partition.
type ProduceOptions struct {
	// Transaction is "commit" or "abort" for the records of a transaction that ends so. Empty: there is none.
	Transaction string
	// Compression is the codec of their batches: none, gzip, snappy, lz4 or zstd. Empty: none.
	Compression string
}

// Committed is an offset that a group has committed: the next one to read.
type Committed struct {
	Topic     string
	Partition int32
	Offset    int64
	Metadata  string
}

// Fault is a way in which Kafka misbehaves.
type Fault struct {
	// API is the request that is hit, by its name in Kafka's protocol: Produce, Metadata, CreateTopics, DescribeCluster …
	// Empty with Down.
	API string `json:"api,omitempty"`
	// Error is the error code to answer with, by its name in Kafka's protocol: TOPIC_AUTHORIZATION_FAILED … Empty with Hang.
	Error string `json:"error,omitempty"`
	// Topic confines the fault to requests about one topic. Empty: all.
	Topic string `json:"topic,omitempty"`
	// Partition confines it further. Nil: all partitions.
	Partition *int32 `json:"partition,omitempty"`
	// Times is how many requests are hit. Zero: all until undo.
	Times int `json:"times,omitempty"`
	// Hang leaves requests without an answer.
	Hang bool `json:"hang,omitempty"`
	// Down makes every broker unreachable: connections are cut and new ones refused.
	Down bool `json:"down,omitempty"`
}
