// Package fault is the closed set of things that can go wrong in Weir, apart from how any API words them.
//
// An error is given its Code once, where it enters Weir (a decoder, a Kafka answer, a limit). Each API of package rest
// then has one table from Code to HTTP status, error_code and body. Message is public and goes to clients as it stands;
// Cause is private and goes to the log only.
package fault

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Code names a kind of failure. The zero value is Internal, so a forgotten code is never mistaken for a client's fault.
type Code uint8

// The codes, grouped as the wire groups them. rest's tables must cover every one of them (a test holds that).
const (
	Internal Code = iota // a defect of Weir: anything unexpected

	// Requests that are wrong in themselves.
	InvalidRequest       // a value that cannot be used: bad base64, wrong type, bad parameter
	MalformedJSON        // a body that is not JSON, or JSON of the wrong shape
	Unprocessable        // a field that is unknown, missing or out of its constraint
	InvalidPayload       // v3's "Payload error"; schema formats without a registry
	InvalidBatch         // a records:batch whose ids, size or shape are wrong
	MissingKeySchema     // keys without a key schema
	MissingValueSchema   // values without a value schema
	NotFound             // no such route or sub-resource
	MethodNotAllowed     // the path exists, the method does not
	NotAcceptable        // nothing the client accepts can be written
	UnsupportedMediaType // the body's type is not understood here
	RequestTimeout       // the body came too slowly
	StreamTooOld         // a stream that has been open longer than allowed

	// Limits of Weir's own.
	BodyTooLarge
	RecordTooLarge // also Kafka's own refusal of a large record
	URITooLong
	HeaderTooLarge
	RateLimited // a caller over its rate
	Overloaded  // Weir's own buffers or in-flight requests are full; nothing was tried
	Unavailable // not serving yet, or no longer

	// Who may do what.
	Unauthenticated
	PermissionDenied

	// Kafka's answers.
	ClusterNotFound    // an id that no configured cluster has
	TopicNotFound      // produce: the topic is not in the cluster's metadata
	UnknownTopic       // metadata and admin: the broker does not host this topic or partition
	PartitionNotFound  // the topic has no such partition
	KafkaRejected      // the broker refuses the request as it stands: bad config, topic exists, policy
	KafkaThrottled     // the broker's quota
	BrokerNotAvailable // no broker could be reached
	KafkaRetriable     // any other failure that Kafka calls retriable
	KafkaFailed        // any other failure of Kafka
	ProduceTimeout     // no answer within the record's deadline; the outcome is unknown

	// Consumer instances.
	InstanceNotFound      // no such instance: never made, deleted, expired, or another caller's
	InstanceExists        // its name is taken
	IllegalState          // what was asked does not fit how the instance subscribes, or what it holds now
	FormatMismatch        // a read in another format than the instance's
	Undecodable           // a record that is not in the format in which it is read
	InvalidConsumerConfig // a property of a new instance that Kafka's client would refuse
	ConsumerConfigRange   // a property of a new instance that is out of its range
	TooManyInstances      // a cap on instances is reached
	OffsetOutOfRange      // an offset that the partition's log does not have

	codes // how many there are
)

var names = [codes]string{
	Internal:       "internal",
	InvalidRequest: "invalid_request", MalformedJSON: "malformed_json", Unprocessable: "unprocessable",
	InvalidPayload: "invalid_payload", InvalidBatch: "invalid_batch", MissingKeySchema: "missing_key_schema",
	MissingValueSchema: "missing_value_schema", NotFound: "not_found", MethodNotAllowed: "method_not_allowed",
	NotAcceptable: "not_acceptable", UnsupportedMediaType: "unsupported_media_type", RequestTimeout: "request_timeout",
	StreamTooOld: "stream_too_old", BodyTooLarge: "body_too_large", RecordTooLarge: "record_too_large",
	URITooLong: "uri_too_long", HeaderTooLarge: "header_too_large", RateLimited: "rate_limited", Overloaded: "overloaded",
	Unavailable: "unavailable", Unauthenticated: "unauthenticated", PermissionDenied: "permission_denied",
	ClusterNotFound: "cluster_not_found", TopicNotFound: "topic_not_found", UnknownTopic: "unknown_topic",
	PartitionNotFound: "partition_not_found", KafkaRejected: "kafka_rejected", KafkaThrottled: "kafka_throttled",
	BrokerNotAvailable: "broker_not_available", KafkaRetriable: "kafka_retriable", KafkaFailed: "kafka_failed",
	ProduceTimeout:   "produce_timeout",
	InstanceNotFound: "instance_not_found", InstanceExists: "instance_exists", IllegalState: "illegal_state",
	FormatMismatch: "format_mismatch", Undecodable: "undecodable", InvalidConsumerConfig: "invalid_consumer_config",
	ConsumerConfigRange: "consumer_config_range", TooManyInstances: "too_many_instances", OffsetOutOfRange: "offset_out_of_range",
}

// String gives the code's name in logs and metrics.
func (c Code) String() string {
	if c < codes {
		return names[c]
	}
	return "internal"
}

// Codes lists every code, for tables that must cover them all.
func Codes() []Code {
	all := make([]Code, codes)
	for i := range all {
		all[i] = Code(i)
	}
	return all
}

// Retriable reports whether the same request may succeed later without being changed. It says nothing about duplicates:
// that is a record's Outcome.
func (c Code) Retriable() bool {
	switch c {
	case RequestTimeout, RateLimited, Overloaded, Unavailable, KafkaThrottled, BrokerNotAvailable, KafkaRetriable, ProduceTimeout, TooManyInstances:
		return true
	default:
		return false
	}
}

// Error is a failure with its code. Message is written for the client: what was wrong, where, and the cure.
type Error struct {
	Code       Code
	Message    string
	Cause      error         // for the log; never shown to a client
	RetryAfter time.Duration // zero: the API's default for the code
}

// New makes an error of a code with a public message.
func New(code Code, message string) *Error { return &Error{Code: code, Message: message} }

// Newf is New with a format.
func Newf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Wrap makes an error of a code with a public message and a private cause.
func Wrap(code Code, cause error, message string) *Error {
	return &Error{Code: code, Message: message, Cause: cause}
}

// Error gives the message with its cause, for the log.
func (e *Error) Error() string {
	if e.Cause != nil {
		return e.Message + ": " + e.Cause.Error()
	}
	return e.Message
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// From gives the fault inside err. An error that carries none is a context's end (Unavailable: the caller has gone or the
// deadline passed) or a defect (Internal). From(nil) is nil.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	var f *Error
	if errors.As(err, &f) {
		return f
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return Wrap(Unavailable, err, "The request's deadline passed before it could be answered. Try again later.")
	}
	return Wrap(Internal, err, "Internal Server Error")
}
