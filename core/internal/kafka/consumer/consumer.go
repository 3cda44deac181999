// Package consumer is consumer instances: what a client of the REST API makes, subscribes, reads with, commits and deletes, and what
// Kafka sees as a member of a group or as a reader of assigned partitions.
//
// An instance is pulled. Nothing is fetched while no read is open, so an idle one costs a connection to its coordinator and its
// heartbeats. It joins its group at the first read, rejoins by itself when the group rebalances, and commits with its member id and
// generation, so that a coordinator's refusal reaches the client. Positions are offsets; bytes are never kept between two reads.
//
// What holds, whatever happens: a record that a client was given for good (its answer was written, or acknowledged by token) is the
// only kind that is committed by itself; a record that was not is given again.
package consumer

import (
	"context"
	"time"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/kafka"
	"github.com/weir-gateway/weir/core/internal/kafka/reader"
	"github.com/weir-gateway/weir/core/internal/record"
)

// Key names an instance. Owner is the caller that made it: to everyone else it does not exist.
type Key struct{ Owner, Group, Name string }

// Options are what an instance is made with.
type Options struct {
	// Format is the embedded format that its records are read in. It means nothing here.
	Format string
	// AutoOffsetReset is latest, earliest or none.
	AutoOffsetReset string
	// AutoCommit commits what was delivered, by itself.
	AutoCommit bool
	// MinBytes is how many bytes a read gathers before it answers early; negative: it always waits its whole time.
	MinBytes int
	// Timeout is how long a read waits.
	Timeout time.Duration
	// Committed reads committed transactions only.
	Committed bool
}

// Consumers are the instances that this gateway holds on one cluster. It is safe for concurrent use.
type Consumers struct {
	client   *kafka.Client
	reader   *reader.Reader
	settings config.Consume
	observer kafka.Observer
}

// New gives the consumer room of a client.
func New(client *kafka.Client, reader *reader.Reader, settings config.Consume, observer kafka.Observer) *Consumers {
	return &Consumers{client: client, reader: reader, settings: settings, observer: observer}
}

// Create makes an instance, without asking any broker. Errors: InstanceExists when the owner has one of that name in the group
// already, TooManyInstances at a cap, Unavailable after Close.
func (c *Consumers) Create(key Key, options Options) (*Instance, error) { panic("not written yet") }

// Get gives an instance and begins its idle time anew. Error: InstanceNotFound.
func (c *Consumers) Get(key Key) (*Instance, error) { panic("not written yet") }

// Delete ends an instance: it commits if it commits by itself, leaves its group, and a read that is open ends with InstanceNotFound.
// The instance is gone at once; the error, if any, is only InstanceNotFound.
func (c *Consumers) Delete(ctx context.Context, key Key) error { panic("not written yet") }

// Instances is how many there are.
func (c *Consumers) Instances() int { panic("not written yet") }

// Close ends every instance as Delete does, all at once, so that other members own their partitions soon. Reads that are open end
// with Unavailable. It returns when all have left or ctx ends.
func (c *Consumers) Close(ctx context.Context) error { panic("not written yet") }

// Instance is one consumer instance. Its methods may be called at any time from any goroutine; reads take turns, and everything else
// takes effect in the middle of a read.
type Instance struct{}

// Options are what the instance was made with.
func (i *Instance) Options() Options { panic("not written yet") }

// Subscribe makes the instance a member that consumes topics, in place of those before. An empty list is Unsubscribe. A topic need not
// exist. Error: IllegalState when it subscribes by pattern or has assignments ("Illegal state: Subscription to topics, partitions and pattern
// are mutually exclusive").
func (i *Instance) Subscribe(topics []string) error { panic("not written yet") }

// SubscribePattern is Subscribe for every topic, now and later, whose whole name matches an RE2 expression and that visible allows (nil:
// all). Internal topics are never matched. Errors: IllegalState as for Subscribe; Unprocessable when the expression is malformed or longer
// than consume.pattern_length.
func (i *Instance) SubscribePattern(pattern string, visible func(topic string) bool) error {
	panic("not written yet")
}

// Unsubscribe ends subscription and assignments: the group is left.
func (i *Instance) Unsubscribe(ctx context.Context) error { panic("not written yet") }

// Subscription gives the subscribed topics; for a pattern those that match now.
func (i *Instance) Subscription() []string { panic("not written yet") }

// Assign makes the instance read the given partitions, without becoming a member; commits still go to the group. It replaces earlier
// assignments; partitions that stay keep their positions. Error: IllegalState when the instance is subscribed.
func (i *Instance) Assign(partitions []record.TopicPartition) error { panic("not written yet") }

// Assignment gives the partitions that the instance holds now, sorted by topic and number.
func (i *Instance) Assignment() []record.TopicPartition { panic("not written yet") }

// State says why an answer holds no records.
type State string

// The states. The empty one is an answer with records, or one whose wait was over before anything could be said.
const (
	Rebalancing  State = "rebalancing"   // the group has not settled yet
	NoPartitions State = "no-partitions" // there are more members than partitions, or the topics do not exist
	AtEnd        State = "at-end"        // everything that was written has been delivered
)

// PollOptions shape one read.
type PollOptions struct {
	// Wait is the longest that the read may take.
	Wait time.Duration
	// MinBytes is the instance's, or what the read asks for instead.
	MinBytes int
	// MaxBytes bounds keys and values together: a record that would reach it is left for the next read. The first record of an answer
	// comes whatever its size.
	MaxBytes int
	// Ack is nil for a read without acknowledgement; otherwise the last token that the client has in full, "" for none yet.
	Ack *string
	// Decodable, if not nil, is asked of every record before it is taken. At an error the answer ends before that record, or is the error if
	// the record is the first; the position stays there until someone seeks.
	Decodable func(topic string, partition int32, r *record.Stored) error
	// Stop, if not nil, ends the wait early when it is closed: with what there is.
	Stop <-chan struct{}
}

// Batch is the answer to one read. Done must be called exactly once.
type Batch struct {
	// Ranges are the records in the order of delivery, no partition twice.
	Ranges []record.Range
	// State says why there are no records.
	State State
	// Token acknowledges this answer when the next read carries it; empty without Ack.
	Token string
	// Again says that these ranges were delivered before and not acknowledged.
	Again bool
	// Missing are offsets that were in the answer before and are not in this one, because retention or compaction took them in between.
	Missing []record.Range
}

// Done ends a read: the batch's memory is given back. delivered says whether the answer was written to its end; if not, and the read
// had no Ack, the next read gives the same records again.
func (b *Batch) Done(delivered bool) { panic("not written yet") }

// Poll reads. Reads of one instance take turns, each within its own Wait; one that does not get its turn is empty. Ending ctx ends the
// read and loses nothing.
//
// Errors: IllegalState when the instance is neither subscribed nor assigned, when Ack is a token of this instance but neither the outstanding
// one nor the one before it, and when a partition of the outstanding answer was revoked; InvalidRequest when Ack is no token of this instance;
// PermissionDenied when the group or a topic is not the gateway's to read; InstanceNotFound when it was deleted meanwhile; Overloaded,
// BrokerNotAvailable, and what Kafka answers.
func (i *Instance) Poll(ctx context.Context, options PollOptions) (*Batch, error) {
	panic("not written yet")
}

// Committed is an offset that a group has committed: the next one to read.
type Committed struct {
	record.TopicPartition
	Offset   int64
	Metadata string
}

// Commit commits offsets for the group, exactly as given: the next offset to read. nil commits what was delivered. It waits for the
// coordinator's answer. Errors: IllegalState when a partition is not the instance's, or was taken from it by a rebalance; InvalidRequest for a
// negative offset or one beyond the partition's end; PermissionDenied; what the coordinator answers.
func (i *Instance) Commit(ctx context.Context, offsets []Committed) error { panic("not written yet") }

// Committed gives what the group has committed for partitions, leaving out those without.
func (i *Instance) Committed(ctx context.Context, partitions []record.TopicPartition) ([]Committed, error) {
	panic("not written yet")
}

// Seek moves positions, in the order given; an outstanding answer is dropped. Nothing of what was before a position is given after Seek
// has returned. Where an offset is asked of the broker (At), a timestamp beyond the end means the end. Error: IllegalState with the text "Illegal
// state: No current assignment for partition t-0" when the instance does not hold a partition; then nothing was moved.
func (i *Instance) Seek(ctx context.Context, targets []Target) error { panic("not written yet") }

// Target is where Seek moves a partition: to Offset, or with Lookup set to what the reader's At says (reader.Earliest, reader.Latest or a
// timestamp in milliseconds).
type Target struct {
	record.TopicPartition
	Offset int64
	Lookup bool
	At     int64
}
