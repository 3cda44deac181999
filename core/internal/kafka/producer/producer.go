// Package producer is the way of records into one Kafka cluster: it chooses partitions, bounds what is on its way, hands
// records to sarama's AsyncProducer, and says of every record, once, what became of it.
//
// The promise is about outcomes: Persisted is only said when every in-sync replica acknowledged, NotPersisted only when the
// record cannot be in the log now or later, and everything else is Unknown. It rests on three things: sarama asks for a
// record's bytes only when it puts it into a batch, so a record whose bytes were never asked for was never sent; every
// broker's answer is looked at, also those that sarama tries again after; and a client's going away changes nothing once a
// record was handed over.
//
// The bounds are per topic-partition, so that a broker that hangs stops its own partitions and no others: sarama's channels
// are larger than what a partition may hold, and its one waiting point for a whole broker, a batch that grows beyond the
// largest record size while the one before it is tried again, is kept out of reach by never letting a partition hold more
// than that.
package producer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka"
)

// Producer hands records to one cluster. It is safe for concurrent use.
type Producer struct {
	client   *kafka.Client
	settings config.Produce
	observer kafka.Observer
	logger   *slog.Logger
	limits   limits
	budget   int64
	// compressed: how large a record is on the wire is not known before.
	compressed bool
	start      time.Time // the origin of the producer's clock

	cluster   *cluster
	wire      *wire
	deadlines *deadlines

	async    atomic.Pointer[running]
	attempt  atomic.Pointer[attempt] // the last attempt to start sarama's producer
	tried    chan struct{}           // closed when the first attempt has ended
	stopping context.Context         // ends when Close begins: nothing new is taken
	stop     context.CancelFunc
	quit     chan struct{} // closed when the background goroutines are to end
	launched chan struct{} // closed when no further attempt to start sarama's producer will be made
	closing  sync.Once
	closed   error
	drained  chan struct{} // a signal that the last record has come back
	routines sync.WaitGroup
	callers  callers

	records atomic.Int64 // taken and not yet given back by sarama, or still waiting for room
	bytes   atomic.Int64

	mu     sync.RWMutex
	topics map[string]*topic
}

// running is sarama's producer once it could be started.
type running struct {
	producer sarama.AsyncProducer
	input    chan<- *sarama.ProducerMessage
}

// attempt is the result of trying to start sarama's producer.
type attempt struct{ err error }

const (
	// recordOverhead is what a record holds beside its bytes: our bookkeeping, sarama's and its encoded header.
	recordOverhead = 512
	// deliveryBytes is the part of it that is a delivery.
	deliveryBytes = 320
	// headerOverhead is what a header holds beside its bytes: sarama's struct, a pointer to it, and its lengths when encoded.
	headerOverhead = 64
)

// New starts a producer. It does not wait for the cluster: sarama's producer, which needs a producer id from a broker, is
// started in the background as soon as there is one. observer may be nil.
func New(client *kafka.Client, settings config.Produce, observer kafka.Observer) (*Producer, error) {
	p := &Producer{
		client: client, settings: settings, observer: observer, logger: client.Logger(),
		start:     time.Now(),
		budget:    settings.BufferBytes,
		deadlines: newDeadlines(),
		tried:     make(chan struct{}),
		quit:      make(chan struct{}),
		launched:  make(chan struct{}),
		drained:   make(chan struct{}, 1),
		topics:    map[string]*topic{},
	}
	p.stopping, p.stop = context.WithCancel(context.Background())
	p.compressed = settings.Compression != "" && settings.Compression != "none"
	if p.budget <= 0 {
		p.budget = config.DefaultBuffer()
	}
	p.limits = limits{
		records: int64(settings.PartitionRecords),
		bytes:   min(settings.PartitionBytes, int64(settings.MaxRecordBytes)),
		stall:   int64(settings.StallTimeout),
	}
	config := client.ProducerConfig(settings, settings.PartitionRecords)
	config.Producer.Partitioner = newChosen
	config.Net.Proxy.Dialer = noDialer{} // each connection gets its own
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("produce settings: %w", err)
	}
	p.wire = &wire{answered: func(topic string, partition int32, a batchAnswer) {
		if a.code == 0 {
			return
		}
		p.observe(sarama.KError(a.code))
		t := p.topic(topic)
		state := t.partition(partition)
		// A batch of one is a record that is too large.
		if sarama.KError(a.code) == sarama.ErrMessageSizeTooLarge && state.records.Load() > 1 {
			a.split = t.shrink(min(p.limits.bytes, state.bytes.Load()))
		}
		state.answered(a)
	}}
	p.cluster = newCluster(p, client, config)
	p.routines.Add(2)
	go func() {
		defer p.routines.Done()
		defer close(p.launched)
		p.launch()
	}()
	go func() {
		defer p.routines.Done()
		p.deadlines.run(p.quit, p.expire)
	}()
	return p, nil
}

// noDialer stands in a configuration that is only validated.
type noDialer struct{}

// launch starts sarama's producer, trying until it can or the producer is closed.
func (p *Producer) launch() {
	select {
	case <-p.client.Reached():
	case <-p.stopping.Done():
		return
	}
	backoff := 50 * time.Millisecond
	for {
		producer, err := sarama.NewAsyncProducerFromClient(p.cluster)
		if err == nil {
			p.async.Store(&running{producer: producer, input: producer.Input()})
			p.routines.Add(2)
			go p.takeSuccesses(producer.Successes())
			go p.takeErrors(producer.Errors())
			p.attempt.Store(&attempt{})
		} else {
			if previous := p.attempt.Load(); previous == nil || previous.err.Error() != err.Error() {
				p.logger.Warn("cannot start producing", "error", err)
			}
			p.observe(err)
			p.attempt.Store(&attempt{err: err})
		}
		select {
		case <-p.tried:
		default:
			close(p.tried)
		}
		if err == nil {
			return
		}
		timer := time.NewTimer(backoff)
		select {
		case <-p.stopping.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		backoff = min(2*backoff, 3*time.Second)
	}
}

// Ready is nil when records can be handed over, and otherwise says why not.
func (p *Producer) Ready() error {
	if p.async.Load() != nil {
		return nil
	}
	if err := p.client.Ready(); err != nil {
		return err
	}
	if a := p.attempt.Load(); a != nil && a.err != nil {
		text := ""
		if errors.Is(a.err, sarama.ErrClusterAuthorizationFailed) {
			text = " (grant the gateway's principal WRITE on the topics that it serves, or IDEMPOTENT_WRITE on the cluster)"
		}
		return fmt.Errorf("cluster %q: no producer id: %w%s", p.client.Name(), a.err, text)
	}
	return fmt.Errorf("cluster %q: the producer is starting", p.client.Name())
}

// Buffered is what is on its way: records that were taken and that sarama has not given back, and what they hold in memory.
func (p *Producer) Buffered() (records int64, bytes int64) { return p.records.Load(), p.bytes.Load() }

// await gives sarama's producer, and waits for it only while it was never tried.
func (p *Producer) await(ctx context.Context) (*running, *fault.Error) {
	if r := p.async.Load(); r != nil {
		return r, nil
	}
	asking, cancel := p.untilStopped(ctx)
	defer cancel()
	if err := p.client.Await(asking); err != nil {
		if p.stopping.Err() != nil {
			return nil, errStopping()
		}
		return nil, kafka.Fault(err)
	}
	timer := time.NewTimer(p.settings.StallTimeout)
	defer timer.Stop()
	select {
	case <-p.tried:
	case <-timer.C:
	case <-ctx.Done():
		return nil, fault.From(ctx.Err())
	case <-p.stopping.Done():
		return nil, errStopping()
	}
	if r := p.async.Load(); r != nil {
		return r, nil
	}
	if a := p.attempt.Load(); a != nil && a.err != nil {
		f := kafka.Fault(a.err)
		if f.Code == fault.Internal {
			f = fault.Wrap(fault.BrokerNotAvailable, a.err, "The broker is not available.")
		}
		return nil, f
	}
	return nil, fault.New(fault.BrokerNotAvailable, "The broker is not available.")
}

func errStopping() *fault.Error {
	return fault.New(fault.Unavailable, "The gateway is shutting down. Send the record to another instance, or again later.")
}

// takeSuccesses and takeErrors empty sarama's two channels. They must keep up: sarama waits for them.
func (p *Producer) takeSuccesses(successes <-chan *sarama.ProducerMessage) {
	defer p.routines.Done()
	for message := range successes {
		d := message.Metadata.(*delivery)
		d.succeeded()
		p.takeBack(d)
	}
}

func (p *Producer) takeErrors(failures <-chan *sarama.ProducerError) {
	defer p.routines.Done()
	for failure := range failures {
		d := failure.Msg.Metadata.(*delivery)
		reason := rejection{}
		var code sarama.KError
		if errors.As(failure.Err, &code) {
			reason = d.partition.rejectionFor(int16(code), d.size) // also for records whose client is gone: places are counted
		} else if !errors.Is(failure.Err, errAbandoned) {
			p.observe(failure.Err)
		}
		d.failed(failure.Err, reason, p.doubts(d.partition) != d.doubts)
		p.takeBack(d)
	}
}

func (p *Producer) doubts(partition *partition) uint64 {
	return partition.doubts.Load() + p.wire.broken.Load()
}

// takeBack frees what a record held. Its bytes are let go even while others of its call are still on their way.
func (p *Producer) takeBack(d *delivery) {
	d.partition.release(d)
	d.key, d.value = nil, nil
	d.message.Headers = nil
	p.free(d)
}

func (p *Producer) free(d *delivery) {
	p.bytes.Add(d.share - d.size)
	p.letGo(d.call)
	if p.records.Add(-1) == 0 {
		select {
		case p.drained <- struct{}{}:
		default:
		}
	}
}

// expire answers whatever of a call is still open at its deadline.
func (p *Producer) expire(c *call) {
	err := fault.Newf(fault.ProduceTimeout, "Kafka gave no answer for the record within %d ms.", p.settings.Timeout.Milliseconds())
	for i := range c.records {
		c.records[i].expire(err)
	}
}

// topic gives the state of a topic that the cluster has.
func (p *Producer) topic(name string) *topic {
	p.mu.RLock()
	t := p.topics[name]
	p.mu.RUnlock()
	if t != nil {
		return t
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if t = p.topics[name]; t == nil {
		t = newTopic(name)
		p.topics[name] = t
	}
	return t
}

// now is the producer's clock: nanoseconds since it started, never 0.
func (p *Producer) now() int64 { return int64(time.Since(p.start)) + 1 }

func (p *Producer) observe(err error) {
	if p.observer != nil {
		p.observer.KafkaError("produce", kafka.ErrorName(err))
	}
}

// Close takes no further records, waits until Kafka has answered all that were taken, and ends. When ctx ends first, the
// connections are cut and the rest is answered: Unknown, or NotPersisted where that is sure.
func (p *Producer) Close(ctx context.Context) error {
	p.closing.Do(func() { p.closed = p.close(ctx) })
	return p.closed
}

func (p *Producer) close(ctx context.Context) error {
	p.stop()
	left := p.callers.shut()
	select {
	case <-left:
	case <-ctx.Done():
	}
	err := p.drain(ctx)
	if err != nil || p.async.Load() == nil {
		_ = p.cluster.Close() // whatever sarama waits for ends now
		p.abandon()
	}
	grace := time.NewTimer(closeGrace)
	defer grace.Stop()
	late := func() error {
		return errors.Join(err, fmt.Errorf("cluster %q: sarama's producer did not end within %s", p.client.Name(), closeGrace))
	}
	select {
	case <-left: // before that, a record could still reach sarama's producer, which must not have ended then
	case <-grace.C:
		return late()
	}
	if err != nil {
		p.abandon() // what was let in meanwhile
	}
	select {
	case <-p.launched:
	case <-grace.C:
		return late()
	}
	if r := p.async.Load(); r != nil {
		r.producer.AsyncClose()
	}
	close(p.quit)
	finished := make(chan struct{})
	go func() { // ends with sarama's goroutines, which end when their connections do
		p.routines.Wait()
		_ = p.cluster.Close()
		close(finished)
	}()
	select {
	case <-finished:
		return err
	case <-grace.C:
		return late()
	}
}

// closeGrace is the wait for sarama's goroutines once nothing is on its way any more.
const closeGrace = 5 * time.Second

// drain waits until nothing is on its way.
func (p *Producer) drain(ctx context.Context) error {
	for p.records.Load() > 0 {
		select {
		case <-p.drained:
		case <-ctx.Done():
			if n := p.records.Load(); n > 0 {
				return fmt.Errorf("cluster %q: %d records had no answer when the time to close was over: %w", p.client.Name(), n, ctx.Err())
			}
		}
	}
	return nil
}

// abandon answers every record that has no answer.
func (p *Producer) abandon() {
	err := fault.New(fault.ProduceTimeout, "The gateway shut down before Kafka had answered for the record.")
	for {
		p.deadlines.mu.Lock()
		c := p.deadlines.oldest
		p.deadlines.mu.Unlock()
		if c == nil {
			return
		}
		for i := range c.records {
			c.records[i].expire(err)
		}
		p.deadlines.remove(c)
	}
}
