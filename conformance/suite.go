package conformance

import (
	"encoding/json"
	"time"
)

// A Case is one thing to hold a target against, after every variant of the file's `each` has become a case of its own. The
// parts that may refer to values of a run are kept as JSON text until then.
type Case struct {
	// ID is suite/name, a /variant for each axis of `each`, and @h2 when it runs over HTTP/2. Unique.
	ID string
	// Suite is the file's suite.
	Suite string
	// File and Line are where the case is written.
	File string
	Line int
	// Doc is what the case holds, if its name does not say it.
	Doc string
	// Needs are the features without which the case is not supported, those of its steps included.
	Needs []Feature
	// Profile is the configuration that the target must run with; "" is the default one.
	Profile string
	// Deviates is the reason for which Weir answers otherwise than the Confluent REST Proxy, if it does.
	Deviates string

	http2      bool
	timeout    time.Duration
	topics     map[string]*topicSpec
	faults     json.RawMessage
	stepFaults bool              // a step injects faults
	steps      []json.RawMessage // those of before first
	after      []json.RawMessage // requests to tidy up with
	kafkaHas   json.RawMessage
	skipOn     map[string]string // trait → reason
}

// hasFaults reports whether the case must have Kafka to itself.
func (c *Case) hasFaults() bool { return len(c.faults) > 0 || c.stepFaults }

// topicSpec is a topic that a case asks for. A nil one is a name only: the topic does not exist.
type topicSpec struct {
	Partitions int               `json:"partitions"`
	Configs    map[string]string `json:"configs"`
}

// UnmarshalJSON accepts the number of partitions alone.
func (s *topicSpec) UnmarshalJSON(text []byte) error {
	if err := json.Unmarshal(text, &s.Partitions); err == nil {
		return nil
	}
	type plain topicSpec
	s.Partitions = 1
	return decodeStrict(text, (*plain)(s))
}

// suiteText is a file's outer shape.
type suiteText struct {
	Suite   string                     `json:"suite"`
	Doc     string                     `json:"doc"`
	Needs   []Feature                  `json:"needs"`
	HTTP    []Feature                  `json:"http"`
	Profile string                     `json:"profile"`
	Timeout duration                   `json:"timeout"`
	Topics  map[string]json.RawMessage `json:"topics"`
	Each    json.RawMessage            `json:"each"`
	Let     json.RawMessage            `json:"let"`
	Before  []json.RawMessage          `json:"before"` // of every case that has none itself
	After   []json.RawMessage          `json:"after"`
	Cases   []json.RawMessage          `json:"cases"`
}

// caseText is one case of a file, its variant's values already in place. A case of one step writes the step's fields itself.
type caseText struct {
	Name     string                     `json:"name"`
	Doc      string                     `json:"doc"`
	Each     json.RawMessage            `json:"each"`
	Needs    []Feature                  `json:"needs"`
	HTTP     []Feature                  `json:"http"`
	Profile  string                     `json:"profile"`
	Deviates string                     `json:"deviates"`
	Timeout  duration                   `json:"timeout"`
	Topics   map[string]json.RawMessage `json:"topics"`
	Faults   json.RawMessage            `json:"faults"`
	Before   []json.RawMessage          `json:"before"`
	After    []json.RawMessage          `json:"after"`
	Steps    []json.RawMessage          `json:"steps"`
	KafkaHas json.RawMessage            `json:"kafka_has"`
	stepFields
}

// stepFields are a step's fields, kept as text.
type stepFields struct {
	Send      json.RawMessage            `json:"send,omitempty"`
	Want      json.RawMessage            `json:"want,omitempty"`
	Also      json.RawMessage            `json:"also,omitempty"`
	On        map[string]json.RawMessage `json:"on,omitempty"`
	Capture   json.RawMessage            `json:"capture,omitempty"`
	Within    json.RawMessage            `json:"within,omitempty"`
	Gather    json.RawMessage            `json:"gather,omitempty"`
	Kafka     json.RawMessage            `json:"kafka,omitempty"`
	Pause     json.RawMessage            `json:"pause,omitempty"`
	Stream    json.RawMessage            `json:"stream,omitempty"`
	Script    json.RawMessage            `json:"script,omitempty"`
	Raw       json.RawMessage            `json:"raw,omitempty"`
	Responses json.RawMessage            `json:"responses,omitempty"`
	Closed    json.RawMessage            `json:"closed,omitempty"`
}

// step is one exchange: a request with its expectation, a stream with its script, or raw bytes with the responses to them. Or it
// is something done beside the target: to its Kafka, or nothing for a while.
type step struct {
	Send    *request          `json:"send"`
	Want    *expectation      `json:"want"`
	Also    []alternative     `json:"also"`
	Capture map[string]string `json:"capture"`
	Within  duration          `json:"within"`
	Gather  *gathering        `json:"gather"`

	Kafka  *kafkaStep `json:"kafka"`
	Faults *[]Fault   `json:"faults"` // in place of those that were injected before
	Pause  duration   `json:"pause"`  // wait; only where time itself is what the case is about

	Stream *request     `json:"stream"`
	Script []scriptItem `json:"script"`

	Raw       *rawRequest           `json:"raw"`
	Responses []expectation         `json:"responses"`
	Closed    bool                  `json:"closed"`
	On        map[string]difference `json:"on"`
}

// request is what to send.
type request struct {
	Method  string                     `json:"method"`
	Path    octets                     `json:"path"`
	Type    string                     `json:"type"`    // Content-Type: a media type, or a short name of mediaTypes
	Accept  string                     `json:"accept"`  // Accept, likewise
	Headers map[string]json.RawMessage `json:"headers"` // a string, or a list of strings for repeated fields
	JSON    json.RawMessage            `json:"json"`    // the body, written compactly
	Body    *octets                    `json:"body"`    // the body, byte for byte
	Chunked bool                       `json:"chunked"` // send the body without a Content-Length
}

// rawRequest is bytes for a socket.
type rawRequest struct {
	Write  octets `json:"write"`
	Method string `json:"method"` // the method of the request, where it decides how the response is framed (HEAD)
}

// expectation is what must come back. What is not given is not looked at.
type expectation struct {
	Status   int               `json:"status"`
	Type     string            `json:"type"`    // media type without parameters, short name, or <absent>
	Headers  map[string]string `json:"headers"` // matchers
	Trailers map[string]string `json:"trailers"`
	JSON     json.RawMessage   `json:"json"`     // the body is one JSON value
	Receipts json.RawMessage   `json:"receipts"` // the body is JSON values one after another; matched as an array
	Body     *octets           `json:"body"`     // byte for byte; "" is an empty body
	Matches  string            `json:"body_matches"`
	Took     *span             `json:"took"` // from sending the request to the end of the answer
}

// span is a duration within bounds; zero is none.
type span struct {
	Least duration `json:"least"`
	Most  duration `json:"most"`
}

// alternative is another answer that is right too, with the reason for which the API leaves room.
type alternative struct {
	Reason    string        `json:"reason"`
	Want      *expectation  `json:"want"`
	Responses []expectation `json:"responses"`
	Closed    bool          `json:"closed"`
}

// difference is what a broker or product is known to do otherwise: another expectation, or a case that cannot be held there.
type difference struct {
	Reason    string        `json:"reason"`
	Skip      bool          `json:"skip"`
	Want      *expectation  `json:"want"`
	Responses []expectation `json:"responses"`
}

// scriptItem is one act of a stream's script; exactly one field is given.
type scriptItem struct {
	Write   *octets         `json:"write"`   // send these bytes of the body now
	Head    *expectation    `json:"head"`    // wait for the response's head and hold it against this
	Receipt json.RawMessage `json:"receipt"` // wait for the next JSON value of the response and hold it against this
	// Received waits until so many bytes of the response's body have come. They are still there for the next receipt.
	Received int `json:"received"`
	// Meanwhile is another exchange, made while the stream is open.
	Meanwhile *step        `json:"meanwhile"`
	Pause     duration     `json:"pause"` // wait; only where time itself is what the case is about
	Close     bool         `json:"close"` // end the request's body
	Abort     bool         `json:"abort"` // cut the connection
	End       *expectation `json:"end"`   // the response ends here, cleanly; headers and trailers may be held against this
}

// wantedRecords is what a topic must hold after the steps.
type wantedRecords struct {
	Topic    string         `json:"topic"`
	Records  []wantedRecord `json:"records"`
	AnyOrder bool           `json:"any_order"`
	Within   duration       `json:"within"` // how long it may take until it does
}

// wantedRecord is one record of it. What is not given is not looked at; null is Kafka's null.
type wantedRecord struct {
	Partition *int32          `json:"partition"`
	Offset    *int64          `json:"offset"`
	Key       json.RawMessage `json:"key"`
	Value     json.RawMessage `json:"value"`
	Headers   []wantedHeader  `json:"headers"`
	Timestamp *string         `json:"timestamp"` // RFC 3339
}

// wantedHeader is a record header, written [name, value].
type wantedHeader struct {
	name  string
	value []byte
}

// UnmarshalJSON reads [name, OCTETS or null].
func (h *wantedHeader) UnmarshalJSON(text []byte) error {
	var value octets
	pair := []any{&h.name, &value}
	if err := json.Unmarshal(text, &pair); err != nil {
		return err
	}
	h.value = value
	return nil
}

// duration is written as time.ParseDuration reads it.
type duration time.Duration

// UnmarshalJSON reads a duration's text.
func (d *duration) UnmarshalJSON(text []byte) error {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	parsed, err := time.ParseDuration(s)
	*d = duration(parsed)
	return err
}

// mediaTypes are the short names of media types.
func mediaType(name string) string {
	switch name {
	case "v2":
		return "application/vnd.kafka.v2+json"
	case "binary", "json", "avro", "jsonschema", "protobuf":
		return "application/vnd.kafka." + name + ".v2+json"
	case "v3":
		return "application/json"
	case "problem":
		return "application/problem+json"
	default:
		return name
	}
}
