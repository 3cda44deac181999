package reader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka"
)

// ask is one request to one broker.
type ask struct {
	call     *call
	address  string
	parts    []*part
	bytes    int     // of the log
	factor   float64 // how much more memory than log its records are likely to take
	memory   int64   // what that is likely to take
	least    int64   // of memory, that it gets on with
	minimum  int     // bytes that the broker may wait for
	fetch    kafka.Fetch
	awaited  bool         // a call with data still waits for its answer
	reserved atomic.Int64 // bytes taken from the budget; -1: it has not come so far
	state    atomic.Int32
	response *sarama.FetchResponse
	err      error
}

// The states of an ask.
const (
	underWay int32 = iota
	answered
	abandoned // the call has ended: whoever gets the answer drops it
)

// dispatch asks for every partition that is to be asked for now: one request to each broker.
func (c *call) dispatch() {
	now := time.Now()
	first := len(c.asks)
	for i := range c.parts {
		p := &c.parts[(i+c.turn)%len(c.parts)]
		if p.out || p.settled || !c.due(p, now) {
			continue
		}
		address, found := c.locate(p)
		p.asked, p.forced = true, false
		if !found {
			continue
		}
		p.out = true
		c.join(address, p, first)
	}
	if len(c.asks) > 1 {
		c.several = true
	}
	for _, a := range c.asks[first:] {
		c.send(a, now)
	}
}

// due reports whether a partition is to be asked for.
func (c *call) due(p *part, now time.Time) bool {
	switch {
	case p.forced, !p.asked:
		return true
	case !c.enough.IsZero():
		return false
	case p.err != nil:
		return !now.Before(p.retryAt) && now.Before(c.lastRetry())
	default:
		return c.until.Sub(now) >= shortestPoll // a broker's clock ticks in milliseconds
	}
}

// join adds a partition to the request to an address, among those that are made now.
func (c *call) join(address string, p *part, first int) {
	if !p.alone {
		for _, a := range c.asks[first:] {
			if a.address == address && !a.parts[0].alone && a.parts[0].group == p.group {
				a.parts = append(a.parts, p)
				return
			}
		}
	}
	a := &ask{call: c, address: address, parts: []*part{p}}
	a.reserved.Store(-1)
	c.asks = append(c.asks, a)
}

// send makes the request and hands it to the pool.
func (c *call) send(a *ask, now time.Time) {
	r := c.reader
	for _, p := range a.parts {
		a.awaited = a.awaited || !p.answered || p.alone
	}
	left := max(1, c.options.MaxBytes-c.gathered)
	wanted := min(max(1, left*len(a.parts)/max(1, c.live)), r.fetchBytes)
	if a.parts[0].alone {
		wanted = min(left, r.fetchBytes)
	}
	if !a.awaited { // there was nothing before: it is likely to wait, with its room, and to find little
		wanted = min(wanted, max(leastShare, c.options.MinBytes-c.gathered))
	}
	e, known := a.expansion()
	a.factor, a.bytes = e.factor, max(1, int(float64(wanted)/e.factor))
	if !known {
		a.bytes = min(a.bytes, firstLook)
	}
	if a.parts[0].narrow {
		a.bytes = 1
	}
	more := 0
	if p := a.parts[0]; p.alone {
		more = min(p.more, largestFetch)
		a.bytes = max(a.bytes, more)
	}
	a.minimum = max(1, c.options.MinBytes-c.gathered)
	a.memory = max(1, int64(float64(a.bytes)*a.factor))
	// Less than a batch does not come. Where batches are huge, a poll that waits for one does not keep room for it.
	a.least = min(a.memory, max(leastShare, min(e.batch, int64(r.fetchBytes)), int64(float64(more)*a.factor)))
	request := &sarama.FetchRequest{
		Version:      r.version,
		SessionEpoch: -1, // no session: who reads what changes with every call
	}
	if c.options.Committed {
		request.Isolation = sarama.ReadCommitted
	}
	a.fetch = kafka.Fetch{Request: request, Wait: c.wait(a, now), Until: c.until, Begin: a.begin, Done: a.done}
	a.size()
	r.pool.Submit(a.address, &a.fetch)
}

// size makes the request ask for the ask's bytes.
func (a *ask) size() {
	request := a.fetch.Request
	request.MinBytes, request.MaxBytes = int32(min(a.minimum, a.bytes)), int32(a.bytes)
	share := a.bytes
	if !a.parts[0].alone {
		share = max(a.bytes/len(a.parts), min(a.bytes, leastShare))
	}
	for _, p := range a.parts {
		request.AddBlock(p.result.Topic, p.result.Partition, p.next, int32(share), -1)
	}
}

// expansion is how much more memory than log the request's records are likely to take: that of the topic with the most.
func (a *ask) expansion() (most expansion, known bool) {
	most, known = expansion{factor: 1}, true
	last := ""
	for _, p := range a.parts {
		if p.result.Topic == last {
			continue
		}
		last = p.result.Topic
		one, seen := a.call.reader.expansions.of(last)
		most.factor, most.batch, known = max(most.factor, one.factor), max(most.batch, one.batch), known && seen
	}
	return most, known
}

// wait is how long the broker may wait for records. Alone, it is as long as sensible. With several brokers the first to answer ends the
// call, and the requests to the others keep their connections until their wait is over: so all are asked for what they have at first,
// and then wait no longer than half of what the call has taken so far.
func (c *call) wait(a *ask, now time.Time) time.Duration {
	switch {
	case !c.several:
		return longestPoll
	case a.awaited:
		return 0
	default:
		return min(max(now.Sub(c.started)/2, 20*time.Millisecond), longestPoll)
	}
}

// begin reserves room, when there is a connection. Until then nothing is held: a thousand polls that wait hold nothing. Where there is
// less room than was wanted, less is asked for.
func (a *ask) begin() error {
	c, budget := a.call, &a.call.reader.budget
	deadline := c.until
	if least := time.Now().Add(leastRoomWait); least.After(deadline) {
		deadline = least
	}
	taken, err := budget.reserve(c.ctx, deadline, a.account(), a.memory, a.least)
	if err != nil {
		return err
	}
	a.reserved.Store(taken)
	if taken < a.memory {
		a.memory, a.bytes = taken, max(1, int(float64(taken)/a.factor))
		a.size()
	}
	if budget.wanted() {
		a.fetch.Wait = min(a.fetch.Wait, 20*time.Millisecond) // others could use the room
	}
	return nil
}

func (a *ask) account() account { return account{owner: a.call.options.Owner, broker: a.address} }

// done takes the answer. It runs on the pool's goroutine.
func (a *ask) done(response *sarama.FetchResponse, err error) {
	c := a.call
	a.response, a.err = response, err
	if err != nil {
		c.reader.count(err)
	}
	if err != nil || isEmpty(response) {
		a.giveBack() // at once: whoever has the connection next may wait for the room
	}
	if !a.state.CompareAndSwap(underWay, answered) {
		a.giveBack()
		return
	}
	c.mu.Lock()
	c.answers = append(c.answers, a)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// isEmpty reports whether an answer holds no records.
func isEmpty(response *sarama.FetchResponse) bool {
	for _, partitions := range response.Blocks {
		for _, block := range partitions {
			if len(block.RecordsSet) > 0 {
				return false
			}
		}
	}
	return true
}

func (a *ask) giveBack() {
	if reserved := a.reserved.Swap(0); reserved > 0 {
		a.call.reader.budget.arrive(a.account(), reserved, 0)
	}
}

// abandon lets go of what is still under way: requests that wait for a connection are taken back, others end by themselves.
func (c *call) abandon() {
	for _, a := range c.asks {
		waited, silent := c.reader.pool.Withdraw(&a.fetch)
		if !waited {
			silent = a.reserved.Load() >= 0
			if !a.state.CompareAndSwap(underWay, abandoned) {
				a.giveBack()
				continue
			}
		}
		noRoom := (waited || a.reserved.Load() < 0) && c.reader.budget.wanted() // it waits for it, or those who have the connections do
		for _, p := range a.parts {
			if p.answered || !c.enough.IsZero() {
				continue
			}
			if p.unanswered = silent && !noRoom; noRoom {
				c.refused, p.err = errNoRoom, errNoRoom
			}
		}
	}
	c.asks = nil
}

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

// divide lets the halves of a request be asked for apart, so that what cannot be read costs only the partition that has it, and in the
// end only what follows it there.
func (c *call) divide(parts []*part) {
	if len(parts) == 1 {
		parts[0].alone, parts[0].narrow, parts[0].suspect = true, true, suspectBatches
		return
	}
	for _, half := range [][]*part{parts[:len(parts)/2], parts[len(parts)/2:]} {
		c.groups++
		for _, p := range half {
			p.group, p.alone = c.groups, len(half) == 1
		}
	}
}

// giveUp settles a partition whose next batch cannot be read.
func (c *call) giveUp(p *part, err error) {
	c.reader.unreadable.note(p, suspectBatches)
	text := fmt.Sprintf("The batch of partition %s-%d at offset %d cannot be read.", p.result.Topic, p.result.Partition, p.next)
	if errors.Is(err, sarama.ErrDecompressedBatchTooLarge) {
		text += fmt.Sprintf(" It is larger than %d MiB when it is decompressed. Let its producer make smaller batches", kafka.LargestBatch>>20)
	} else {
		text += " It is damaged, or compressed in a way that is not known"
	}
	c.settle(p, fault.Wrap(fault.KafkaFailed, err, text+"; to read on, seek to an offset behind it."))
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

// count tells the observer of an error that Kafka gave, or the way to it.
func (r *Reader) count(err error) { r.countAs("fetch", err) }

func (r *Reader) countAs(operation string, err error) {
	var own *fault.Error
	if r.observer == nil || errors.As(err, &own) && own.Cause == nil || errors.Is(err, sarama.ErrClosedClient) || errors.Is(err, context.Canceled) {
		return // no room, or an end of ours
	}
	r.observer.KafkaError(operation, kafka.ErrorName(err))
}

// fetchVersion is the newest version of the request that both sarama and brokers of a version speak. Older brokers than that lower it.
func fetchVersion(version sarama.KafkaVersion) int16 {
	for _, v := range []struct {
		since   sarama.KafkaVersion
		request int16
	}{{sarama.V2_7_0_0, 12}, {sarama.V2_3_0_0, 11}, {sarama.V2_1_0_0, 10}, {sarama.V2_0_0_0, 8}, {sarama.V1_1_0_0, 7}} {
		if version.IsAtLeast(v.since) {
			return v.request
		}
	}
	return 6
}
