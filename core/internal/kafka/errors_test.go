package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/internal/fault"
)

// TestEveryCodeIsKnown fails when sarama learns an error code that the table lacks.
func TestEveryCodeIsKnown(t *testing.T) {
	t.Parallel()
	for code := int16(-10); code < 1000; code++ {
		if code == 0 || strings.HasPrefix(sarama.KError(code).Error(), "Unknown error") {
			continue
		}
		if _, ok := answers[code]; !ok {
			t.Errorf("sarama knows error code %d (%v) and the table does not", code, sarama.KError(code))
		}
	}
	if len(answers) < 134 {
		t.Errorf("the table has %d codes, Kafka 4.3 has 134", len(answers))
	}
	names := map[string]int16{}
	for code, a := range answers {
		if a.name == "" || a.text == "" || a.code == fault.Internal {
			t.Errorf("code %d is incomplete: %+v", code, a)
		}
		if a.name != strings.ToUpper(a.name) {
			t.Errorf("code %d: name %q", code, a.name)
		}
		if other, twice := names[a.name]; twice {
			t.Errorf("codes %d and %d are both %s", code, other, a.name)
		}
		names[a.name] = code
		// What Kafka calls retriable must be so in Weir's classes too, except where a class has a status of its own.
		if a.retriable != a.code.Retriable() && a.code != fault.UnknownTopic && a.code != fault.BrokerNotAvailable {
			t.Errorf("%s: retriable is %v in Kafka and %v as %s", a.name, a.retriable, a.code.Retriable(), a.code)
		}
	}
}

func TestFault(t *testing.T) {
	t.Parallel()
	text := "Topic 'a' already exists."
	inner := fault.New(fault.RateLimited, "slow down")
	for _, c := range []struct {
		name    string
		err     error
		code    fault.Code
		message string
	}{
		{"code", sarama.ErrUnknownTopicOrPartition, fault.UnknownTopic, "This server does not host this topic-partition."},
		{"wrapped code", fmt.Errorf("a: %w", sarama.ErrTopicAuthorizationFailed), fault.PermissionDenied, "Topic authorization failed."},
		{"joined code", errors.Join(errors.New("x"), sarama.ErrNotEnoughReplicas), fault.KafkaRetriable, "Messages are rejected since there are fewer in-sync replicas than required."},
		{"the broker's words win", &sarama.TopicError{Err: sarama.ErrTopicAlreadyExists, ErrMsg: &text}, fault.KafkaRejected, text},
		{"without words", &sarama.TopicError{Err: sarama.ErrPolicyViolation}, fault.KafkaRejected, "Request parameters do not satisfy the configured policy."},
		{"partitions", &sarama.TopicPartitionError{Err: sarama.ErrInvalidPartitions, ErrMsg: &text}, fault.KafkaRejected, text},
		{"sasl", fmt.Errorf("kafka: %w: Authentication failed: Invalid username or password", sarama.ErrSASLAuthenticationFailed), fault.Unauthenticated, "Authentication failed: Invalid username or password"},
		{"sasl as sarama wraps it", sarama.Wrap(sarama.ErrSASLAuthenticationFailed, errors.New("Authentication failed: Invalid username or password")), fault.Unauthenticated, "Authentication failed: Invalid username or password"},
		{"code that sarama lacks", sarama.KError(100), fault.UnknownTopic, "This server does not host this topic ID."},
		{"code that nobody knows", sarama.KError(999), fault.KafkaFailed, "Kafka answered with error code 999, which this version of Weir does not know."},
		{"too large", sarama.ConfigurationError("Attempt to produce message larger than configured Producer.MaxMessageBytes: 2 > 1"), fault.RecordTooLarge, ""},
		{"no broker", sarama.ErrOutOfBrokers, fault.BrokerNotAvailable, "The broker is not available."},
		{"end of file", fmt.Errorf("read: %w", io.EOF), fault.BrokerNotAvailable, ""},
		{"refused", &DialError{Address: "h:1", Stage: StageConnect, Err: syscall.ECONNREFUSED}, fault.BrokerNotAvailable, ""},
		{"closing", sarama.ErrShuttingDown, fault.Unavailable, ""},
		{"garbled", sarama.PacketDecodingError{Info: "x"}, fault.KafkaFailed, ""},
		{"cancelled", context.Canceled, fault.Unavailable, ""},
		{"a fault stays", fmt.Errorf("x: %w", inner), fault.RateLimited, "slow down"},
		{"a defect", errors.New("x"), fault.Internal, "Internal Server Error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := Fault(c.err)
			if got.Code != c.code || c.message != "" && got.Message != c.message {
				t.Errorf("Fault(%v) = %s %q, want %s %q", c.err, got.Code, got.Message, c.code, c.message)
			}
			if strings.Contains(got.Message, "h:1") {
				t.Error("an address of a broker is in the public message")
			}
		})
	}
	if Fault(nil) != nil || CodeFault(0, "x", nil) != nil {
		t.Error("no error gives a fault")
	}
}

func TestErrorName(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"NOT_LEADER_OR_FOLLOWER": fmt.Errorf("x: %w", sarama.ErrNotLeaderForPartition),
		"UNKNOWN_CODE":           sarama.KError(999),
		"CONNECTION":             io.EOF,
		"TIMEOUT":                context.DeadlineExceeded,
		"CLIENT":                 errors.New("x"),
	} {
		if got := ErrorName(err); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}
