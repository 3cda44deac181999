package producer

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/internal/kafka"
)

// cluster is the sarama.Client under the AsyncProducer. It answers from Weir's own metadata, so the partition that Weir chose
// and the one that sarama checks are always of the same view, and keeps the connections that carry produce requests and
// nothing else.
//
// What it does better than sarama's own client, each for a failure that was seen:
//   - RefreshMetadata returns at once. The AsyncProducer calls it in the goroutine that serves all partitions of a broker
//     (async_producer.go, handleSuccess and handleError); sarama's would hold them up for as long as brokers are slow.
//   - Leader waits for the end of an election and for a connection to the leader. retryBatch fails its batch when Leader
//     fails, and uses up a retry for each refused connection; with sarama's client a leader election of more than a second,
//     or a broker that is away for Retry.Max × Retry.Backoff, fails records that could have been written. Leader is called
//     in goroutines of one partition only, so its waiting holds up nothing else. It gives up when the partition's oldest
//     record is past its deadline.
type cluster struct {
	producer *Producer
	client   *kafka.Client
	config   *sarama.Config

	ctx    context.Context // ends when nothing more is to be waited for
	cancel context.CancelFunc

	mu    sync.Mutex
	links map[int32]*link
	stale map[string]time.Time // topics whose metadata must be newer than this

	ids atomic.Pointer[[]int32] // 0, 1, 2 …: what Partitions hands out slices of
}

// link is the connection to one broker.
type link struct {
	address string
	broker  *sarama.Broker

	mu     sync.Mutex
	abort  func()
	failed time.Time // when the last attempt to connect failed
	reason error
}

// redialPause is how long a refused connection stays refused: all partitions of a broker that is down ask for it.
const redialPause = 100 * time.Millisecond

func newCluster(p *Producer, client *kafka.Client, config *sarama.Config) *cluster {
	c := &cluster{producer: p, client: client, config: config, links: map[int32]*link{}, stale: map[string]time.Time{}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.ids.Store(new([]int32))
	return c
}

// Config is the AsyncProducer's configuration.
func (c *cluster) Config() *sarama.Config { return c.config }

// Partitions lists a topic's partitions. sarama calls it for every record, in the goroutine of the topic.
func (c *cluster) Partitions(topic string) ([]int32, error) {
	t, known := c.client.Cached(topic)
	if !known {
		return nil, sarama.ErrUnknownTopicOrPartition // deleted since it was admitted
	}
	n := len(t.Partitions)
	ids := *c.ids.Load()
	if len(ids) >= n {
		return ids[:n], nil
	}
	more := make([]int32, max(n, 64)) // a variable of its own: only here does one go to the heap
	for i := range more {
		more[i] = int32(i)
	}
	c.ids.Store(&more)
	return more[:n], nil
}

// WritablePartitions is Partitions: the partitioner asks for consistency.
func (c *cluster) WritablePartitions(topic string) ([]int32, error) { return c.Partitions(topic) }

// RefreshMetadata asks for topics in the background. sarama calls it after an attempt to send a batch of them has failed and
// before the next one.
func (c *cluster) RefreshMetadata(topics ...string) error {
	now := time.Now()
	c.mu.Lock()
	for _, topic := range topics {
		c.stale[topic] = now
	}
	c.mu.Unlock()
	c.client.Renew(topics...)
	return nil
}

const (
	leaderPause   = 50 * time.Millisecond // the first wait for a leader
	longestPause  = 500 * time.Millisecond
	lookupLongest = 5 * time.Second
	// unknownTopicTries is how many times in a row a topic must be denied before its records are given up: brokers learn
	// of topics one after the other.
	unknownTopicTries = 3
)

// Leader gives the connected leader of a partition and waits for one if need be.
func (c *cluster) Leader(topic string, partition int32) (*sarama.Broker, error) {
	state := c.producer.topic(topic).partition(partition)
	pause, denied := leaderPause, 0
	for {
		metadata, err := c.fresh(topic)
		switch {
		case err == nil && int(partition) < len(metadata.Partitions):
			denied = 0
			if leader := metadata.Partitions[partition].Leader; leader >= 0 {
				if broker := c.connect(leader); broker != nil {
					return broker, nil
				}
			}
		case err == nil || errors.Is(err, sarama.ErrUnknownTopicOrPartition):
			if denied++; denied >= unknownTopicTries {
				return nil, sarama.ErrUnknownTopicOrPartition
			}
		case errors.Is(err, sarama.ErrTopicAuthorizationFailed):
			return nil, sarama.ErrTopicAuthorizationFailed
		}
		if state.expired(c.producer.now(), c.producer.settings.Timeout) {
			return nil, sarama.ErrLeaderNotAvailable
		}
		timer := time.NewTimer(pause)
		select {
		case <-c.ctx.Done():
			timer.Stop()
			return nil, sarama.ErrClosedClient
		case <-timer.C:
		}
		pause = min(2*pause, longestPause)
		c.mu.Lock()
		c.stale[topic] = time.Now()
		c.mu.Unlock()
	}
}

// fresh gives a topic's metadata, not older than the last RefreshMetadata.
func (c *cluster) fresh(topic string) (*kafka.Topic, error) {
	c.mu.Lock()
	after := c.stale[topic]
	c.mu.Unlock()
	if t, known := c.client.Cached(topic); known && t.Fetched.After(after) {
		return t, nil
	}
	ctx, cancel := context.WithTimeout(c.ctx, lookupLongest)
	defer cancel()
	t, err := c.client.Refresh(ctx, topic)
	if err == nil {
		c.mu.Lock()
		if c.stale[topic] == after {
			delete(c.stale, topic)
		}
		c.mu.Unlock()
	}
	return t, err
}

// connect gives the connection to a broker, or nil while there is none.
func (c *cluster) connect(node int32) *sarama.Broker {
	address, known := c.client.Address(node)
	if !known {
		return nil
	}
	c.mu.Lock()
	l := c.links[node]
	var former *link
	if l == nil || l.address != address {
		former = l
		l = &link{address: address, broker: sarama.NewBroker(address)}
		c.links[node] = l
	}
	c.mu.Unlock()
	if former != nil {
		former.close() // the broker has moved; what was in flight is tried again at the new address
	}
	if l.open(c) != nil {
		return nil
	}
	return l.broker
}

// open connects unless there is a connection, and waits for it.
func (l *link) open(c *cluster) error {
	if c.ctx.Err() != nil {
		return sarama.ErrClosedClient
	}
	l.mu.Lock()
	failed, reason := l.failed, l.reason
	l.mu.Unlock()
	if time.Since(failed) < redialPause {
		return reason
	}
	config := *c.config
	dial, abort := c.client.Dialer(c.producer.wire.observe)
	config.Net.Proxy.Dialer = dial
	err := l.broker.Open(&config)
	switch {
	case err == nil:
		l.mu.Lock()
		l.abort = abort
		l.mu.Unlock()
		if c.ctx.Err() != nil { // closed meanwhile
			abort()
		}
	case !errors.Is(err, sarama.ErrAlreadyConnected):
		return err
	}
	connected, err := l.broker.Connected()
	if err == nil && !connected {
		err = sarama.ErrNotConnected
	}
	if err != nil {
		l.mu.Lock()
		repeated := time.Since(l.failed) < redialPause
		l.failed, l.reason = time.Now(), err
		l.mu.Unlock()
		if !repeated {
			c.client.Logger().Debug("no connection for producing", "address", l.address, "error", err)
			c.producer.observe(err)
		}
	}
	return err
}

// close cuts the connection; whoever waits on it gets an error.
func (l *link) close() {
	l.mu.Lock()
	abort := l.abort
	l.mu.Unlock()
	if abort != nil {
		abort()
	}
	_ = l.broker.Close() // ErrNotConnected when there was none
}

// LeastLoadedBroker gives any broker that can be reached, for the producer id.
func (c *cluster) LeastLoadedBroker() *sarama.Broker {
	for _, node := range c.client.Nodes() {
		if broker := c.connect(node); broker != nil {
			return broker
		}
	}
	return nil
}

// Close ends all waiting and cuts all connections.
func (c *cluster) Close() error {
	c.cancel()
	c.mu.Lock()
	links := c.links
	c.links = map[int32]*link{}
	c.mu.Unlock()
	for _, l := range links {
		l.close()
	}
	return nil
}

// Closed reports whether Close was called.
func (c *cluster) Closed() bool { return c.ctx.Err() != nil }

// unused is the answer to what an AsyncProducer without transactions never asks. The methods are spelled out, not embedded:
// a sarama that asks more must fail to compile or fail its request, never panic.
var errUnused = errors.New("not offered by the producer's client")

func (c *cluster) Controller() (*sarama.Broker, error)        { return nil, errUnused }
func (c *cluster) RefreshController() (*sarama.Broker, error) { return nil, errUnused }
func (c *cluster) Brokers() []*sarama.Broker                  { return nil }
func (c *cluster) Broker(int32) (*sarama.Broker, error)       { return nil, errUnused }
func (c *cluster) Topics() ([]string, error)                  { return nil, errUnused }
func (c *cluster) LeaderAndEpoch(topic string, partition int32) (*sarama.Broker, int32, error) {
	broker, err := c.Leader(topic, partition)
	return broker, -1, err
}
func (c *cluster) Replicas(string, int32) ([]int32, error)                 { return nil, errUnused }
func (c *cluster) InSyncReplicas(string, int32) ([]int32, error)           { return nil, errUnused }
func (c *cluster) OfflineReplicas(string, int32) ([]int32, error)          { return nil, errUnused }
func (c *cluster) RefreshBrokers([]string) error                           { return errUnused }
func (c *cluster) GetOffset(string, int32, int64) (int64, error)           { return 0, errUnused }
func (c *cluster) Coordinator(string) (*sarama.Broker, error)              { return nil, errUnused }
func (c *cluster) RefreshCoordinator(string) error                         { return errUnused }
func (c *cluster) TransactionCoordinator(string) (*sarama.Broker, error)   { return nil, errUnused }
func (c *cluster) RefreshTransactionCoordinator(string) error              { return errUnused }
func (c *cluster) InitProducerID() (*sarama.InitProducerIDResponse, error) { return nil, errUnused }
func (c *cluster) PartitionNotReadable(string, int32) bool                 { return false }

var _ net.Conn = (*wireConn)(nil)
