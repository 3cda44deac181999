package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/internal/fault"
)

// Topic is what the cluster last said about a topic. It is never changed once it is out: a newer one takes its place.
type Topic struct {
	Name       string
	ID         [16]byte // changes when a topic is made anew; zero from brokers before 2.8
	Internal   bool
	Partitions []Partition // by id, without gaps
	Fetched    time.Time

	doubted bool // the last answer denied that it exists; one more and it is gone
}

// Partition is where one partition lives.
type Partition struct {
	Leader   int32 // -1: none
	Replicas []int32
	InSync   []int32
}

// Led reports whether every partition has a leader.
func (t *Topic) Led() bool {
	for i := range t.Partitions {
		if t.Partitions[i].Leader < 0 {
			return false
		}
	}
	return len(t.Partitions) > 0
}

// absence is the answer that there is no such topic, or none for us.
type absence struct {
	err   error
	until time.Time
}

const (
	maxAbsences  = 4096 // what a stream of made-up names can make the cache hold
	maxTopicName = 249
	lookupChunk  = 1000 // names in one question
	// electionPause is the wait before asking again about a topic that is just being created.
	electionPause = 100 * time.Millisecond
	maxTries      = 30
	// quietTopic is asked about when only the brokers are of interest: sarama cannot ask about no topic, and about all of
	// them is too much. It needs no permission: a refusal comes with the list of brokers too.
	quietTopic = "__consumer_offsets"
)

// lookup is one question about one topic, shared by all who ask while it waits to be sent.
type lookup struct {
	done  chan struct{}
	tries int // how often it was put off
	topic *Topic
	err   error
}

func newLookup() *lookup { return &lookup{done: make(chan struct{})} }

func (l *lookup) finish(topic *Topic, err error) {
	l.topic, l.err = topic, err
	close(l.done)
}

// ValidTopicName reports whether Kafka would accept a name: 1 to 249 of the characters a-z, A-Z, 0-9, '.', '_' and '-', and
// neither "." nor "..".
func ValidTopicName(name string) bool {
	if name == "" || len(name) > maxTopicName || name == "." || name == ".." {
		return false
	}
	for i := 0; i < len(name); i++ {
		c := name[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

// Cached is the topic as last seen, without any waiting.
func (c *Client) Cached(name string) (*Topic, bool) {
	c.mu.RLock()
	t, ok := c.topics[name]
	c.mu.RUnlock()
	return t, ok
}

// Topic gives a topic from the cache, or asks for it: one question for all who ask at the same time. A topic that the
// cluster does not have is remembered for the time of produce.unknown_topic_ttl. Errors: UnknownTopic, KafkaRejected for an
// illegal name, PermissionDenied, BrokerNotAvailable at once while the cluster cannot be reached.
func (c *Client) Topic(ctx context.Context, name string) (*Topic, error) {
	c.mu.RLock()
	t, ok := c.topics[name]
	absent, denied := c.unknown[name]
	c.mu.RUnlock()
	if ok {
		return t, nil
	}
	if denied && time.Now().Before(absent.until) {
		return nil, absent.err
	}
	if !ValidTopicName(name) {
		return nil, Fault(sarama.ErrInvalidTopic)
	}
	return c.lookup(ctx, name)
}

// Refresh asks for a topic whatever the cache says.
func (c *Client) Refresh(ctx context.Context, name string) (*Topic, error) {
	if !ValidTopicName(name) {
		return nil, Fault(sarama.ErrInvalidTopic)
	}
	return c.lookup(ctx, name)
}

// Renew asks for topics in the background.
func (c *Client) Renew(names ...string) {
	c.mu.Lock()
	for _, name := range names {
		if c.pending[name] == nil && len(c.pending) < 10*lookupChunk {
			c.pending[name] = newLookup()
		}
	}
	c.mu.Unlock()
	c.wake()
}

// Forget makes a topic unknown until it is asked for again: it was deleted.
func (c *Client) Forget(name string) {
	c.mu.Lock()
	delete(c.topics, name)
	delete(c.unknown, name)
	c.mu.Unlock()
}

func (c *Client) lookup(ctx context.Context, name string) (*Topic, error) {
	if err := c.Await(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	if state := c.state; state != nil && c.topics[name] == nil {
		c.mu.Unlock()
		return nil, fault.Wrap(fault.BrokerNotAvailable, state, brokerNotAvailable)
	}
	l := c.pending[name]
	if l == nil {
		l = newLookup()
		c.pending[name] = l
	}
	c.mu.Unlock()
	c.wake()
	select {
	case <-l.done:
		return l.topic, l.err
	case <-ctx.Done():
		return nil, fault.From(ctx.Err())
	case <-c.ctx.Done():
		return nil, Fault(sarama.ErrClosedClient)
	}
}

func (c *Client) wake() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// takePending takes the questions that wait, one request full of them.
func (c *Client) takePending() map[string]*lookup {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pending) <= lookupChunk {
		taken := c.pending
		c.pending = map[string]*lookup{}
		return taken
	}
	taken := make(map[string]*lookup, lookupChunk)
	for name, l := range c.pending {
		if len(taken) == lookupChunk {
			break
		}
		taken[name] = l
		delete(c.pending, name)
	}
	c.wake()
	return taken
}

func (c *Client) failPending(err error) {
	for lookups := c.takePending(); len(lookups) > 0; lookups = c.takePending() {
		for _, l := range lookups {
			l.finish(nil, err)
		}
	}
}

func (c *Client) knownTopics() []string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	names := make([]string, 0, len(c.topics))
	for name := range c.topics {
		names = append(names, name)
	}
	return names
}

// refresh puts questions to the cluster and gives out the answers. Without questions it asks whether the cluster is there.
func (c *Client) refresh(lookups map[string]*lookup) error {
	names := make([]string, 0, len(lookups)+1)
	for name := range lookups {
		names = append(names, name)
	}
	if len(names) == 0 {
		names = append(names, quietTopic)
	}
	for start := 0; start < len(names); start += lookupChunk {
		chunk := names[start:min(start+lookupChunk, len(names))]
		response, err := c.ask(chunk)
		if err != nil {
			c.setState(c.explain(err))
			refusal := fault.Wrap(fault.BrokerNotAvailable, err, brokerNotAvailable)
			for _, name := range names[start:] {
				if l := lookups[name]; l != nil {
					l.finish(nil, refusal)
				}
			}
			return err
		}
		c.setState(nil)
		c.learn(response, chunk, lookups)
	}
	return nil
}

// ask sends one metadata request to any broker and checks that the answer is of the right cluster.
func (c *Client) ask(names []string) (*sarama.MetadataResponse, error) {
	ctx, cancel := context.WithTimeout(c.ctx, c.settings.AdminTimeout)
	defer cancel()
	var response *sarama.MetadataResponse
	err := c.call(ctx, AnyBroker, true, func(b *sarama.Broker) error {
		request := sarama.NewMetadataRequest(c.base.Version, names)
		request.AllowAutoTopicCreation = c.produce.AutoCreateTopics && !(len(names) == 1 && names[0] == quietTopic)
		var err error
		response, err = b.GetMetadata(request)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := c.verify(deref(response.ClusterID)); err != nil {
		return nil, err
	}
	return response, nil
}

// learn takes an answer into the cache and gives it to those who asked.
func (c *Client) learn(response *sarama.MetadataResponse, names []string, lookups map[string]*lookup) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(response.Brokers) > 0 {
		c.brokers = make(map[int32]string, len(response.Brokers))
		for _, b := range response.Brokers {
			c.brokers[b.ID()] = b.Addr()
		}
		c.controller = response.ControllerID
	}
	answered := make(map[string]*sarama.TopicMetadata, len(response.Topics))
	for _, t := range response.Topics {
		answered[t.Name] = t
	}
	for _, name := range names {
		l := lookups[name]
		t := answered[name]
		switch {
		case t == nil:
			if l != nil {
				l.finish(nil, fault.New(fault.KafkaFailed, "The broker's answer could not be understood."))
			}
		case t.Err == sarama.ErrNoError || len(t.Partitions) > 0 && t.Err == sarama.ErrLeaderNotAvailable:
			topic := toTopic(t, now)
			if l != nil || c.topics[name] != nil {
				c.topics[name] = topic
				delete(c.unknown, name)
			}
			if l != nil {
				l.finish(topic, nil)
			}
		case l == nil: // the quiet topic
		case l.tries < maxTries && (t.Err == sarama.ErrLeaderNotAvailable || t.Err == sarama.ErrUnknownTopicOrPartition && c.doubtLocked(name)):
			l.tries++
			c.againLocked(name, l)
		default:
			c.absentLocked(name, l, t.Err, now)
		}
	}
}

func toTopic(t *sarama.TopicMetadata, now time.Time) *Topic {
	count := len(t.Partitions)
	for _, p := range t.Partitions {
		count = max(count, int(p.ID)+1)
	}
	topic := &Topic{Name: t.Name, ID: t.Uuid, Internal: t.IsInternal, Fetched: now, Partitions: make([]Partition, count)}
	for i := range topic.Partitions {
		topic.Partitions[i].Leader = -1
	}
	for _, p := range t.Partitions {
		topic.Partitions[p.ID] = Partition{Leader: p.Leader, Replicas: p.Replicas, InSync: p.Isr}
	}
	return topic
}

// doubtLocked says whether the answer that a topic does not exist should be asked again: once for a topic that was there a
// moment ago, because a broker that has just started does not know them all, and for a while when asking may create it.
func (c *Client) doubtLocked(name string) bool {
	if c.produce.AutoCreateTopics {
		return true
	}
	t := c.topics[name]
	if t == nil || t.doubted {
		return false
	}
	copied := *t
	copied.doubted = true
	c.topics[name] = &copied
	return true
}

// againLocked asks again a little later, for the same askers.
func (c *Client) againLocked(name string, l *lookup) {
	time.AfterFunc(electionPause, func() { // runs once; after Close it fails the lookup
		c.mu.Lock()
		if c.ctx.Err() != nil {
			c.mu.Unlock()
			l.finish(nil, Fault(sarama.ErrClosedClient))
			return
		}
		waiting := c.pending[name]
		if waiting == nil {
			c.pending[name] = l
		}
		c.mu.Unlock()
		if waiting != nil {
			go func() { // ends with the other question, which the run loop always answers
				<-waiting.done
				l.finish(waiting.topic, waiting.err)
			}()
		}
		c.wake()
	})
}

func (c *Client) absentLocked(name string, l *lookup, code sarama.KError, now time.Time) {
	err := CodeFault(int16(code), "", fmt.Errorf("metadata of topic %q: %w", name, code))
	delete(c.topics, name)
	if ttl := c.produce.UnknownTopicTTL; ttl > 0 {
		for other := range c.unknown { // any will do: looking for old ones would hold up every producer, once per made-up name
			if len(c.unknown) < maxAbsences {
				break
			}
			delete(c.unknown, other)
		}
		c.unknown[name] = absence{err: err, until: now.Add(ttl)}
	}
	l.finish(nil, err)
}

// Address is where a broker is reached.
func (c *Client) Address(node int32) (address string, known bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	address, known = c.brokers[node]
	return address, known
}

// Nodes are the brokers that the last answer listed.
func (c *Client) Nodes() []int32 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	nodes := make([]int32, 0, len(c.brokers))
	for node := range c.brokers {
		nodes = append(nodes, node)
	}
	return nodes
}

// explain turns a failed attempt into words for an operator.
func (c *Client) explain(err error) error {
	if errors.Is(err, errWrongCluster) {
		return err
	}
	address := ""
	var call *callError
	if errors.As(err, &call) {
		address = call.address
	}
	d := diagnose(address, err, c.settings)
	c.mu.RLock()
	defer c.mu.RUnlock()
	// A listener that has taken our requests does not close connections because of how they are secured.
	if c.verified && isEnd(err) && (d.Cause == CauseSASLRequired || d.Cause == CauseSASLCredentials) {
		d.Cause, d.Cure = CauseOther, "the broker closed the connection: it may be restarting"
	}
	return d
}
