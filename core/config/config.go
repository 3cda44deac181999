// Package config is every setting that an operator can make: what it is called, what it means, its unit, its default and
// its bounds, once. The documentation (docs/config.md), the JSON Schema and the error messages are made from the structs
// and comments of this file; nothing else lists settings.
//
// Load reads a file, lays the WEIR_… environment over it, resolves ${env:NAME} and ${file:PATH}, and validates. It reports
// every problem it finds, each with its place in the file, its path and its cure.
package config

import "time"

// Config is a whole configuration of one gateway.
type Config struct {
	// Listen is where clients reach the gateway.
	Listen Listen `yaml:"listen"`
	// Management is the listener for health and metrics. Keep it off public networks.
	Management Management `yaml:"management"`
	// Clusters are the Kafka clusters that are served, at least one. The first is the default, the one that the v2 API uses;
	// all are served under v3 by their own cluster id.
	Clusters []Cluster `yaml:"clusters"`
	// API chooses what is offered and how links are written.
	API API `yaml:"api"`
	// Produce bounds and times the way of a record to Kafka.
	Produce Produce `yaml:"produce"`
	// Consume bounds and times consumer instances and the reading of records.
	Consume Consume `yaml:"consume"`
	// Peers are the gateways that serve consumer instances together with this one.
	Peers Peers `yaml:"peers"`
	// Stream bounds a v3 record stream.
	Stream Stream `yaml:"stream"`
	// Limits are the bounds of one request and of all of them together.
	Limits Limits `yaml:"limits"`
	// JSON bounds what is accepted as JSON.
	JSON JSON `yaml:"json"`
	// Log shapes the log on standard error.
	Log Log `yaml:"log"`
	// Shutdown bounds the drain after SIGTERM.
	Shutdown Shutdown `yaml:"shutdown"`
}

// Listen is the client-facing listener. It speaks HTTP/1.1 and HTTP/2: h2 over TLS, h2c (prior knowledge) without.
type Listen struct {
	// Address is the host:port to listen on.
	Address string `yaml:"address" default:"127.0.0.1:8082"`
	// TLS turns HTTPS on when a certificate is given.
	TLS ServerTLS `yaml:"tls"`
	// HTTP2 offers HTTP/2 beside HTTP/1.1.
	HTTP2 bool `yaml:"http2" default:"true"`
	// HeaderTimeout is the longest that a request's header may take to arrive.
	HeaderTimeout time.Duration `yaml:"header_timeout" default:"10s" min:"100ms" max:"5m"`
	// IdleTimeout closes a kept-alive connection on which no request came for so long.
	IdleTimeout time.Duration `yaml:"idle_timeout" default:"2m" min:"1s" max:"1h"`
	// MaxConnections is how many connections may be open at once; a further one waits to be accepted.
	MaxConnections int `yaml:"max_connections" default:"10000" min:"1" max:"1000000"`
}

// ServerTLS is the server side of TLS. The certificate and its key are read again when they change.
type ServerTLS struct {
	// CertificateFile is the PEM file with the certificate chain.
	CertificateFile string `yaml:"certificate_file"`
	// KeyFile is the PEM file with the private key.
	KeyFile string `yaml:"key_file"`
	// ClientCAFile is a PEM file of authorities; when given, every client must show a certificate of one of them. It is read once.
	ClientCAFile string `yaml:"client_ca_file"`
}

// Management is the second listener. It answers /livez, /readyz and /metrics.
type Management struct {
	// Address is the host:port to listen on. Empty turns it off.
	Address string `yaml:"address" default:"127.0.0.1:8083"`
}

// Cluster is one Kafka cluster.
type Cluster struct {
	// Name is what logs, metrics and health call the cluster. Letters, digits, - and _; unique.
	Name string `yaml:"name"`
	// ID pins the cluster id under which v3 serves it. Empty: the id that the brokers report, which is then not known until
	// one answers. A pinned id that differs from the brokers' is refused when they answer.
	ID string `yaml:"id"`
	// BootstrapServers are the brokers to start from, each as host:port. The others are found through them.
	BootstrapServers []string `yaml:"bootstrap_servers"`
	// TLS is TLS towards the brokers.
	TLS ClientTLS `yaml:"tls"`
	// SASL is how the gateway proves itself to the brokers.
	SASL SASL `yaml:"sasl"`
	// ClientID is the client.id that brokers see in logs and quotas.
	ClientID string `yaml:"client_id" default:"weir"`
	// KafkaVersion is the newest protocol to use; brokers that are older are spoken to in theirs.
	KafkaVersion string `yaml:"kafka_version" default:"4.0.0"`
	// DialTimeout is the longest that one connection attempt may take.
	DialTimeout time.Duration `yaml:"dial_timeout" default:"5s" min:"100ms" max:"2m"`
	// RequestTimeout is the longest to wait for a broker's answer on a connection before that connection is given up.
	RequestTimeout time.Duration `yaml:"request_timeout" default:"15s" min:"500ms" max:"10m"`
	// MetadataRefresh is how often topics, partitions and leaders are read anew without a cause.
	MetadataRefresh time.Duration `yaml:"metadata_refresh" default:"5m" min:"1s" max:"24h"`
	// AdminTimeout is the longest that one metadata or admin call may take, retries included.
	AdminTimeout time.Duration `yaml:"admin_timeout" default:"10s" min:"500ms" max:"10m"`
}

// ClientTLS is the client side of TLS.
type ClientTLS struct {
	// Enabled turns TLS on.
	Enabled bool `yaml:"enabled" default:"false"`
	// CAFile is a PEM file of authorities to trust. Empty: the system's.
	CAFile string `yaml:"ca_file"`
	// CertificateFile is the client certificate for mutual TLS.
	CertificateFile string `yaml:"certificate_file"`
	// KeyFile is the client certificate's private key.
	KeyFile string `yaml:"key_file"`
	// ServerName is the name to expect in the brokers' certificates. Empty: the host that was dialled.
	ServerName string `yaml:"server_name"`
	// InsecureSkipVerify accepts any certificate. For trying out only.
	InsecureSkipVerify bool `yaml:"insecure_skip_verify" default:"false"`
}

// SASL is authentication towards the brokers.
type SASL struct {
	// Mechanism is the SASL mechanism. Empty: no authentication.
	Mechanism string `yaml:"mechanism" enum:",PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER"`
	// Username is the user for PLAIN and SCRAM.
	Username string `yaml:"username"`
	// Password is the password for PLAIN and SCRAM.
	Password Secret `yaml:"password"`
	// AllowPlaintext permits PLAIN, SCRAM and OAUTHBEARER on a connection without TLS.
	AllowPlaintext bool `yaml:"allow_plaintext" default:"false"`
	// OAuth is where OAUTHBEARER gets its tokens.
	OAuth OAuth `yaml:"oauth"`
}

// OAuth is a source of tokens. It uses the client-credentials grant of OAuth 2.0 (RFC 6749 §4.4).
type OAuth struct {
	// TokenURL is the token endpoint; https, unless it is on the loopback.
	TokenURL string `yaml:"token_url"`
	// ClientID is the client's id.
	ClientID string `yaml:"client_id"`
	// ClientSecret is the client's secret.
	ClientSecret Secret `yaml:"client_secret"`
	// Scopes are the scopes to ask for.
	Scopes []string `yaml:"scopes"`
	// Extensions are SASL extensions sent with the token (logicalCluster, identityPoolId and the like).
	Extensions map[string]string `yaml:"extensions"`
}

// API chooses what is offered.
type API struct {
	// V1 offers the dialect of the v1 API beside v2: its media types, and its way of reading a topic.
	V1 bool `yaml:"v1" default:"true"`
	// V2 offers the v2 API. Off: all its routes are gone.
	V2 bool `yaml:"v2" default:"true"`
	// V3 offers the v3 API, under /v3 and under /kafka/v3.
	V3 bool `yaml:"v3" default:"true"`
	// Allowlist is the operations that are served: names such as api.v3.topics.list, or a family, api.v3.topics.*. Empty:
	// all.
	Allowlist []string `yaml:"allowlist"`
	// Blocklist is operations that are not served. An operation in both lists is blocked.
	Blocklist []string `yaml:"blocklist"`
	// AdvertisedURLs are the base URLs that links are written with, at most one for each scheme. None: the request's own
	// scheme and Host.
	AdvertisedURLs []string `yaml:"advertised_urls"`
	// ResourceNameAuthority is the authority in resource names (crn://AUTHORITY/kafka=…).
	ResourceNameAuthority string `yaml:"resource_name_authority"`
}

// Produce bounds and times the way of a record to Kafka.
type Produce struct {
	// Timeout is a record's own deadline: with no answer of Kafka by then its outcome is unknown and is told so.
	Timeout time.Duration `yaml:"timeout" default:"30s" min:"100ms" max:"10m"`
	// StallTimeout: a partition whose oldest record has had no answer for so long takes no further records until it does;
	// they are refused at once, so that a broker that hangs cannot hold up requests for the others.
	StallTimeout time.Duration `yaml:"stall_timeout" default:"5s" min:"50ms" max:"10m"`
	// FlushInterval is how long a record waits for others to share its batch.
	FlushInterval time.Duration `yaml:"flush_interval" default:"1ms" min:"0s" max:"1s"`
	// Compression is how batches are compressed, on their way to Kafka and in its log.
	Compression string `yaml:"compression" default:"none" enum:"none,gzip,snappy,lz4,zstd"`
	// MaxRecordBytes is the largest record (key, value, headers and Kafka's overhead). At most the topics' max.message.bytes.
	MaxRecordBytes int `yaml:"max_record_bytes" default:"1000000" min:"1" max:"100000000"`
	// PartitionRecords is how many records of one partition may be on their way at once. Further ones wait. Each partition in use
	// takes memory for it: a record's place is 8 bytes.
	PartitionRecords int `yaml:"partition_records" default:"1024" min:"16" max:"65536"`
	// PartitionBytes is how many bytes of one partition may be on their way at once. Further ones wait. More than
	// max_record_bytes is not used: a larger backlog of one partition would hold up the others of its broker when it is sent again.
	// A single larger record goes alone.
	PartitionBytes int64 `yaml:"partition_bytes" default:"1000000" min:"65536" max:"4294967296"`
	// BufferBytes is how many bytes of records may be on their way in all. Beyond it records are refused as overload. Zero:
	// a quarter of the memory limit (GOMEMLIMIT), or 256 MiB without one.
	BufferBytes int64 `yaml:"buffer_bytes" default:"0" min:"0" max:"1099511627776"`
	// Retries is how often Kafka's retriable answers (a leader moves, too few replicas) are tried again.
	Retries int `yaml:"retries" default:"40" min:"0" max:"1000"`
	// RetryBackoff is the wait between two tries.
	RetryBackoff time.Duration `yaml:"retry_backoff" default:"250ms" min:"1ms" max:"1m"`
	// AutoCreateTopics lets a produce to an unknown topic create it, if the brokers allow that too.
	AutoCreateTopics bool `yaml:"auto_create_topics" default:"false"`
	// UnknownTopicTTL is how long a topic that the cluster did not have is answered so without asking again.
	UnknownTopicTTL time.Duration `yaml:"unknown_topic_ttl" default:"2s" min:"0s" max:"1h"`
	// BatchMaxEntries is the most entries of one records:batch.
	BatchMaxEntries int `yaml:"batch_max_entries" default:"10" min:"1" max:"1000"`
}

// Consume bounds and times consumer instances and the reading of records.
type Consume struct {
	// RequestTimeout is how long a read waits for records, unless the instance was made with a consumer.request.timeout.ms of its own.
	// The timeout parameter of a read can only shorten it.
	RequestTimeout time.Duration `yaml:"request_timeout" default:"1s" min:"1ms" max:"10m"`
	// MaxRequestTimeout is the longest consumer.request.timeout.ms that an instance may ask for, and the longest wait of a stateless read.
	MaxRequestTimeout time.Duration `yaml:"max_request_timeout" default:"5m" min:"1ms" max:"1h"`
	// RequestMaxBytes is the most bytes of keys and values that one read gives. A single larger record is given alone.
	RequestMaxBytes int `yaml:"request_max_bytes" default:"67108864" min:"1" max:"1073741824"`
	// FetchMinBytes is how many bytes a read gathers before it answers early. -1: it always waits its whole time, as the REST
	// Proxy does unless it is told otherwise.
	FetchMinBytes int `yaml:"fetch_min_bytes" default:"1" min:"-1" max:"10000000"`
	// FetchBytes is the most bytes that are asked of a broker at once. A single larger batch is read whole.
	FetchBytes int `yaml:"fetch_bytes" default:"1048576" min:"1024" max:"1073741824"`
	// FetchConnections is how many connections to each broker read records at once. Further reads take turns.
	FetchConnections int `yaml:"fetch_connections" default:"64" min:"1" max:"10000"`
	// BufferBytes is how many bytes of records may be held for reads at once. Reads beyond it wait, and are refused as overload when
	// their time is over. Zero: a quarter of the memory limit (GOMEMLIMIT), or 256 MiB without one.
	BufferBytes int64 `yaml:"buffer_bytes" default:"0" min:"0" max:"1099511627776"`
	// IsolationLevel is which records of transactions are read.
	IsolationLevel string `yaml:"isolation_level" default:"read_uncommitted" enum:"read_uncommitted,read_committed"`
	// AutoOffsetReset is where a partition begins for a group that has committed nothing there, unless the instance says otherwise.
	AutoOffsetReset string `yaml:"auto_offset_reset" default:"latest" enum:"latest,earliest,none"`
	// AutoCommitInterval is the least time between two commits of an instance that commits by itself.
	AutoCommitInterval time.Duration `yaml:"auto_commit_interval" default:"5s" min:"0s" max:"1h"`
	// Undecodable is what becomes of a record that is not in the instance's format, unless the read says otherwise: envelope gives
	// its bytes with the reason, skip leaves it out, error answers 408 until the client has moved past it.
	Undecodable string `yaml:"undecodable" default:"envelope" enum:"envelope,skip,error"`
	// InstanceTimeout is how long an instance lives without a call.
	InstanceTimeout time.Duration `yaml:"instance_timeout" default:"5m" min:"100ms" max:"24h"`
	// MaxInstances is how many instances the gateway holds. Beyond it: 429.
	MaxInstances int `yaml:"max_instances" default:"2000" min:"1" max:"100000"`
	// MaxInstancesPerGroup is how many of them one group may have. Beyond it: 429.
	MaxInstancesPerGroup int `yaml:"max_instances_per_group" default:"500" min:"1" max:"100000"`
	// MaxInstancesPerOwner is how many of them one caller may have. Beyond it: 429.
	MaxInstancesPerOwner int `yaml:"max_instances_per_owner" default:"1500" min:"1" max:"100000"`
	// MaxPartitions is how many topics an instance may subscribe to, or partitions it may be assigned, and how many partitions a request may
	// name. Beyond it: 422.
	MaxPartitions int `yaml:"max_partitions" default:"5000" min:"1" max:"1000000"`
	// HeartbeatInterval is how often a member of a group tells its coordinator that it is there. It is also how soon it learns of a
	// rebalance. At most a third of the session's timeout.
	HeartbeatInterval time.Duration `yaml:"heartbeat_interval" default:"500ms" min:"50ms" max:"1m"`
	// SessionTimeout is how long after its last heartbeat a member is given up by its coordinator. Brokers bound it
	// (group.min.session.timeout.ms, group.max.session.timeout.ms).
	SessionTimeout time.Duration `yaml:"session_timeout" default:"10s" min:"1s" max:"30m"`
	// RebalanceTimeout is how long the coordinator waits for a member in a rebalance.
	RebalanceTimeout time.Duration `yaml:"rebalance_timeout" default:"10s" min:"1s" max:"30m"`
	// PatternLength is the longest regular expression of a subscription, in bytes.
	PatternLength int `yaml:"pattern_length" default:"256" min:"1" max:"10000"`
	// PatternRefresh is how often subscriptions by pattern look for new topics.
	PatternRefresh time.Duration `yaml:"pattern_refresh" default:"5s" min:"100ms" max:"1h"`
}

// Peers are the gateways that serve consumer instances together: a call that reaches one of them is passed on to the one that holds
// the instance. All of them have the same nodes and secret.
type Peers struct {
	// NodeID is this gateway's id among the nodes: letters, digits, - and _. Empty: it is alone.
	NodeID string `yaml:"node_id"`
	// Address is the host:port of the internal listener, which only peers may reach.
	Address string `yaml:"address"`
	// TLS turns HTTPS on for the internal listener when a certificate is given.
	TLS ServerTLS `yaml:"tls"`
	// CAFile is a PEM file of authorities to trust when peers are reached by https. Empty: the system's.
	CAFile string `yaml:"ca_file"`
	// Secret signs what peers tell each other, and the node hints in instance names and base URIs. At least 32 bytes.
	Secret Secret `yaml:"secret"`
	// PreviousSecret is accepted too, so that the secret can be changed on one node after the other: first the new one here on all, then
	// both exchanged on all, then the old one removed.
	PreviousSecret Secret `yaml:"previous_secret"`
	// Nodes are all gateways, this one included: for each node id the URL at which its internal listener is reached, such as
	// http://10.0.0.7:8084.
	Nodes map[string]string `yaml:"nodes"`
}

// Stream bounds a v3 record stream.
type Stream struct {
	// Window is how many records may be without their receipt; then reading stops until receipts are read.
	Window int `yaml:"window" default:"1000" min:"1" max:"100000"`
	// WriteTimeout ends a stream whose client has not taken a receipt for so long.
	WriteTimeout time.Duration `yaml:"write_timeout" default:"30s" min:"100ms" max:"1h"`
	// IdleTimeout ends a stream on which no record came for so long.
	IdleTimeout time.Duration `yaml:"idle_timeout" default:"5m" min:"100ms" max:"24h"`
	// MaxDuration: each record that comes on an older stream is answered 408, and the stream ends GracePeriod later.
	MaxDuration time.Duration `yaml:"max_duration" default:"24h" min:"100ms" max:"8760h"`
	// GracePeriod is the time between the first such answer and the end.
	GracePeriod time.Duration `yaml:"grace_period" default:"500ms" min:"0s" max:"1m"`
	// MaxRecordBytes is the largest JSON text of one record in a stream. Beyond it the stream ends.
	MaxRecordBytes int `yaml:"max_record_bytes" default:"2097152" min:"16" max:"1073741824"`
	// ReceiptBufferBytes is how many bytes of receipts are held back for a client that sends a Content-Length, so that one that
	// writes everything before it reads is served too.
	ReceiptBufferBytes int `yaml:"receipt_buffer_bytes" default:"1048576" min:"4096" max:"1073741824"`
}

// Limits are the bounds of one request and of all of them together.
type Limits struct {
	// HeaderBytes is the most that a request's headers may take. Beyond it: 431.
	HeaderBytes int `yaml:"header_bytes" default:"16384" min:"1024" max:"1048576"`
	// HeaderCount is the most header fields. Beyond it: 431.
	HeaderCount int `yaml:"header_count" default:"100" min:"10" max:"10000"`
	// URIBytes is the longest request target. Beyond it: 414.
	URIBytes int `yaml:"uri_bytes" default:"8192" min:"64" max:"1048576"`
	// BodyBytes is the largest request body that is not a stream. Beyond it: 413.
	BodyBytes int64 `yaml:"body_bytes" default:"67108864" min:"1024" max:"4294967296"`
	// RecordsPerRequest is the most records of one v2 request. Beyond it: 413.
	RecordsPerRequest int `yaml:"records_per_request" default:"10000" min:"1" max:"1000000"`
	// KeyBytes is the largest record key.
	KeyBytes int `yaml:"key_bytes" default:"65536" min:"1" max:"100000000"`
	// RecordHeaders is the most headers of one record.
	RecordHeaders int `yaml:"record_headers" default:"100" min:"0" max:"100000"`
	// RequestTimeout is the longest that a request other than a stream may take until it is answered or its records are handed
	// over. Beyond it: 408 while its body is still coming, 503 after. Records that were handed over have produce.timeout, from then.
	RequestTimeout time.Duration `yaml:"request_timeout" default:"60s" min:"100ms" max:"1h"`
	// WriteTimeout is how long a client may take to accept an answer that is not a stream.
	WriteTimeout time.Duration `yaml:"write_timeout" default:"30s" min:"100ms" max:"1h"`
	// WriteRate is the least rate, in bytes a second, at which a client must take a long answer once WriteTimeout is over: whoever takes
	// less is cut off, since an answer's records are held until it is written.
	WriteRate int `yaml:"write_rate" default:"65536" min:"1" max:"1073741824"`
	// BodyTimeout is the longest gap between two pieces of a request body. Beyond it: 408.
	BodyTimeout time.Duration `yaml:"body_timeout" default:"30s" min:"100ms" max:"1h"`
	// InFlight is how many requests may be served at once. Beyond it: 503 with Retry-After.
	InFlight int `yaml:"in_flight" default:"4096" min:"1" max:"1000000"`
	// BufferedBytes is how many bytes of request bodies may be held at once. Beyond it: 503 with Retry-After. Zero: a
	// quarter of the memory limit (GOMEMLIMIT), or 256 MiB without one.
	BufferedBytes int64 `yaml:"buffered_bytes" default:"0" min:"0" max:"1099511627776"`
}

// JSON bounds what is accepted as JSON.
type JSON struct {
	// Depth is the deepest nesting.
	Depth int `yaml:"depth" default:"1000" min:"1" max:"10000"`
	// NumberLength is the longest number, in characters.
	NumberLength int `yaml:"number_length" default:"1000" min:"1" max:"1000000"`
	// DuplicateNames is what becomes of a name that is given twice inside a record's data: allow keeps the text as it is,
	// reject makes it a record error. Around the data duplicates are always refused.
	DuplicateNames string `yaml:"duplicate_names" default:"allow" enum:"allow,reject"`
}

// Log shapes the log.
type Log struct {
	// Level is the least severity that is written.
	Level string `yaml:"level" default:"info" enum:"debug,info,warn,error"`
	// Format is how a line is written: as a JSON object, or as text for people.
	Format string `yaml:"format" default:"json" enum:"json,text"`
	// Access writes one line for each request.
	Access bool `yaml:"access" default:"true"`
}

// Shutdown bounds the drain.
type Shutdown struct {
	// ReadinessDelay is how long the gateway goes on accepting after it has reported itself not ready, so that load balancers
	// notice.
	ReadinessDelay time.Duration `yaml:"readiness_delay" default:"0s" min:"0s" max:"5m"`
	// Timeout is the longest that requests and records that were accepted may take to finish.
	Timeout time.Duration `yaml:"timeout" default:"30s" min:"100ms" max:"1h"`
}
