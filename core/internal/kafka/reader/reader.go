// Package reader reads records out of partitions: from given offsets, once, for whoever keeps the positions. Consumer instances
// (package consumer), the stateless reads of the REST APIs and live streams all fetch through it, so that one bound holds for the
// connections that read from each broker and one for the bytes that are held.
//
// It knows neither groups nor HTTP, keeps nothing between two calls, and never gives a record of an aborted transaction to a
// reader who asked for committed ones.
package reader

import (
	"context"
	"time"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/kafka"
	"github.com/weir-gateway/weir/core/internal/record"
)

// Reader reads from one cluster. It is safe for concurrent use.
type Reader struct {
	client   *kafka.Client
	settings config.Consume
	observer kafka.Observer
}

// New gives the reader room of a client. It needs no brokers to be there.
func New(client *kafka.Client, settings config.Consume, observer kafka.Observer) *Reader {
	return &Reader{client: client, settings: settings, observer: observer}
}

// Close closes the connections; reads that are under way fail.
func (r *Reader) Close() {}

// Options shape one Fetch.
type Options struct {
	// Wait is the longest to wait for MinBytes; 0 answers with what there is.
	Wait time.Duration
	// MinBytes is how many bytes to wait for, at least 1.
	MinBytes int
	// MaxBytes is the most bytes to ask of the brokers, as they lie in the log. One batch comes whatever its size.
	MaxBytes int
	// Committed leaves out what transactions have not committed, and stops at the last stable offset.
	Committed bool
}

// Result is what one partition gave.
type Result struct {
	// Range begins at the offset that was asked for. Its End is where to go on, also when there are no records in it.
	record.Range
	// LogStart is the first offset that the log still has, HighWatermark the end of what is replicated, End the end of what this reader
	// may see (the last stable offset for committed reads). -1: the broker did not say.
	LogStart, HighWatermark, Readable int64
	// Err is why this partition gave nothing, a *fault.Error: OffsetOutOfRange for an offset before the beginning or beyond the end of the
	// log (with LogStart and Readable set), UnknownTopic, PartitionNotFound, PermissionDenied, and what Kafka answers.
	Err error
}

// AtEnd reports whether everything that may be read now has been given.
func (r *Result) AtEnd() bool { return r.Err == nil && r.End >= r.Readable }

// Fetch reads partitions from the given offsets. It answers as soon as one broker has MinBytes, or with nothing when Wait is over;
// results are in the order of positions, one for each. Leaders that moved are found again, within the call. What is given is held
// against consume.buffer_bytes until release is called, which must be called exactly once, also after an error.
//
// Errors are of the call as a whole: Overloaded when there was no room for the bytes within Wait (at least 100 ms), Unavailable when
// ctx ended, BrokerNotAvailable when no broker of them could be reached. Otherwise each partition has its own.
func (r *Reader) Fetch(ctx context.Context, positions []record.Position, options Options) (results []Result, release func(), err error) {
	panic("not written yet")
}

// Where an offset is looked up, for Offsets.
const (
	Earliest int64 = -2
	Latest   int64 = -1
)

// At is a question about a partition: the offset of its beginning (Earliest), its end (Latest; the last stable offset for committed
// reads), or of its first record whose timestamp is At or later, in milliseconds since 1970.
type At struct {
	record.TopicPartition
	At int64
}

// Offset is the answer to an At. Offset is -1 when no record is as late as was asked.
type Offset struct {
	record.TopicPartition
	Offset int64
	Err    error
}

// Offsets looks offsets up, many with one request to each leader. Answers are in the order of the questions, one for each, with the
// error of each partition.
func (r *Reader) Offsets(ctx context.Context, questions []At, committed bool) ([]Offset, error) {
	panic("not written yet")
}
