package reader

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka"
)

// receive takes an answer into the results.
func (c *call) receive(a *ask) {
	for i, other := range c.asks {
		if other == a {
			c.asks = append(c.asks[:i], c.asks[i+1:]...)
			break
		}
	}
	for _, p := range a.parts {
		p.out = false
	}
	var held int64
	switch {
	case a.err != nil:
		c.refuse(a)
	case a.response.ErrorCode != 0:
		err := sarama.KError(a.response.ErrorCode)
		c.reader.count(err)
		for _, p := range a.parts {
			c.fail(p, err)
		}
	default:
		held = c.merge(a)
	}
	c.held += held
	if reserved := max(0, a.reserved.Swap(0)); reserved != 0 || held != 0 {
		c.reader.budget.arrive(a.account(), reserved, held)
	}
}

// refuse takes a request that came to nothing.
func (c *call) refuse(a *ask) {
	switch f := kafka.Fault(a.err); {
	case f.Code == fault.Unavailable: // closed
		c.fatal = f
	case f.Code == fault.Overloaded:
		for _, p := range a.parts {
			if !p.answered { // otherwise it had its turn in this call, and there was nothing
				c.refused, p.err, p.retryAt = f, f, time.Now().Add(longestPause) // the owner's share may be there before Wait is over
			}
		}
	case f.Code != fault.KafkaFailed && f.Code != fault.Internal: // the way to the broker
		for _, p := range a.parts {
			c.fail(p, a.err)
		}
		// Some decompressors end with the error of a connection that broke. Twice is no accident.
		if len(a.parts) > 1 && a.parts[0].failures > 1 && (errors.Is(a.err, io.ErrUnexpectedEOF) || errors.Is(a.err, io.EOF)) {
			c.divide(a.parts)
		}
	case len(a.parts) > 1 || !a.parts[0].narrow: // something in the answer cannot be read
		c.divide(a.parts)
		for _, p := range a.parts {
			p.forced = true
		}
	default:
		c.giveUp(a.parts[0], a.err)
	}
}

// merge takes what brokers gave, and gives how many bytes of memory it keeps.
func (c *call) merge(a *ask) (held int64) {
	var hungry []*part
	gave := takenOf(a, c.options.Committed)
	held, whole, batch := settleMemory(gave, a.fetch.Size)
	for i, p := range a.parts {
		block := a.response.GetBlock(p.result.Topic, p.result.Partition)
		switch {
		case block == nil: // the answer was full before
			hungry = append(hungry, p)
		case block.Err != sarama.ErrNoError:
			c.blame(p, block.Err)
		default:
			t := &gave[i]
			c.gathered += t.logged
			moved := t.next > p.next
			c.note(p, block, t)
			if !moved && (t.more > 0 || p.next < p.result.Readable) {
				p.more = t.more
				hungry = append(hungry, p)
			}
		}
	}
	if len(hungry) > 0 {
		c.feed(a, hungry)
	}
	for i, p := range a.parts { // one answer for all: which of several topics is to blame for its size is not told
		if i == 0 || p.result.Topic != a.parts[i-1].result.Topic {
			c.reader.expansions.note(p.result.Topic, a.fetch.Size, whole, batch)
		}
	}
	return held
}

// note takes what one partition gave.
func (c *call) note(p *part, block *sarama.FetchResponseBlock, t *taken) {
	result := p.result
	narrow := p.narrow
	p.answered, p.alone, p.narrow, p.group, p.broken, p.err, p.failures = true, false, false, 0, false, nil, 0
	p.next = t.next
	if narrow && p.suspect > 0 {
		c.reader.unreadable.note(p, p.suspect-1) // it comes next, or after that
	}
	result.LogStart, result.HighWatermark, result.Readable = block.LogStartOffset, block.HighWaterMarkOffset, block.HighWaterMarkOffset
	if c.options.Committed && block.LastStableOffset >= 0 {
		result.Readable = block.LastStableOffset
	}
	if len(result.Records) == 0 {
		result.Records = t.records
	} else {
		result.Records = append(result.Records, t.records...)
	}
}

// feed asks once more, alone, for one of the partitions that have records and gave none because others filled the answer, or because
// their next batch is larger than what was asked: Kafka gives the first batch of an answer whatever its size. They take turns over the
// calls, so that none is starved.
func (c *call) feed(a *ask, hungry []*part) {
	p := hungry[c.turn%len(hungry)]
	if len(a.parts) == 1 {
		if p.more == 0 || a.bytes >= largestFetch { // nothing in what the broker says helps: as if it had nothing
			return
		}
		p.more = max(p.more, 2*a.bytes)
	}
	p.alone, p.forced = true, true
}

// blame takes the error of one partition.
func (c *call) blame(p *part, code sarama.KError) {
	c.reader.count(code)
	if code == sarama.ErrOffsetOutOfRange {
		c.settle(p, fault.Wrap(fault.OffsetOutOfRange, code,
			fmt.Sprintf("Offset %d is out of range for partition %s-%d.", p.next, p.result.Topic, p.result.Partition)))
		return
	}
	if kafka.Retriable(code) {
		c.postpone(p, kafka.Fault(code))
		return
	}
	c.settle(p, kafka.Fault(code))
}
