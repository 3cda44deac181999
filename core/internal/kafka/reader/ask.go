package reader

import (
	"context"
	"errors"
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
