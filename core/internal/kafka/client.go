// Package kafka is one Kafka cluster as Weir sees it: connections and how they are secured, what is known of its brokers and
// topics, and what its errors mean. With its rooms producer and admin it holds everything that is said to sarama; no type of
// sarama appears in what the rest of the core uses.
//
// sarama is used below its Client: the protocol (sarama.Broker), and in room producer the AsyncProducer on top of a
// sarama.Client of our own. The stock Client blocks in the goroutine that sends records while it refreshes metadata, shares
// connections between produce and metadata so that one hung broker stops both, and gives up on an election after a second.
// Here metadata has connections of its own, a lookup is one question for all who ask, and nothing that waits holds up
// anything else.
//
// A Client never needs its brokers to be there: it is opened at once, connects in the background, and says what is wrong
// in words that an operator can act on.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/fault"
)

// Client is the connection to one cluster. It is safe for concurrent use.
type Client struct {
	settings config.Cluster
	produce  config.Produce
	logger   *slog.Logger
	security *security
	base     *sarama.Config
	pool     *pool

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	loop    sync.WaitGroup
	kick    chan struct{}
	settled chan struct{} // closed when the first attempt to reach the cluster has ended
	settle  sync.Once
	reached chan struct{} // closed when the cluster was reached for the first time
	reach   sync.Once

	mu         sync.RWMutex
	state      error  // why the cluster is not ready; nil: it is
	id         string // pinned, or learnt and from then on pinned
	verified   bool   // a broker has reported id
	brokers    map[int32]string
	controller int32
	preferred  string               // the address that answered last
	suspects   map[string]time.Time // addresses that failed lately
	topics     map[string]*Topic
	unknown    map[string]absence
	pending    map[string]*lookup
}

var errConnecting = errors.New("connecting to the cluster")

// Open gives the client of a cluster at once, also when none of its brokers can be reached: it goes on trying until Close.
// Errors are only for settings that can never work, such as a CA file that cannot be read. ctx gives values, not a lifetime.
func Open(ctx context.Context, settings config.Cluster, produce config.Produce, logger *slog.Logger) (*Client, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	logger = logger.With("cluster", settings.Name)
	if len(settings.BootstrapServers) == 0 {
		return nil, fmt.Errorf("cluster %q: bootstrap_servers is empty: name at least one host:port", settings.Name)
	}
	security, err := newSecurity(settings, logger)
	if err != nil {
		return nil, fmt.Errorf("cluster %q: %w", settings.Name, err)
	}
	base, err := newConfig(settings, security)
	if err != nil {
		return nil, fmt.Errorf("cluster %q: %w", settings.Name, err)
	}
	c := &Client{
		settings: settings, produce: produce, logger: logger, security: security, base: base,
		pool:       newPool(base, security),
		kick:       make(chan struct{}, 1),
		settled:    make(chan struct{}),
		reached:    make(chan struct{}),
		state:      errConnecting,
		id:         settings.ID,
		brokers:    map[int32]string{},
		controller: -1,
		suspects:   map[string]time.Time{},
		topics:     map[string]*Topic{},
		unknown:    map[string]absence{},
		pending:    map[string]*lookup{},
	}
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	c.loop.Add(1)
	go func() {
		defer c.loop.Done()
		c.run()
	}()
	return c, nil
}

// Name is what the configuration calls the cluster.
func (c *Client) Name() string { return c.settings.Name }

// ID is the cluster's id: the pinned one at once, otherwise the one that its brokers report, once one has.
func (c *Client) ID() (id string, known bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.id, c.id != ""
}

// Ready is nil when a broker answered the last time it was asked and is one of the right cluster. Otherwise it says for an
// operator which address failed, how, and the cure. It only looks at what is known already.
func (c *Client) Ready() error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.state == nil {
		return nil
	}
	return fmt.Errorf("cluster %q is not ready: %w", c.settings.Name, c.state)
}

// Reached is closed when a broker of the right cluster has answered for the first time.
func (c *Client) Reached() <-chan struct{} { return c.reached }

// Logger is the cluster's logger, for the rooms.
func (c *Client) Logger() *slog.Logger { return c.logger }

// Produce is the configuration that the client was opened with, for the rooms.
func (c *Client) Produce() config.Produce { return c.produce }

// Version is the protocol version that requests are built for, for the rooms.
func (c *Client) Version() sarama.KafkaVersion { return c.base.Version }

// ProducerConfig is the configuration of the producer room's AsyncProducer; see newProducerConfig.
func (c *Client) ProducerConfig(settings config.Produce, partitionRecords int) *sarama.Config {
	return newProducerConfig(c.base, settings, partitionRecords)
}

// Dialer gives a configuration's dialer for one connection, for the producer room: TLS and all. wrap sees the connection
// before sarama does. abort ends the connection, or the attempt, for good.
func (c *Client) Dialer(wrap func(net.Conn) net.Conn) (dial interface {
	Dial(network, address string) (net.Conn, error)
}, abort func()) {
	d := &dialer{security: c.security, timeout: c.settings.DialTimeout, wrap: wrap}
	return d, d.abort
}

// AdminTimeout is the longest that one admin call may take.
func (c *Client) AdminTimeout() time.Duration { return c.settings.AdminTimeout }

// Close ends the background work and closes every connection. Rooms on top of the client are closed before it.
func (c *Client) Close(ctx context.Context) error {
	c.cancel()
	c.pool.close()
	done := make(chan struct{})
	go func() {
		c.loop.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("cluster %q: connections were still closing: %w", c.settings.Name, ctx.Err())
	}
}

const (
	pingInterval   = 10 * time.Second // how often an idle client asks whether the cluster is still there
	firstBackoff   = 100 * time.Millisecond
	longestBackoff = 3 * time.Second
)

// run is the client's only goroutine. It answers lookups, many names with one question, and otherwise asks from time to time.
func (c *Client) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	backoff := firstBackoff
	refreshed := time.Now()
	for {
		select {
		case <-c.ctx.Done():
			c.failPending(fault.Wrap(fault.Unavailable, c.ctx.Err(), "The gateway is shutting down. Send the request to another instance, or again later."))
			return
		case <-c.kick:
		case <-timer.C:
		}
		lookups := c.takePending()
		due := time.Since(refreshed) >= c.settings.MetadataRefresh // by the clock: look-ups that never pause must not put it off
		if due {
			for _, name := range c.knownTopics() {
				if lookups[name] == nil {
					lookups[name] = newLookup()
				}
			}
		}
		err := c.refresh(lookups)
		c.settle.Do(func() { close(c.settled) })
		if err == nil {
			backoff = firstBackoff
			if due {
				refreshed = time.Now()
			}
			timer.Reset(min(pingInterval, c.settings.MetadataRefresh))
		} else {
			timer.Reset(backoff)
			backoff = min(2*backoff, longestBackoff)
		}
		c.pool.reap()
	}
}

// setState records whether the cluster is usable and logs each change once.
func (c *Client) setState(err error) {
	c.mu.Lock()
	before := c.state
	c.state = err
	c.mu.Unlock()
	switch {
	case err == nil && before != nil:
		c.reach.Do(func() { close(c.reached) })
		id, _ := c.ID()
		c.logger.Info("connected to Kafka", "cluster_id", id)
	case err != nil && (before == nil || before.Error() != err.Error()):
		c.logger.Warn("Kafka is not available", "error", err)
	}
}

// Await returns when the cluster has been reached once, or with the reason why not. It waits only for the very first attempt.
func (c *Client) Await(ctx context.Context) error {
	c.mu.RLock()
	verified, state := c.verified, c.state
	c.mu.RUnlock()
	if verified && !errors.Is(state, errWrongCluster) {
		return nil
	}
	select {
	case <-c.settled:
	case <-ctx.Done():
		return fault.From(ctx.Err())
	case <-c.ctx.Done():
		return Fault(sarama.ErrClosedClient)
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.verified && !errors.Is(c.state, errWrongCluster) {
		return nil
	}
	return fault.Wrap(fault.BrokerNotAvailable, c.state, brokerNotAvailable)
}

const brokerNotAvailable = "The broker is not available."

var errWrongCluster = errors.New("the brokers are of another cluster")

// verify holds the brokers to the cluster's id. A client stays with the cluster that it found first even when the id is not
// pinned: what was cached, and who was acknowledged, belongs to that one.
func (c *Client) verify(reported string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case reported == "":
		return nil // brokers before 0.10.1; nothing to compare
	case c.id == "" || c.id == reported:
		c.id, c.verified = reported, true
		return nil
	case c.settings.ID != "":
		return fmt.Errorf("%w: the configuration pins cluster id %q and they report %q; correct bootstrap_servers or id", errWrongCluster, c.id, reported)
	default:
		return fmt.Errorf("%w: they reported cluster id %q before and report %q now; if the cluster was replaced, restart the gateway", errWrongCluster, c.id, reported)
	}
}
