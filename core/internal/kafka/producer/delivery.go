package producer

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka"
	"github.com/weir-gateway/weir/core/internal/record"
)

// delivery is one record on its way. All deliveries of a Produce call lie in one slice, so that a record costs no
// allocation of its own.
type delivery struct {
	message sarama.ProducerMessage // sarama's, from the hand-over until it comes back
	key     []byte
	value   []byte

	call      *call
	index     int
	topic     *topic
	partition *partition
	size      int64 // what limits and budgets count
	share     int64 // the part of it that lies in the call's slabs

	state atomic.Uint32

	// Under partition.mu, while inside sarama.
	older, newer *delivery
	handed       int64 // when it was handed over, by the producer's clock
	doubts       uint64
}

// The bits of a delivery's state. Both are set once and never cleared, by atomic read-modify-write, so that of "sarama took
// the bytes" and "the client was answered" one always comes first and both sides know which.
const (
	encoded  uint32 = 1 << iota // sarama has put the record into a batch: it may reach a broker
	answered                    // the receipt is given, or about to be
)

// errAbandoned is what sarama gets in place of the bytes of a record whose client has its answer already.
var errAbandoned = errors.New("record abandoned before it was sent")

// keyEncoder and valueEncoder are a delivery seen by sarama.
type (
	keyEncoder   delivery
	valueEncoder delivery
)

// Encode gives the key. A nil one is Kafka's null.
func (k *keyEncoder) Encode() ([]byte, error) { return k.key, nil }

// Length is the key's length.
func (k *keyEncoder) Length() int { return len(k.key) }

// Encode gives the value when sarama puts the record into a batch (async_producer.go, brokerProducer.run → produceSet.add),
// and only then: batches that are sent again (retryBatch) keep the bytes. It is therefore the last point at which a record
// can be held back, and a record for which it was never called cannot be in the log. A refusal there fails this record
// alone: it has no sequence number yet, those are given when the batch is sealed.
func (v *valueEncoder) Encode() ([]byte, error) {
	if v.state.Or(encoded)&answered != 0 {
		return nil, errAbandoned
	}
	return v.value, nil
}

// Length is the value's length.
func (v *valueEncoder) Length() int { return len(v.value) }

// answer gives the receipt unless there is one already.
func (d *delivery) answer(receipt record.Receipt) {
	if d.state.Or(answered)&answered == 0 {
		d.call.deliver(d.index, receipt)
	}
}

// refuse answers a record that was never handed over.
func (d *delivery) refuse(err *fault.Error) {
	d.answer(record.Receipt{Outcome: record.NotPersisted, Err: err})
}

// expire answers a record whose deadline has passed, or that the end of the producer overtakes. Whether it is surely not in
// the log is settled in the same step: from here on sarama does not get its bytes.
func (d *delivery) expire(err *fault.Error) {
	before := d.state.Or(answered)
	if before&answered != 0 {
		return
	}
	outcome := record.NotPersisted
	if before&encoded != 0 {
		outcome = record.Unknown
	}
	d.call.deliver(d.index, record.Receipt{Outcome: outcome, Err: err})
}

// succeeded answers a record that Kafka has acknowledged.
//
// The offset starts as -1 and sarama sets it except for DUPLICATE_SEQUENCE_NUMBER: that says that the record is in the log
// and not where. Brokers send it only for a batch that is older than the last five of a producer; a retry of the last one is
// answered as a success with the original offset. With one batch in flight for a partition the former does not happen.
func (d *delivery) succeeded() {
	d.answer(record.Receipt{
		Partition: d.message.Partition, Offset: d.message.Offset, Timestamp: d.message.Timestamp, Outcome: record.Persisted,
	})
}

// failed answers a record that sarama gives back with an error.
func (d *delivery) failed(err error, reason rejection, doubted bool) {
	before := d.state.Or(answered)
	if before&answered != 0 {
		return
	}
	outcome := record.Unknown
	if before&encoded == 0 || !doubted && rejects(err) {
		outcome = record.NotPersisted
	}
	d.call.deliver(d.index, record.Receipt{Outcome: outcome, Err: reason.explain(err)})
}

// rejects reports whether an error as the answer to the only attempt means that the records were not written.
//
// Not among them, beside the obvious: NOT_LEADER_OR_FOLLOWER, UNKNOWN_TOPIC_OR_PARTITION, LEADER_NOT_AVAILABLE and
// KAFKA_STORAGE_ERROR. A leader that has appended a batch and waits for its replicas answers with one of them when it loses
// the partition meanwhile, and the new leader may have the batch.
func rejects(err error) bool {
	var code sarama.KError
	if !errors.As(err, &code) {
		return false
	}
	return !ambiguous(int16(code))
}

// ambiguous reports whether an error code may come from a broker that has written the batch.
func ambiguous(code int16) bool {
	switch sarama.KError(code) {
	case sarama.ErrInvalidMessage, sarama.ErrMessageSizeTooLarge, sarama.ErrInvalidTopic, sarama.ErrMessageSetSizeTooLarge,
		sarama.ErrNotEnoughReplicas, sarama.ErrInvalidRequiredAcks, sarama.ErrTopicAuthorizationFailed,
		sarama.ErrClusterAuthorizationFailed, sarama.ErrInvalidTimestamp, sarama.ErrUnsupportedVersion, sarama.ErrInvalidConfig,
		sarama.ErrInvalidRequest, sarama.ErrUnsupportedForMessageFormat, sarama.ErrPolicyViolation, sarama.ErrOutOfOrderSequenceNumber,
		sarama.ErrInvalidProducerEpoch, sarama.ErrInvalidTxnState, sarama.ErrInvalidProducerIDMapping,
		sarama.ErrTransactionalIDAuthorizationFailed, sarama.ErrUnknownProducerID, sarama.ErrUnsupportedCompressionType,
		sarama.ErrInvalidRecord, sarama.ErrThrottlingQuotaExceeded, sarama.ErrProducerFenced:
		return false
	}
	return true
}

// rejection is what a broker said about a batch that it refused, beyond the code that sarama passes on.
type rejection struct {
	known    bool
	innocent bool   // the broker named the records at fault and this is none of them
	message  string // the broker's own words; may be empty
}

func (r rejection) explain(err error) *fault.Error {
	var code sarama.KError
	if !r.known || !errors.As(err, &code) {
		return kafka.Fault(err)
	}
	if r.innocent {
		return fault.Wrap(fault.KafkaRetriable, err,
			"The record shared a batch with one that Kafka refused. It was not written; send it again.")
	}
	return kafka.CodeFault(int16(code), r.message, err)
}

// call is one Produce call.
type call struct {
	producer  *Producer
	delivered func(int, record.Receipt)
	records   []delivery
	deadline  time.Time

	open         atomic.Int32 // records without a receipt
	holders      atomic.Int32 // what keeps the slabs in memory: records that are not back, and Produce itself
	slab         int64        // the bytes of the slabs
	older, newer *call        // under producer.calls
	listed       bool
}

// deliver hands out one receipt. The callback is foreign code running in a goroutine of sarama's pipeline: a panic in it must
// not end the process or stop other clients' records.
func (c *call) deliver(index int, receipt record.Receipt) {
	c.hand(index, receipt)
	if c.open.Add(-1) == 0 {
		c.producer.deadlines.remove(c)
	}
}

func (c *call) hand(index int, receipt record.Receipt) {
	defer func() {
		if p := recover(); p != nil {
			c.producer.logger.Error("a delivery callback panicked", "panic", p)
		}
	}()
	c.delivered(index, receipt)
}
