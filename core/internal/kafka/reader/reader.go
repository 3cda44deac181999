// Package reader reads records out of partitions: from given offsets, once, for whoever keeps the positions. Consumer instances
// (package consumer), the stateless reads of the REST APIs and live streams all fetch through it, so that one bound holds for the
// connections that read from each broker and one for the bytes that are held.
//
// It knows neither groups nor HTTP, keeps nothing between two calls but hints of how best to ask, and never gives a record of an aborted transaction to a
// reader who asked for committed ones.
package reader

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/kafka"
	"github.com/weir-gateway/weir/core/internal/record"
)

// Reader reads from one cluster. It is safe for concurrent use.
type Reader struct {
	client     *kafka.Client
	observer   kafka.Observer
	pool       *kafka.FetchPool
	expansions expansions
	unreadable unreadable
	budget     budget
	fetchBytes int
	version    int16         // of fetch requests
	turn       atomic.Uint32 // whose turn it is among partitions that want to be first
}

// New gives the reader room of a client. It needs no brokers to be there.
func New(client *kafka.Client, settings config.Consume, observer kafka.Observer) *Reader {
	r := &Reader{
		client: client, observer: observer,
		pool:       kafka.NewFetchPool(client, settings.FetchConnections),
		fetchBytes: min(max(1, settings.FetchBytes), largestFetch),
		version:    fetchVersion(client.Version()),
	}
	r.budget.size = settings.BufferBytes
	if r.budget.size == 0 {
		r.budget.size = config.DefaultBuffer()
	}
	r.budget.owners, r.budget.brokers = map[string]int64{}, map[string]int64{}
	return r
}

// Close closes the connections; reads that are under way fail. It does not end before they have.
func (r *Reader) Close() {
	r.budget.close()
	r.pool.Close()
}

// Buffered is how many bytes of records are held for reads now, room that fetches under way have reserved included.
func (r *Reader) Buffered() int64 { return r.budget.held() }

// Options shape one Fetch.
type Options struct {
	// Wait is the longest to wait for MinBytes; 0 answers with what there is.
	Wait time.Duration
	// Patience is how long after Wait brokers that were asked may take to answer; 0: a quarter of a second. It is for callers that must know
	// what there is, even if they do not wait for more.
	Patience time.Duration
	// MinBytes is how many bytes to wait for, at least 1.
	MinBytes int
	// MaxBytes is about how many bytes of memory to ask the brokers for: of topics that are compressed, as much less of the log as they
	// were seen to expand. One batch comes whatever its size.
	MaxBytes int
	// Owner is on whose behalf the records are read, such as a client's name: what is held for one owner is at most half of
	// consume.buffer_bytes, so that one who is slow to take its answers leaves room to others. Empty: only the whole is a bound.
	Owner string
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
func (r *Result) AtEnd() bool { return r.Err == nil && r.Readable >= 0 && r.End >= r.Readable }

// Fetch reads partitions, none twice, from the given offsets. It answers as soon as there are MinBytes, or a partition has an error that
// waiting cannot cure, and otherwise with what there is when Wait is over; results are in the order of positions, one for each. Leaders
// that moved are found again, within the call. It ends within Wait and a quarter of a second, whatever brokers do; where
// there was no room to read, another quarter tells those who are at the end of the log, who need none, from those who are refused. What is given is held
// against consume.buffer_bytes until release is called, which must be called exactly once, also after an error.
//
// Errors are of the call as a whole: InvalidRequest for a partition named twice, Overloaded when there was no room for the bytes within
// Wait (at least 100 ms), Unavailable when ctx ended or after Close, BrokerNotAvailable when no broker of them could be reached. Otherwise
// each partition has its own; those for which it is retriable gave nothing yet and may be asked for again from the same offset.
func (r *Reader) Fetch(ctx context.Context, positions []record.Position, options Options) (results []Result, release func(), err error) {
	c, err := r.newCall(positions, options)
	if err != nil {
		return nil, func() {}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the waits for room of fetches that the answer does not need
	c.ctx = ctx
	err = c.run()
	c.abandon()
	if err == nil {
		err = c.conclude()
	}
	held := c.held
	if err != nil {
		r.budget.release(options.Owner, held)
		return nil, func() {}, err
	}
	if held == 0 {
		return c.results, func() {}, nil
	}
	return c.results, func() { r.budget.release(options.Owner, held) }, nil
}
