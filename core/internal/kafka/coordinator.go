package kafka

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/internal/fault"
)

const (
	// heldReadTimeout is what a connection to a coordinator waits for an answer at most. A JoinGroup is answered when every other
	// member has joined too, and those may take five minutes; whoever makes a call bounds it by its context.
	heldReadTimeout = 40 * time.Minute
	// maxCoordinators bounds what is remembered; any may be forgotten, it is found again.
	maxCoordinators   = 10_000
	coordinatorPause  = 50 * time.Millisecond
	longestCoordPause = time.Second
)

// Coordinators finds the brokers that coordinate consumer groups, and connects to them. It is for the consumer room, and safe
// for concurrent use.
//
// A member of a group has a connection of its own (Connect): a JoinGroup holds up everything behind it until the whole group has
// joined. What must not wait for that goes over the client's pool (Call).
type Coordinators struct {
	client *Client
	pool   *pool // of connections that are held; none is ever idle in it

	mu    sync.Mutex
	known map[string]int32
}

// NewCoordinators gives the coordinators of a client's cluster. It needs no broker to be there.
func NewCoordinators(client *Client) *Coordinators {
	base := *client.base
	base.Net.ReadTimeout = heldReadTimeout
	return &Coordinators{client: client, pool: newPool(&base, client.security), known: map[string]int32{}}
}

// Close breaks every connection that is still open.
func (c *Coordinators) Close() { c.pool.close() }

// Find gives the node that coordinates a group, from memory if it is known there. It asks again while the cluster has none, until
// ctx ends. Errors: PermissionDenied, BrokerNotAvailable, KafkaRetriable, and what else Kafka answers.
func (c *Coordinators) Find(ctx context.Context, group string) (node int32, err error) {
	c.mu.Lock()
	node, known := c.known[group]
	c.mu.Unlock()
	if known {
		return node, nil
	}
	return c.Look(ctx, group)
}

// Look is Find without the memory.
func (c *Coordinators) Look(ctx context.Context, group string) (node int32, err error) {
	for pause := coordinatorPause; ; pause = min(2*pause, longestCoordPause) {
		node, err = c.ask(ctx, group)
		if err == nil {
			c.learn(group, node)
			return node, nil
		}
		code, answered := codeOf(err)
		waits := answered && (code == sarama.ErrConsumerCoordinatorNotAvailable || code == sarama.ErrOffsetsLoadInProgress)
		if !waits || !rest(ctx, pause) {
			return 0, err
		}
	}
}

func (c *Coordinators) ask(ctx context.Context, group string) (int32, error) {
	var response *sarama.FindCoordinatorResponse
	err := c.client.Call(ctx, AnyBroker, true, func(b *sarama.Broker) error {
		request := &sarama.FindCoordinatorRequest{CoordinatorKey: group, CoordinatorType: sarama.CoordinatorGroup, Version: 1}
		if c.client.base.Version.IsAtLeast(sarama.V2_0_0_0) {
			request.Version = 2
		}
		var err error
		response, err = b.FindCoordinator(request)
		return err
	})
	if err != nil {
		return 0, err
	}
	if response.Err != sarama.ErrNoError {
		return 0, CodeFault(int16(response.Err), deref(response.ErrMsg), nil)
	}
	if response.Coordinator == nil || response.Coordinator.ID() < 0 {
		return 0, CodeFault(int16(sarama.ErrConsumerCoordinatorNotAvailable), "", nil)
	}
	c.client.meet(response.Coordinator.ID(), response.Coordinator.Addr())
	return response.Coordinator.ID(), nil
}

func (c *Coordinators) learn(group string, node int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for other := range c.known {
		if len(c.known) < maxCoordinators {
			break
		}
		delete(c.known, other)
	}
	c.known[group] = node
}

// Forget makes the next Find ask, if node is what is remembered: it turned out not to be the coordinator, or not to answer.
func (c *Coordinators) Forget(group string, node int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known[group] == node {
		delete(c.known, group)
	}
}

// Call sends requests to the coordinator of a group over the client's pool. They may be sent twice when a connection turns out to
// be broken. What was remembered of the coordinator is forgotten after an error that may be due to it.
func (c *Coordinators) Call(ctx context.Context, group string, call func(*sarama.Broker) error) error {
	node, err := c.Find(ctx, group)
	if err != nil {
		return err
	}
	err = c.client.Call(ctx, node, true, call)
	if err != nil && moved(err) {
		c.Forget(group, node)
	}
	return err
}

// moved reports whether an error may mean that another broker coordinates the group.
func moved(err error) bool {
	code, answered := codeOf(err)
	return !answered || code == sarama.ErrNotCoordinatorForConsumer || code == sarama.ErrConsumerCoordinatorNotAvailable ||
		code == sarama.ErrNetworkException
}

// Connect makes a connection to a node that belongs to the caller, who closes it. Error: BrokerNotAvailable, or the refusal of
// SASL.
func (c *Coordinators) Connect(ctx context.Context, node int32) (*Held, error) {
	address, known := c.client.Address(node)
	if !known {
		return nil, fault.Newf(fault.BrokerNotAvailable, "The broker is not available: the cluster lists no broker %d.", node)
	}
	conn, err := c.pool.connect(ctx, address)
	if err != nil {
		c.client.noteFailure(address)
		err = &callError{address: address, err: err}
		if _, refused := codeOf(err); refused {
			return nil, Fault(err)
		}
		return nil, fault.Wrap(fault.BrokerNotAvailable, err, brokerNotAvailable)
	}
	return &Held{pool: c.pool, conn: conn, node: node}, nil
}

// Held is a connection that somebody keeps. One call at a time; Close at any time.
type Held struct {
	pool *pool
	conn *connection
	node int32
	once sync.Once
}

// Node is the broker at the other end.
func (h *Held) Node() int32 { return h.node }

// Call makes a call, and breaks the connection when ctx ends first. An error that is no answer of the broker is BrokerNotAvailable
// and leaves the connection of no further use.
func (h *Held) Call(ctx context.Context, call func(*sarama.Broker) error) error {
	if err := ctx.Err(); err != nil {
		return fault.Wrap(fault.BrokerNotAvailable, err, brokerNotAvailable)
	}
	stop := context.AfterFunc(ctx, h.conn.dialer.abort)
	err := call(h.conn.broker)
	if !stop() && err == nil {
		return nil // the answer was there first; the next call finds the connection broken
	}
	if err == nil {
		return nil
	}
	if _, answered := codeOf(err); answered {
		return err
	}
	if ctx.Err() != nil {
		err = errors.Join(err, ctx.Err())
	}
	return fault.Wrap(fault.BrokerNotAvailable, &callError{address: h.conn.address, err: err}, brokerNotAvailable)
}

// Close breaks the connection: a call that is under way fails soon.
func (h *Held) Close() {
	h.once.Do(func() {
		h.conn.dialer.abort()
		h.pool.drop(h.conn)
	})
}

// meet remembers where a broker is that the last list did not have yet.
func (c *Client) meet(node int32, address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.brokers[node]; known {
		return
	}
	brokers := make(map[int32]string, len(c.brokers)+1)
	for id, a := range c.brokers {
		brokers[id] = a
	}
	brokers[node] = address
	c.brokers = brokers
}

// rest waits unless ctx ends first.
func rest(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Lifetime ends with Close, for the rooms' background work.
func (c *Client) Lifetime() context.Context { return c.ctx }
