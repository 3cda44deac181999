package producer

import (
	"context"
	"math"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka"
	"github.com/weir-gateway/weir/core/internal/record"
)

// Produce takes records and sees to it that each gets exactly one receipt, by a call of delivered with its index. It returns
// when every record has been handed to Kafka's client or has its receipt; receipts come before and after that.
//
// delivered is called from any goroutine, never twice for an index, and for different indexes at the same time. It runs
// where all records of the cluster come back: it must be quick and never wait.
//
// Records of one call that go to one partition keep their order, and so do those of calls that follow each other. ctx bounds
// the looking up of topics and the wait for room, nothing else: what was handed over runs to its own deadline, which is
// produce.timeout after the call. Faults: TopicNotFound, PartitionNotFound, PermissionDenied, RecordTooLarge, Overloaded,
// BrokerNotAvailable, Unavailable, ProduceTimeout, and what Kafka answers.
func (p *Producer) Produce(ctx context.Context, records []record.Record, delivered func(index int, receipt record.Receipt)) {
	if len(records) == 0 {
		return
	}
	c := &call{producer: p, delivered: delivered, records: make([]delivery, len(records)), deadline: time.Now().Add(p.settings.Timeout)}
	c.open.Store(int32(len(records)))
	for i := range c.records {
		c.records[i].call, c.records[i].index = c, i
	}
	if !p.callers.enter() {
		c.refuseAll(errStopping())
		return
	}
	defer p.callers.leave()
	needs := needsOf(records)
	if !p.take(needs.bytes()) {
		c.refuseAll(overloaded())
		return
	}
	c.slab = needs.bytes()
	c.holders.Store(1) // this call of Produce
	defer p.letGo(c)
	p.deadlines.add(c)

	running, err := p.await(ctx)
	if err != nil {
		c.refuseAll(err)
		return
	}
	p.hand(ctx, c, records, needs, running)
}

func (c *call) refuseAll(err *fault.Error) {
	for i := range c.records {
		c.records[i].refuse(err)
	}
}

// hand takes the records of a call one after the other, and those that find no room in a second round.
func (p *Producer) hand(ctx context.Context, c *call, records []record.Record, needs slabNeeds, running *running) {
	stamp := time.Now().Truncate(time.Millisecond)
	headers := needs.headerSpace()
	var last lookup
	var waiting []*delivery
	now := p.now()
	for i := range records {
		r, d := &records[i], &c.records[i]
		if last.name != r.Topic || i == 0 {
			last = p.find(ctx, r.Topic, now)
			now = p.now() // it may have waited, and the wait is not the broker's
		}
		if last.err != nil {
			d.refuse(last.err)
			continue
		}
		if ms := r.Timestamp.UnixMilli(); !r.Timestamp.IsZero() && (ms < 0 || ms > latestTimestamp) {
			d.refuse(fault.Newf(fault.InvalidRequest, "Timestamp %d is out of range: it must be from 0 to %d, in milliseconds since 1970.", ms, int64(latestTimestamp)))
			continue
		}
		d.topic = last.topic
		d.key, d.value = r.Key, r.Value
		d.message = sarama.ProducerMessage{Topic: last.topic.name, Key: (*keyEncoder)(d), Value: (*valueEncoder)(d), Metadata: d, Offset: -1, Timestamp: r.Timestamp}
		if r.Timestamp.IsZero() {
			d.message.Timestamp = stamp
		}
		headers, d.message.Headers = takeHeaders(headers, r)
		d.share = shareOf(r)
		d.size = max(int64(r.Size())+recordOverhead+headerOverhead*int64(len(r.Headers)), int64(d.message.ByteSize(2)))
		size := d.message.ByteSize(2)
		if size > p.settings.MaxRecordBytes {
			d.refuse(fault.Newf(fault.RecordTooLarge, "The record is %d bytes when serialized, which is larger than %d, the most that is accepted here.", size, p.settings.MaxRecordBytes))
			continue
		}
		seen := last.metadata
		id, refusal := p.choose(ctx, r, d, &last, now)
		if last.metadata != seen { // asked for anew, as above
			now = p.now()
		}
		if refusal != nil {
			d.refuse(refusal)
			continue
		}
		if refusal := last.rules.refuse(r, last.name, id, size, p.compressed, stamp); refusal != nil {
			d.refuse(refusal)
			continue
		}
		d.message.Partition = id
		d.partition = last.topic.partition(id)
		if !p.reserve(d) {
			d.refuse(overloaded())
			continue
		}
		if slices.ContainsFunc(waiting, func(w *delivery) bool { return w.partition == d.partition }) {
			waiting = append(waiting, d) // behind one of the same call
			continue
		}
		switch d.partition.admit(d, nil, now, &p.limits, p.wire.broken.Load()) {
		case admitted:
			running.input <- &d.message
		case full:
			waiting = append(waiting, d)
		case stalled:
			p.free(d)
			d.refuse(p.stalledFault(d))
		}
	}
	if len(waiting) > 0 {
		p.wait(ctx, c, waiting, running)
	}
}

// latestTimestamp is in the year 2262. sarama counts nanoseconds in between, and what is later would become any other time.
const latestTimestamp = math.MaxInt64 / 1_000_000

// lookup is a topic as a call sees it.
type lookup struct {
	name     string
	metadata *kafka.Topic
	topic    *topic
	rules    *rules
	err      *fault.Error
}

// find looks a topic up.
func (p *Producer) find(ctx context.Context, name string, now int64) lookup {
	metadata, known := p.client.Cached(name)
	if !known {
		began := time.Now()
		asking, cancel := p.untilStopped(ctx)
		defer cancel()
		var err error
		if metadata, err = p.client.Topic(asking, name); err != nil {
			return lookup{name: name, err: p.absent(name, began, err)}
		}
	}
	t := p.topic(name)
	r := p.rulesOf(t, metadata.ID, now)
	return lookup{name: name, metadata: metadata, topic: t, rules: r}
}

// untilStopped is a caller's context that Close ends too: what a call waits for must not hold up the end.
func (p *Producer) untilStopped(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(p.stopping, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// absent words the error of a look-up as producers know it.
func (p *Producer) absent(name string, began time.Time, err error) *fault.Error {
	if p.stopping.Err() != nil {
		return errStopping()
	}
	f := kafka.Fault(err)
	if f.Code == fault.UnknownTopic {
		return fault.Wrap(fault.TopicNotFound, f, "Topic "+name+" not present in metadata after "+strconv.FormatInt(time.Since(began).Milliseconds(), 10)+" ms.")
	}
	return f
}

// choose gives a record's partition.
func (p *Producer) choose(ctx context.Context, r *record.Record, d *delivery, l *lookup, now int64) (int32, *fault.Error) {
	count := len(l.metadata.Partitions)
	switch {
	case count == 0:
		return 0, kafka.Fault(sarama.ErrLeaderNotAvailable)
	case r.Partition >= 0 && int(r.Partition) < count:
		return r.Partition, nil
	case r.Partition >= 0:
		return p.beyond(ctx, r, l)
	case r.Partition != record.AnyPartition:
		return 0, fault.New(fault.PartitionNotFound, "Partition not found.")
	case r.Key != nil:
		return partitionForKey(r.Key, count), nil
	default:
		return l.topic.choose(d.size, now, l.metadata, &p.limits), nil
	}
}

// beyond is the choice of a partition that the topic did not have: it may have grown.
func (p *Producer) beyond(ctx context.Context, r *record.Record, l *lookup) (int32, *fault.Error) {
	began := time.Now()
	if time.Since(l.metadata.Fetched) > max(p.settings.UnknownTopicTTL, 100*time.Millisecond) {
		asking, cancel := p.untilStopped(ctx)
		defer cancel()
		grown, err := p.client.Refresh(asking, l.name)
		if err != nil {
			return 0, p.absent(l.name, began, err)
		}
		l.metadata = grown
	}
	if int(r.Partition) < len(l.metadata.Partitions) {
		return r.Partition, nil
	}
	return 0, fault.Newf(fault.TopicNotFound, "Partition %d of topic %s with partition count %d is not present in metadata after %d ms.",
		r.Partition, l.name, len(l.metadata.Partitions), time.Since(began).Milliseconds())
}

// take takes bytes of the budget.
func (p *Producer) take(bytes int64) bool {
	if p.bytes.Add(bytes) > p.budget {
		p.bytes.Add(-bytes)
		return false
	}
	return true
}

// reserve takes a record's part of the byte budget; its share of the call's slabs was taken with the call.
func (p *Producer) reserve(d *delivery) bool {
	if !p.take(d.size - d.share) {
		return false
	}
	p.records.Add(1)
	d.call.holders.Add(1)
	return true
}

// letGo ends one holder's use of a call's slabs. They stay in memory until the last record of the call is back, and so they
// are counted until then.
func (p *Producer) letGo(c *call) {
	if c.holders.Add(-1) == 0 {
		p.bytes.Add(-c.slab)
	}
}

func overloaded() *fault.Error {
	return &fault.Error{Code: fault.Overloaded, RetryAfter: time.Second,
		Message: "The gateway's buffers for records are full. Nothing was written; send the record again a little later."}
}

func (p *Producer) stalledFault(d *delivery) *fault.Error {
	return &fault.Error{Code: fault.BrokerNotAvailable, RetryAfter: time.Second, Message: "Partition " + d.topic.name + "-" + strconv.Itoa(int(d.partition.id)) +
		" has had no answer from its broker for more than " + p.settings.StallTimeout.String() + ". Nothing was written; send the record again later."}
}

// wait hands over the records for which there was no room, in order for each partition, as room comes.
func (p *Producer) wait(ctx context.Context, c *call, waiting []*delivery, running *running) {
	place := &waiter{wake: make(chan struct{}, 1)}
	var queues []*partition // where this call stands in the queue
	defer func() {
		for _, q := range queues {
			q.leave(place)
		}
	}()
	for _, d := range waiting {
		if !slices.Contains(queues, d.partition) {
			queues = append(queues, d.partition)
			d.partition.enqueue(place)
		}
	}
	deadline := time.NewTimer(time.Until(c.deadline))
	defer deadline.Stop()
	// Room is signalled; that a partition has become stalled is not.
	tick := time.NewTicker(max(p.settings.StallTimeout/20, 5*time.Millisecond))
	defer tick.Stop()
	for {
		waiting = p.admitWaiting(place, waiting, running)
		queues = slices.DeleteFunc(queues, func(q *partition) bool {
			if slices.ContainsFunc(waiting, func(d *delivery) bool { return d.partition == q }) {
				return false
			}
			q.leave(place)
			return true
		})
		if len(waiting) == 0 {
			return
		}
		var refusal *fault.Error
		select {
		case <-place.wake:
			continue
		case <-tick.C:
			continue
		case <-ctx.Done():
			refusal = fault.From(ctx.Err())
		case <-deadline.C:
			refusal = fault.Newf(fault.ProduceTimeout, "There was no room for the record within %d ms. Nothing was written; send it again later.", p.settings.Timeout.Milliseconds())
		case <-p.stopping.Done():
			refusal = errStopping()
		}
		for _, d := range waiting {
			p.free(d)
			d.refuse(refusal)
		}
		return
	}
}

// admitWaiting is one round over the records that wait. It gives those that still have to.
func (p *Producer) admitWaiting(place *waiter, waiting []*delivery, running *running) []*delivery {
	now := p.now()
	still := waiting[:0]
	for _, d := range waiting {
		if slices.ContainsFunc(still, func(w *delivery) bool { return w.partition == d.partition }) {
			still = append(still, d)
			continue
		}
		switch d.partition.admit(d, place, now, &p.limits, p.wire.broken.Load()) {
		case admitted:
			running.input <- &d.message
		case full:
			still = append(still, d)
		case stalled:
			p.free(d)
			d.refuse(p.stalledFault(d))
		}
	}
	return still
}

// callers counts the Produce calls that are handing over, so that Close can wait for them: a record must not reach sarama
// after it was told to end.
type callers struct {
	mu     sync.RWMutex
	closed bool
}

func (c *callers) enter() bool {
	c.mu.RLock()
	if c.closed {
		c.mu.RUnlock()
		return false
	}
	return true
}

func (c *callers) leave() { c.mu.RUnlock() }

// shut turns new calls away. What it gives is closed when the last call has left.
func (c *callers) shut() <-chan struct{} {
	left := make(chan struct{})
	go func() { // ends with the last call; none of them waits for anything but its own callback once the producer stops
		c.mu.Lock()
		c.closed = true
		c.mu.Unlock()
		close(left)
	}()
	return left
}

// slabNeeds is what a call allocates at once for all of its records.
type slabNeeds struct {
	records int
	headers int
	names   int // bytes
}

func needsOf(records []record.Record) slabNeeds {
	n := slabNeeds{records: len(records)}
	for i := range records {
		n.headers += len(records[i].Headers)
		for j := range records[i].Headers {
			n.names += len(records[i].Headers[j].Name)
		}
	}
	return n
}

func (n slabNeeds) bytes() int64 {
	return int64(n.records)*deliveryBytes + int64(n.headers)*headerOverhead + int64(n.names)
}

// shareOf is a record's share of its call's slabs.
func shareOf(r *record.Record) int64 {
	share := deliveryBytes + headerOverhead*int64(len(r.Headers))
	for i := range r.Headers {
		share += int64(len(r.Headers[i].Name))
	}
	return share
}

// headerSpace is where the headers of a call's records and their names go.
type headerSpace struct {
	headers []sarama.RecordHeader
	names   []byte
}

func (n slabNeeds) headerSpace() headerSpace {
	if n.headers == 0 {
		return headerSpace{}
	}
	return headerSpace{headers: make([]sarama.RecordHeader, 0, n.headers), names: make([]byte, 0, n.names)}
}

func takeHeaders(s headerSpace, r *record.Record) (headerSpace, []sarama.RecordHeader) {
	if len(r.Headers) == 0 {
		return s, nil
	}
	from := len(s.headers)
	for i := range r.Headers {
		start := len(s.names)
		s.names = append(s.names, r.Headers[i].Name...)
		s.headers = append(s.headers, sarama.RecordHeader{Key: s.names[start:len(s.names):len(s.names)], Value: r.Headers[i].Value})
	}
	return s, s.headers[from:len(s.headers):len(s.headers)]
}

// Dial is never called.
func (noDialer) Dial(string, string) (net.Conn, error) { return nil, net.ErrClosed }
