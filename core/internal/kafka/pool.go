package kafka

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/internal/fault"
)

// What Call may be sent to beside the id of a broker.
const (
	AnyBroker  int32 = -1 // whichever answers
	Controller int32 = -2 // the controller as brokers name it; with KRaft any broker forwards to it
)

const (
	idlePerAddress = 4
	idleLongest    = 30 * time.Second // far below the brokers' connections.max.idle.ms (10 minutes)
	attemptLongest = 3 * time.Second  // of one broker among several
	suspectFor     = time.Minute
)

// connection is one connection to a broker. It serves one call at a time: requests on a connection are answered in order,
// so whoever shares one waits for all before it.
type connection struct {
	address   string
	broker    *sarama.Broker
	dialer    *dialer
	idleSince time.Time
}

// pool keeps connections for metadata and admin calls.
type pool struct {
	base     *sarama.Config
	security *security
	wrap     func(net.Conn) net.Conn // nil: connections as they are

	mu     sync.Mutex
	closed bool
	idle   map[string][]*connection
	busy   map[*connection]struct{}
}

func newPool(base *sarama.Config, security *security) *pool {
	return &pool{base: base, security: security, idle: map[string][]*connection{}, busy: map[*connection]struct{}{}}
}

// reuse gives an idle connection to an address, or nil. It may be one that the other side closed meanwhile.
func (p *pool) reuse(address string) *connection {
	p.mu.Lock()
	defer p.mu.Unlock()
	for list := p.idle[address]; len(list) > 0; list = p.idle[address] {
		conn := list[len(list)-1]
		p.idle[address] = list[:len(list)-1]
		if time.Since(conn.idleSince) < idleLongest {
			p.busy[conn] = struct{}{}
			return conn
		}
		go conn.close() // ends with the connection, which nobody uses
	}
	return nil
}

// connect makes a connection to an address. It ends with ctx.
func (p *pool) connect(ctx context.Context, address string) (*connection, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, sarama.ErrClosedClient
	}
	conn := &connection{
		address: address,
		broker:  sarama.NewBroker(address),
		dialer:  &dialer{security: p.security, timeout: p.base.Net.DialTimeout, wrap: p.wrap},
	}
	p.busy[conn] = struct{}{}
	p.mu.Unlock()

	config := *p.base
	config.Net.Proxy.Dialer = conn.dialer
	stop := context.AfterFunc(ctx, conn.dialer.abort)
	defer stop()
	err := conn.broker.Open(&config)
	if err == nil {
		var connected bool
		connected, err = conn.broker.Connected() // waits for TCP, TLS, ApiVersions and SASL
		if err == nil && !connected {
			err = sarama.ErrNotConnected
		}
	}
	if err != nil {
		p.drop(conn)
		if ctx.Err() != nil {
			err = errors.Join(err, ctx.Err())
		}
		return nil, err
	}
	return conn, nil
}

// put gives a connection back after a call that left it in order.
func (p *pool) put(conn *connection) {
	p.mu.Lock()
	delete(p.busy, conn)
	keep := !p.closed && len(p.idle[conn.address]) < idlePerAddress
	if keep {
		conn.idleSince = time.Now()
		p.idle[conn.address] = append(p.idle[conn.address], conn)
	}
	p.mu.Unlock()
	if !keep {
		conn.close()
	}
}

// drop closes a connection instead of giving it back.
func (p *pool) drop(conn *connection) {
	p.mu.Lock()
	delete(p.busy, conn)
	p.mu.Unlock()
	conn.close()
}

// reap closes connections that have been idle for long.
func (p *pool) reap() {
	var old []*connection
	p.mu.Lock()
	for address, list := range p.idle {
		list = slices.DeleteFunc(list, func(conn *connection) bool {
			if time.Since(conn.idleSince) < idleLongest {
				return false
			}
			old = append(old, conn)
			return true
		})
		if len(list) == 0 {
			delete(p.idle, address)
		} else {
			p.idle[address] = list
		}
	}
	p.mu.Unlock()
	for _, conn := range old {
		conn.close()
	}
}

// close ends every connection, also those in use: their calls fail.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	idle := p.idle
	p.idle = map[string][]*connection{}
	for conn := range p.busy {
		conn.dialer.abort()
	}
	p.mu.Unlock()
	for _, list := range idle {
		for _, conn := range list {
			conn.close()
		}
	}
}

// close is quick: with its socket closed, a connection has nothing to wait for.
func (c *connection) close() {
	c.dialer.abort()
	_ = c.broker.Close() // ErrNotConnected when the attempt failed
}

// Call sends one or more requests to a broker, on a connection that nobody else uses meanwhile. It is for the rooms of this
// package.
//
// With again, a broken connection or a slow broker makes it try the next address: only for requests that change nothing.
// Without, it moves on only while nothing has been sent. An error is what call returned, or BrokerNotAvailable.
func (c *Client) Call(ctx context.Context, node int32, again bool, call func(*sarama.Broker) error) error {
	if err := c.Await(ctx); err != nil {
		return err
	}
	return c.call(ctx, node, again, call)
}

func (c *Client) call(ctx context.Context, node int32, again bool, call func(*sarama.Broker) error) error {
	addresses := c.addresses(node)
	var last error
	for i, address := range addresses {
		if ctx.Err() != nil {
			break
		}
		attempt, cancel := ctx, context.CancelFunc(func() {})
		if i < len(addresses)-1 && again {
			longest := attemptLongest
			if deadline, ok := ctx.Deadline(); ok {
				longest = min(longest, time.Until(deadline)/2) // the next one must have its chance
			}
			attempt, cancel = context.WithTimeout(ctx, longest)
		}
		sent, err := c.try(attempt, address, again, call)
		cancel()
		switch {
		case err == nil:
			c.noteAnswer(address, node)
			return nil
		case sent && !isBroken(err):
			return err // the broker's own answer
		}
		c.noteFailure(address)
		last = &callError{address: address, err: err}
		if sent && !again {
			return fault.Wrap(fault.KafkaRetriable, last, answers[int16(sarama.ErrNetworkException)].text)
		}
	}
	if last == nil {
		last = ctx.Err()
	}
	if _, refused := codeOf(last); refused { // by SASL
		return Fault(last)
	}
	return fault.Wrap(fault.BrokerNotAvailable, last, brokerNotAvailable)
}

// try makes one attempt at one address. sent says whether the request may have reached the broker.
//
// An idle connection whose broker was restarted meanwhile breaks when it is used, and that says nothing about the address:
// what may be sent again is, on a new connection, and what may not is never sent on an idle one.
func (c *Client) try(ctx context.Context, address string, again bool, call func(*sarama.Broker) error) (sent bool, err error) {
	if again {
		if conn := c.pool.reuse(address); conn != nil {
			if err := c.use(ctx, conn, call); !isBroken(err) || ctx.Err() != nil {
				return true, err
			}
		}
	}
	conn, err := c.pool.connect(ctx, address)
	if err != nil {
		return false, err
	}
	return true, c.use(ctx, conn, call)
}

// use makes a call on a connection and gives the connection back.
func (c *Client) use(ctx context.Context, conn *connection, call func(*sarama.Broker) error) error {
	stop := context.AfterFunc(ctx, conn.dialer.abort)
	err := call(conn.broker)
	if !stop() || isBroken(err) {
		c.pool.drop(conn)
		if err != nil && ctx.Err() != nil {
			err = errors.Join(err, ctx.Err())
		}
		return err
	}
	c.pool.put(conn)
	return err
}

// callError adds the address to a failed call, for the log and for Ready.
type callError struct {
	address string
	err     error
}

func (e *callError) Error() string { return "kafka broker " + e.address + ": " + e.err.Error() }
func (e *callError) Unwrap() error { return e.err }

// isBroken reports whether an error says that the connection is of no further use.
func isBroken(err error) bool {
	if err == nil {
		return false
	}
	if _, answered := codeOf(err); answered {
		return false
	}
	var decoding sarama.PacketDecodingError
	return isConnection(err) || isTimeout(err) || errors.Is(err, context.Canceled) || errors.As(err, &decoding)
}

// addresses are where a call to node may go, the likeliest first.
func (c *Client) addresses(node int32) []string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if node == Controller {
		node = AnyBroker
		if address, known := c.brokers[c.controller]; known {
			return append([]string{address}, c.anyAddressLocked(address)...)
		}
	}
	if node != AnyBroker {
		if address, known := c.brokers[node]; known {
			return []string{address}
		}
		return nil
	}
	return c.anyAddressLocked("")
}

func (c *Client) anyAddressLocked(except string) []string {
	var good, bad []string
	add := func(address string) {
		if address == "" || address == except || slices.Contains(good, address) || slices.Contains(bad, address) {
			return
		}
		if since, suspect := c.suspects[address]; suspect && time.Since(since) < suspectFor {
			bad = append(bad, address)
			return
		}
		good = append(good, address)
	}
	add(c.preferred)
	for _, address := range c.brokers { // random order: the load of many gateways spreads
		add(address)
	}
	for _, address := range c.settings.BootstrapServers {
		add(address)
	}
	return append(good, bad...)
}

func (c *Client) noteAnswer(address string, node int32) {
	c.mu.RLock()
	_, suspect := c.suspects[address]
	same := c.preferred == address || node != AnyBroker
	c.mu.RUnlock()
	if same && !suspect {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.suspects, address)
	if node == AnyBroker {
		c.preferred = address
	}
}

func (c *Client) noteFailure(address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.suspects) > 1000 { // brokers that are gone
		clear(c.suspects)
	}
	c.suspects[address] = time.Now()
	if c.preferred == address {
		c.preferred = ""
	}
}
