package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/IBM/sarama"
	"github.com/eapache/go-resiliency/breaker"

	"github.com/weir-gateway/weir/core/internal/fault"
)

// Observer is told about the errors that Kafka, or the way to it, gives. All methods may be called from any goroutine and
// must not block.
type Observer interface {
	// KafkaError is called once for each error. operation is produce, metadata or admin; name is Kafka's name of the error
	// (NOT_LEADER_OR_FOLLOWER) or, for what is no answer of Kafka, CONNECTION, TIMEOUT, CLIENT or UNKNOWN_CODE.
	KafkaError(operation, name string)
}

// Fault gives an error of a broker or of sarama its place in Weir's closed set, once. Errors that are faults already stay as
// they are. Where the broker sent a message of its own, that is the public text; otherwise it is what Java clients say.
func Fault(err error) *fault.Error {
	if err == nil {
		return nil
	}
	var f *fault.Error
	if errors.As(err, &f) {
		return f
	}
	var topic *sarama.TopicError
	if errors.As(err, &topic) {
		return CodeFault(int16(topic.Err), deref(topic.ErrMsg), err)
	}
	var partition *sarama.TopicPartitionError
	if errors.As(err, &partition) {
		return CodeFault(int16(partition.Err), deref(partition.ErrMsg), err)
	}
	if code, ok := codeOf(err); ok {
		// A SASL failure carries the broker's own words around the code; they name the mechanism and the reason.
		if code == sarama.ErrSASLAuthenticationFailed {
			return CodeFault(int16(code), saslMessage(err), err)
		}
		return CodeFault(int16(code), "", err)
	}
	return clientFault(err)
}

// CodeFault is Fault for a bare error code with the broker's message, which may be empty. Code 0 is no error: it gives nil.
func CodeFault(code int16, message string, cause error) *fault.Error {
	if code == 0 {
		return nil
	}
	a, known := answers[code]
	if !known {
		a = answer{code: fault.KafkaFailed, text: fmt.Sprintf("Kafka answered with error code %d, which this version of Weir does not know.", code)}
	}
	if message == "" {
		message = a.text
	}
	if cause == nil {
		cause = sarama.KError(code)
	}
	return fault.Wrap(a.code, cause, message)
}

// clientFault is Fault for what is no answer of a broker.
func clientFault(err error) *fault.Error {
	var configuration sarama.ConfigurationError
	var encoding sarama.PacketEncodingError
	var decoding sarama.PacketDecodingError
	switch {
	case errors.As(err, &configuration) && strings.Contains(err.Error(), "MaxMessageBytes"):
		return fault.Wrap(fault.RecordTooLarge, err, answers[int16(sarama.ErrMessageSizeTooLarge)].text)
	case errors.As(err, &configuration):
		return fault.Wrap(fault.Internal, err, "Internal Server Error")
	case errors.Is(err, sarama.ErrClosedClient), errors.Is(err, sarama.ErrShuttingDown):
		return fault.Wrap(fault.Unavailable, err, "The gateway is shutting down. Send the request to another instance, or again later.")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault.From(err)
	case errors.Is(err, sarama.ErrOutOfBrokers), errors.Is(err, sarama.ErrNotConnected), errors.Is(err, sarama.ErrBrokerNotFound),
		errors.Is(err, sarama.ErrControllerNotAvailable), isConnection(err):
		return fault.Wrap(fault.BrokerNotAvailable, err, answers[int16(sarama.ErrBrokerNotAvailable)].text)
	case isTimeout(err):
		return fault.Wrap(fault.KafkaRetriable, err, answers[int16(sarama.ErrRequestTimedOut)].text)
	case errors.Is(err, breaker.ErrBreakerOpen):
		return fault.Wrap(fault.KafkaRetriable, err, answers[int16(sarama.ErrLeaderNotAvailable)].text)
	case errors.Is(err, sarama.ErrInvalidPartition):
		return fault.Wrap(fault.PartitionNotFound, err, "Partition not found.")
	case errors.As(err, &encoding), errors.As(err, &decoding), errors.Is(err, sarama.ErrInsufficientData),
		errors.Is(err, sarama.ErrIncompleteResponse):
		return fault.Wrap(fault.KafkaFailed, err, "The broker's answer could not be understood.")
	default:
		return fault.Wrap(fault.Internal, err, "Internal Server Error")
	}
}

// ErrorName is the name under which metrics count an error: Kafka's own for an answer of a broker.
func ErrorName(err error) string {
	code, isCode := codeOf(err)
	switch {
	case isCode:
		if a, known := answers[int16(code)]; known {
			return a.name
		}
		return "UNKNOWN_CODE"
	case isTimeout(err):
		return "TIMEOUT"
	case isConnection(err), errors.Is(err, sarama.ErrNotConnected), errors.Is(err, sarama.ErrOutOfBrokers):
		return "CONNECTION"
	default:
		return "CLIENT"
	}
}

// codeOf gives the error code of a broker inside an error.
func codeOf(err error) (sarama.KError, bool) {
	var code sarama.KError
	if errors.As(err, &code) {
		return code, true
	}
	// sarama.Wrap makes errors that errors.Is sees through and errors.As does not: a failed SASL exchange is one.
	for candidate := range answers {
		if errors.Is(err, sarama.KError(candidate)) {
			return sarama.KError(candidate), true
		}
	}
	return 0, false
}

// Retriable reports whether Kafka calls an error retriable.
func Retriable(err error) bool {
	if code, ok := codeOf(err); ok {
		return answers[int16(code)].retriable
	}
	return Fault(err).Code.Retriable()
}

// isConnection reports whether an error means that a connection could not be made or broke.
func isConnection(err error) bool {
	var dial *DialError
	var op *net.OpError
	return errors.As(err, &dial) || errors.As(err, &op) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, sarama.ErrNotConnected) || errors.Is(err, errNotKafka) || errors.Is(err, errPlaintextToTLS)
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// isCertificate reports whether an error is about the broker's certificate.
func isCertificate(err error) bool {
	var verification *tls.CertificateVerificationError
	var host x509.HostnameError
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &verification) || errors.As(err, &host) || errors.As(err, &authority) || errors.As(err, &invalid)
}

// saslMessage is the broker's reason for a failed SASL exchange, without sarama's prefixes.
func saslMessage(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, "SASL Authentication failed: "); i >= 0 {
		return text[i+len("SASL Authentication failed: "):]
	}
	return ""
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
