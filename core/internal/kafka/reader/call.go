package reader

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka"
	"github.com/weir-gateway/weir/core/internal/record"
)

const (
	longestPoll = 500 * time.Millisecond // of one request that waits at a broker
	// grace is how much longer than Wait a call may take: answers that brokers give at its end are on their way then.
	grace = 250 * time.Millisecond
	// With data at hand, a call waits this long for brokers that have not answered at all yet.
	shortestSettle, longestSettle = 25 * time.Millisecond, 100 * time.Millisecond
	aloneSettle                   = 500 * time.Millisecond
	leastRoomWait                 = 100 * time.Millisecond
	leastRetry                    = 150 * time.Millisecond // a leader that moved is asked again even when Wait is shorter
	firstPause, longestPause      = 25 * time.Millisecond, 400 * time.Millisecond
	leastRenewal                  = 50 * time.Millisecond // between two questions about where a topic is
	shortestPoll                  = 2 * time.Millisecond
	fewPositions                  = 16 // up to so many, comparing each with all is cheaper than a map
	// leastShare is the least to ask of a partition if the call may have that much: a batch of most producers fits.
	leastShare = 64 << 10
	// largestFetch leaves room for one batch beyond it: sarama refuses answers of 100 MiB and more.
	largestFetch = 64 << 20
)

// part is one partition of a call.
type part struct {
	result *Result
	next   int64

	asked      bool // at least once
	out        bool // a request with it is under way
	answered   bool // by its leader, without an error
	settled    bool // an error that waiting cannot cure
	alone      bool // is asked in a request of its own
	narrow     bool // is asked for no more than its next batch, since something in what follows cannot be read
	suspect    int  // how many more batches are asked for one at a time once it gets on
	group      int  // of those that are asked in one request, apart from others, to find which cannot be read; 0: is in none
	forced     bool // is asked again at once, also when the call has data
	unanswered bool // its broker had the request and did not answer in time
	broken     bool // its broker could not be reached
	more       int  // bytes its next batch needs, when they are known to be more than its share
	failures   int
	retryAt    time.Time
	err        error
}

// call is one Fetch. It belongs to the goroutine of its caller; only answers come from others.
type call struct {
	reader  *Reader
	ctx     context.Context
	options Options
	started time.Time
	until   time.Time // Wait is over
	limit   time.Time // the call ends
	parts   []part
	results []Result
	turn    int

	groups   int  // that there have been
	several  bool // more than one request was under way at a time
	live     int  // parts that are not settled
	asks     []*ask
	gathered int       // bytes in the log
	held     int64     // bytes in memory, taken from the budget
	enough   time.Time // when the call had what it needs
	refused  error     // there was no room for an answer
	fatal    error     // nothing more can be asked

	topic *kafka.Topic // the last one that was looked up

	mu      sync.Mutex
	answers []*ask
	wake    chan struct{}
}

func (r *Reader) newCall(positions []record.Position, options Options) (*call, error) {
	options.Wait = max(0, options.Wait)
	options.MinBytes = max(1, options.MinBytes)
	if options.MaxBytes <= 0 {
		options.MaxBytes = r.fetchBytes
	}
	now := time.Now()
	c := &call{
		reader: r, options: options, started: now, until: now.Add(options.Wait), live: len(positions),
		parts: make([]part, len(positions)), results: make([]Result, len(positions)),
		turn: int(r.turn.Add(1) & 0xffffff), wake: make(chan struct{}, 1),
	}
	c.limit = c.until.Add(max(grace, options.Patience))
	var seen map[record.TopicPartition]struct{}
	if len(positions) > fewPositions {
		seen = make(map[record.TopicPartition]struct{}, len(positions))
	}
	for i, at := range positions {
		name := record.TopicPartition{Topic: at.Topic, Partition: at.Partition}
		var twice bool
		if seen != nil {
			_, twice = seen[name]
			seen[name] = struct{}{}
		} else {
			twice = slices.ContainsFunc(positions[:i], func(other record.Position) bool {
				return other.Partition == at.Partition && other.Topic == at.Topic
			})
		}
		if twice {
			return nil, fault.Newf(fault.InvalidRequest, "Partition %s-%d is read twice in one call. Name it once.", at.Topic, at.Partition)
		}
		c.results[i] = Result{
			Range:    record.Range{TopicPartition: name, Start: at.Offset, End: at.Offset},
			LogStart: -1, HighWatermark: -1, Readable: -1,
		}
		c.parts[i] = part{result: &c.results[i], next: at.Offset}
	}
	r.unreadable.mark(c.parts, now)
	return c, nil
}

// run asks until there is enough or the time is over.
func (c *call) run() error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if err := c.ctx.Err(); err != nil {
			return fault.From(err)
		}
		if c.fatal != nil {
			return c.fatal
		}
		if c.enough.IsZero() && c.satisfied() {
			c.enough = time.Now()
		}
		c.dispatch()
		now := time.Now()
		at, over := c.next(now)
		if over {
			return nil
		}
		timer.Reset(at.Sub(now))
		select {
		case <-c.wake:
		case <-timer.C:
		case <-c.ctx.Done():
		}
		for _, a := range c.arrived() {
			c.receive(a)
		}
	}
}

// satisfied reports whether the call has what it waits for: the bytes, or an error that waiting cannot cure.
func (c *call) satisfied() bool {
	return c.gathered >= min(c.options.MinBytes, c.options.MaxBytes) || c.live < len(c.parts) || len(c.parts) == 0
}

// next is when to look again if nothing comes, or that the call is over.
func (c *call) next(now time.Time) (at time.Time, over bool) {
	if !c.enough.IsZero() {
		settle := c.settleTime()
		return settle, settle.IsZero() || !now.Before(settle) || !now.Before(c.limit)
	}
	if !now.Before(c.limit) {
		return now, true
	}
	at = c.limit
	if now.Before(c.until) {
		at = c.until
	}
	retrying, last := false, c.lastRetry()
	for i := range c.parts {
		p := &c.parts[i]
		if !p.out && !p.settled && p.err != nil && p.retryAt.Before(last) && now.Before(last) {
			retrying = true
			if p.retryAt.Before(at) {
				at = p.retryAt
			}
		}
	}
	return at, !now.Before(c.until) && len(c.asks) == 0 && !retrying
}

// lastRetry is until when what failed is asked for again.
func (c *call) lastRetry() time.Time {
	if least := c.started.Add(leastRetry); least.After(c.until) {
		return least
	}
	return c.until
}

// settleTime is until when a call that has enough waits for the answers that are out: for a broker's first a little, and longer for one
// that a partition needs to get anywhere, from a broker that has just answered. It is zero when there are none of those.
func (c *call) settleTime() (until time.Time) {
	for _, a := range c.asks {
		switch {
		case a.parts[0].alone, a.parts[0].group != 0:
			return c.enough.Add(aloneSettle)
		case a.awaited:
			until = c.enough.Add(min(max(c.enough.Sub(c.started), shortestSettle), longestSettle))
		}
	}
	return until
}

// arrived gives the answers that have come.
func (c *call) arrived() []*ask {
	c.mu.Lock()
	defer c.mu.Unlock()
	answers := c.answers
	c.answers = nil
	return answers
}

// locate gives the address of a partition's leader. When it cannot, the partition has its error.
func (c *call) locate(p *part) (address string, found bool) {
	client, name := c.reader.client, p.result.Topic
	topic := c.topic
	if topic == nil || topic.Name != name || p.failures > 0 {
		var err error
		if topic, err = c.lookup(name); err != nil {
			c.fail(p, err)
			return "", false
		}
		c.topic = topic
	}
	partition := int(p.result.Partition)
	if partition < 0 || partition >= len(topic.Partitions) {
		err := fault.Newf(fault.PartitionNotFound, "Partition %s-%d does not exist.", name, partition)
		if partition < 0 || topic.Fetched.After(c.started) {
			c.settle(p, err)
		} else {
			c.postpone(p, err) // it may have been added lately
		}
		return "", false
	}
	leader := topic.Partitions[partition].Leader
	if leader < 0 {
		c.postpone(p, kafka.Fault(sarama.ErrLeaderNotAvailable))
		return "", false
	}
	if address, found = client.Address(leader); !found {
		p.broken = true
		c.postpone(p, kafka.Fault(sarama.ErrBrokerNotAvailable))
	}
	return address, found
}

func (c *call) lookup(name string) (*kafka.Topic, error) {
	if topic, cached := c.reader.client.Cached(name); cached {
		return topic, nil
	}
	ctx, cancel := context.WithDeadline(c.ctx, c.limit)
	defer cancel()
	topic, err := c.reader.client.Topic(ctx, name)
	if err != nil && c.ctx.Err() == nil && ctx.Err() != nil {
		return nil, kafka.Fault(sarama.ErrBrokerNotAvailable)
	}
	return topic, err
}

// fail gives a partition an error: for the time being if Kafka calls it retriable, otherwise for good.
func (c *call) fail(p *part, err error) {
	f := kafka.Fault(err)
	switch {
	case f.Code == fault.BrokerNotAvailable:
		p.broken = true
		c.postpone(p, f)
	case f.Code.Retriable(), kafka.Retriable(err) && f.Code != fault.UnknownTopic:
		c.postpone(p, f)
	default:
		c.settle(p, f)
	}
}

// settle gives a partition its error for good.
func (c *call) settle(p *part, err error) {
	p.err, p.settled = err, true
	c.live--
}

// postpone lets a partition be asked again after a pause, of the leader that it has then.
func (c *call) postpone(p *part, err error) {
	p.err = err
	p.retryAt = time.Now().Add(min(firstPause<<min(p.failures, 10), longestPause))
	p.failures++
	if topic, cached := c.reader.client.Cached(p.result.Topic); cached && time.Since(topic.Fetched) < leastRenewal {
		return // many may be waiting for the same election
	}
	c.reader.client.Renew(p.result.Topic)
}

// conclude fills in what the results lack, and gives the error of the call as a whole.
func (c *call) conclude() error {
	if c.refused != nil && c.gathered == 0 {
		c.lookForEnds()
	}
	nothing, silent, unreachable := true, true, true
	for i := range c.parts {
		p := &c.parts[i]
		p.result.End = p.next
		if p.err == nil && p.unanswered {
			p.err = kafka.Fault(sarama.ErrRequestTimedOut)
		}
		if p.err != nil {
			p.result.Err = p.err
		}
		silent = silent && !p.answered
		nothing = nothing && p.next == p.result.Start && !p.settled
		unreachable = unreachable && p.err != nil && (p.broken || p.unanswered)
	}
	switch {
	case len(c.parts) == 0 || !nothing:
	case c.refused != nil && silent:
		return c.refused
	case unreachable:
		return fault.Wrap(fault.BrokerNotAvailable, errors.Unwrap(c.parts[0].err), "The broker is not available.")
	}
	c.explainRange()
	return nil
}
