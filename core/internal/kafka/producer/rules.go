package producer

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka"
	"github.com/weir-gateway/weir/core/internal/record"
)

// rules are the settings of a topic by which brokers refuse records.
//
// A broker refuses a whole batch for one record, and a batch holds the records of many clients. What can be told from the
// topic's settings is therefore refused here, before it can spoil the batch of others; the broker still has the last word.
// The largest message counts twice: sarama fills batches up to its own limit whatever the topic's is, so a partition of a
// topic with a smaller one may hold no more than that on its way.
type rules struct {
	topic      [16]byte      // the id of the topic that they were read for
	compacted  bool          // no record without a key
	maxMessage int64         // the largest batch, in bytes as sent
	appendTime bool          // the broker sets timestamps
	before     time.Duration // how far a timestamp may lie in the past
	after      time.Duration // and in the future
}

// noRules are the rules of a topic whose settings cannot be read: the gateway may not be allowed to.
func noRules() *rules {
	return &rules{maxMessage: math.MaxInt64, before: math.MaxInt64, after: math.MaxInt64}
}

const (
	rulesFor         = 30 * time.Second // how long they are used without being read again
	rulesWait        = 2 * time.Second  // how long the first record of a topic may wait for them
	batchOverhead    = 61               // a record batch's header
	timestampMargin  = 10 * time.Second // clocks differ: what is that near to a limit is left to the broker
	smallestAdaption = 16 << 10
)

var ruleNames = []string{"cleanup.policy", "max.message.bytes", "message.timestamp.type", "message.timestamp.before.max.ms", "message.timestamp.after.max.ms"}

// ruleBook keeps a topic's rules.
type ruleBook struct {
	current atomic.Pointer[rules]
	read    atomic.Int64 // when, by the producer's clock
	reading sync.Mutex
	learnt  atomic.Int64 // the largest batch, as a refusal has taught; 0: nothing
}

// rulesOf gives a topic's rules. The first time it waits for them; later it uses what it has and reads anew in the background.
func (p *Producer) rulesOf(t *topic, id [16]byte, now int64) *rules {
	book := &t.rules
	current := book.current.Load()
	if current != nil && current.topic != id {
		current = nil // another topic of the same name
	}
	if current != nil && now-book.read.Load() < int64(rulesFor) {
		return current
	}
	if current != nil {
		if book.reading.TryLock() {
			p.routines.Add(1) // Close waits for the call that we are in before it waits for routines
			go func() {
				defer p.routines.Done()
				defer book.reading.Unlock()
				p.readRules(t, id)
			}()
		}
		return current
	}
	book.reading.Lock()
	defer book.reading.Unlock()
	if current = book.current.Load(); current == nil || current.topic != id {
		p.readRules(t, id)
		current = book.current.Load()
	}
	return current
}

// readRules asks a broker for a topic's settings. What cannot be read is taken to be without limits. No caller's going away
// ends it: what is read serves all who come after.
func (p *Producer) readRules(t *topic, id [16]byte) {
	ctx, cancel := context.WithTimeout(p.stopping, rulesWait)
	defer cancel()
	var response *sarama.DescribeConfigsResponse
	err := p.client.Call(ctx, kafka.AnyBroker, true, func(b *sarama.Broker) error {
		var err error
		response, err = b.DescribeConfigs(&sarama.DescribeConfigsRequest{
			Version:   2,
			Resources: []*sarama.ConfigResource{{Type: sarama.TopicResource, Name: t.name, ConfigNames: ruleNames}},
		})
		return err
	})
	found := noRules()
	former := t.rules.current.Load()
	switch {
	case err == nil && len(response.Resources) == 1 && response.Resources[0].ErrorCode == 0:
		for _, entry := range response.Resources[0].Configs {
			found.take(entry.Name, entry.Value)
		}
	case former != nil && former.topic == id:
		copied := *former // better than none
		found = &copied
	}
	found.topic = id
	if found.maxMessage < math.MaxInt64 {
		t.rules.learnt.Store(0) // what was guessed is known now
	}
	t.rules.current.Store(found)
	t.rules.read.Store(p.now())
}

func (r *rules) take(name, value string) {
	number, err := strconv.ParseInt(value, 10, 64)
	switch name {
	case "cleanup.policy":
		r.compacted = strings.Contains(value, "compact")
	case "message.timestamp.type":
		r.appendTime = value == "LogAppendTime"
	case "max.message.bytes":
		if err == nil && number > 0 {
			r.maxMessage = number
		}
	case "message.timestamp.before.max.ms":
		if err == nil {
			r.before = milliseconds(number)
		}
	case "message.timestamp.after.max.ms":
		if err == nil {
			r.after = milliseconds(number)
		}
	}
}

// milliseconds is a duration that does not overflow.
func milliseconds(n int64) time.Duration {
	if n > int64(math.MaxInt64/time.Millisecond) {
		return math.MaxInt64
	}
	return time.Duration(n) * time.Millisecond
}

// refuse says why a broker would refuse a record, or nil. size is the record's as sarama counts it.
func (r *rules) refuse(rec *record.Record, topic string, partition int32, size int, compressed bool, now time.Time) *fault.Error {
	switch {
	case r.compacted && rec.Key == nil:
		return kafka.CodeFault(int16(sarama.ErrInvalidRecord),
			fmt.Sprintf("Compacted topic cannot accept message without key in topic partition %s-%d.", topic, partition), nil)
	case !compressed && int64(size)+batchOverhead > r.maxMessage:
		return kafka.CodeFault(int16(sarama.ErrMessageSizeTooLarge),
			fmt.Sprintf("The record is %d bytes when serialized, which is larger than topic %s takes (max.message.bytes %d).", size, topic, r.maxMessage), nil)
	case r.appendTime || rec.Timestamp.IsZero():
		return nil
	}
	age := now.Sub(rec.Timestamp)
	if age > 0 && age-timestampMargin > r.before || age < 0 && -age-timestampMargin > r.after {
		return kafka.CodeFault(int16(sarama.ErrInvalidTimestamp),
			fmt.Sprintf("Timestamp %d is out of the range that topic %s accepts.", rec.Timestamp.UnixMilli(), topic), nil)
	}
	return nil
}

// batchLimit is the most bytes that a partition of the topic may have on its way now. It is asked for at each admission: a
// record may have waited while the limit shrank.
func (t *topic) batchLimit(most int64) int64 {
	if r := t.rules.current.Load(); r != nil && r.maxMessage < math.MaxInt64 {
		most = min(most, r.maxMessage-batchOverhead)
	}
	if learnt := t.rules.learnt.Load(); learnt > 0 {
		most = min(most, learnt)
	}
	return most
}

// shrink learns from a batch of at most so many bytes that the broker found too large although none of its records need be:
// with settings that cannot be read, halving finds the way. It gives the most bytes of a batch from now on, or 0 when smaller
// batches would be of no use. A batch of more than was learnt last was let in before: its refusal teaches nothing new.
func (t *topic) shrink(most int64) int64 {
	for {
		learnt := t.rules.learnt.Load()
		if learnt > 0 && most > learnt {
			return learnt
		}
		next := max(most/2, smallestAdaption)
		if next >= most {
			return 0
		}
		if t.rules.learnt.CompareAndSwap(learnt, next) {
			return next
		}
	}
}
