// Package record holds the words that every other package of the core shares: a record on its way to Kafka, the
// position it got there, and what is known about whether it is there at all.
//
// It is a leaf: it imports nothing of Weir, knows neither HTTP nor a Kafka client, and has no behaviour beyond naming.
package record

import "time"

// AnyPartition as a record's Partition lets the producer choose: by the key's hash if there is a key (as Kafka's own
// default partitioner does), otherwise sticky until the next flush.
const AnyPartition int32 = -1

// Header is one record header. Names may repeat and order is kept. A nil Value is Kafka's null.
type Header struct {
	Name  string
	Value []byte
}

// Record is one record to produce.
//
// A nil Key or Value is Kafka's null (a nil Value is a tombstone); an empty one is zero bytes. The bytes belong to the
// producer from the moment they are handed over: nobody may change or reuse them, not even after the delivery callback,
// because a record whose outcome is Unknown may still be waiting to be sent.
type Record struct {
	Topic     string
	Partition int32 // AnyPartition, or an explicit partition ≥ 0
	Key       []byte
	Value     []byte
	Headers   []Header
	Timestamp time.Time // zero: the time at which the producer takes the record
}

// Size is the number of bytes that limits, budgets and bills count: key, value, and header names and values.
func (r *Record) Size() int {
	n := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += len(r.Headers[i].Name) + len(r.Headers[i].Value)
	}
	return n
}

// Outcome says what is known about a record after an attempt to produce it. There are three, never two: telling a client
// "failed" when the record may be in the log makes it write duplicates, and telling it "written" when it is not loses data.
type Outcome uint8

const (
	// NotPersisted: the record is not in the log and will not appear there. A retry cannot duplicate it.
	NotPersisted Outcome = iota
	// Persisted: every in-sync replica has the record.
	Persisted
	// Unknown: the record may or may not be in the log, now or a little later. A retry may duplicate it.
	Unknown

	// Outcomes is how many there are, for arrays that an Outcome indexes.
	Outcomes = 3
)

// String gives the outcome's name in receipts, metrics and logs.
func (o Outcome) String() string {
	switch o {
	case Persisted:
		return "persisted"
	case NotPersisted:
		return "not_persisted"
	default:
		return "unknown"
	}
}

// Position is a place in a topic.
type Position struct {
	Topic     string
	Partition int32
	Offset    int64
}

// Receipt is what became of one record. Partition, Offset and Timestamp mean something only when Outcome is Persisted;
// Err is nil exactly then. Timestamp is the broker's for a topic with LogAppendTime, otherwise the record's own.
type Receipt struct {
	Partition int32
	Offset    int64
	Timestamp time.Time
	Outcome   Outcome
	Err       error
}
