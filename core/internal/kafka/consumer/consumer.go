// Package consumer is consumer instances: what a client of the REST API makes, subscribes, reads with, commits and deletes, and what
// Kafka sees as a member of a group or as a reader of assigned partitions.
//
// An instance is pulled. Nothing is fetched while no read is open, so an idle one costs a connection to its coordinator and its
// heartbeats. It joins its group at the first read, rejoins by itself when the group rebalances, and commits with its member id and
// generation, so that a coordinator's refusal reaches the client. Positions are offsets; bytes are never kept between two reads.
//
// What holds, whatever happens: of records, only those that a client was given for good (their answer was written, or acknowledged by
// token) are committed by themselves; a record that was not is given again. Positions that no record led to are committed by themselves
// too: where the reset policy put the instance, at once, and where it was sought to, with what is delivered.
//
// An instance's state is guarded by its mutex, which is never held while a broker is asked. Nothing of an idle instance waits in a
// goroutine: what is due at a time (heartbeats, joining again) is a timer, and runs in a goroutine that ends with it.
package consumer

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka"
	"github.com/weir-gateway/weir/core/internal/kafka/reader"
)

// Key names an instance. Owner is the caller that made it: to everyone else it does not exist.
type Key struct{ Owner, Group, Name string }

// Options are what an instance is made with.
type Options struct {
	// Format is the embedded format that its records are read in. It means nothing here.
	Format string
	// AutoOffsetReset is latest, earliest or none.
	AutoOffsetReset string
	// AutoCommit commits what was delivered, by itself.
	AutoCommit bool
	// MinBytes is how many bytes a read gathers before it answers early; negative: it always waits its whole time.
	MinBytes int
	// Timeout is how long a read waits.
	Timeout time.Duration
	// Committed reads committed transactions only.
	Committed bool
}

const (
	endLongest = 2 * time.Second // what an instance that ends may take to commit and to leave its group
	endAtOnce  = 64              // how many do so at the same time
)

// Consumers are the instances that this gateway holds on one cluster. It is safe for concurrent use.
type Consumers struct {
	source   source
	groups   groups
	catalog  catalog
	settings config.Consume
	// callLongest is how long a commit, a seek, or a question for offsets may take, attempts included.
	callLongest time.Duration
	logger      *slog.Logger
	listing     listing
	tokenKey    [32]byte
	shut        func() // what is closed after all instances

	ctx    context.Context // ends with Close, after the instances have left
	cancel context.CancelFunc
	work   sync.WaitGroup // the goroutines of all instances

	rebalances atomic.Int64
	polls      atomic.Int64

	mu        sync.Mutex
	closed    bool // no further instances
	finished  bool // no further goroutines
	instances map[Key]*Instance
	perGroup  map[string]int
	perOwner  map[string]int
	reaper    *time.Timer // runs while there are instances
}

// New gives the consumer room of a client. It is closed before the reader and the client are.
func New(client *kafka.Client, reader *reader.Reader, settings config.Consume, observer kafka.Observer) *Consumers {
	coordinators := newCoordinators(client, observer)
	c := newConsumers(client.Lifetime(), reader, coordinators, &topics{client: client, observer: observer}, settings, client.Logger())
	c.shut = coordinators.found.Close
	c.callLongest = client.AdminTimeout()
	return c
}

func newConsumers(ctx context.Context, source source, groups groups, catalog catalog, settings config.Consume, logger *slog.Logger) *Consumers {
	c := &Consumers{
		source: source, groups: groups, catalog: catalog, settings: settings, logger: logger, shut: func() {}, callLongest: 30 * time.Second,
		instances: map[Key]*Instance{}, perGroup: map[string]int{}, perOwner: map[string]int{},
	}
	_, _ = rand.Read(c.tokenKey[:]) // never fails
	c.ctx, c.cancel = context.WithCancel(ctx)
	return c
}

// Create makes an instance, without asking any broker. Errors: InstanceExists when the owner has one of that name in the group
// already, TooManyInstances at a cap, Unavailable after Close.
func (c *Consumers) Create(key Key, options Options) (*Instance, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	full := func(what, setting string, limit int) error {
		return fault.Newf(fault.TooManyInstances, "Too many consumer instances: %s %d (%s). Delete instances that are not needed, or wait until idle ones expire.", what, limit, setting)
	}
	switch {
	case c.closed:
		return nil, shuttingDown(nil)
	case c.instances[key] != nil:
		return nil, fault.New(fault.InstanceExists, "Consumer with specified consumer ID already exists in the specified consumer group.")
	case len(c.instances) >= c.settings.MaxInstances:
		return nil, full("this gateway holds at most", "consume.max_instances", c.settings.MaxInstances)
	case c.perGroup[key.Group] >= c.settings.MaxInstancesPerGroup:
		return nil, full("a group may have at most", "consume.max_instances_per_group", c.settings.MaxInstancesPerGroup)
	case c.perOwner[key.Owner] >= c.settings.MaxInstancesPerOwner:
		return nil, full("a caller may have at most", "consume.max_instances_per_owner", c.settings.MaxInstancesPerOwner)
	}
	i := newInstance(c, key, options)
	c.instances[key] = i
	c.perGroup[key.Group]++
	c.perOwner[key.Owner]++
	c.reapLaterLocked()
	return i, nil
}

func shuttingDown(cause error) error {
	return fault.Wrap(fault.Unavailable, cause, "The gateway is shutting down. Send the request to another instance, or again later.")
}

func notFound() error { return fault.New(fault.InstanceNotFound, "Consumer instance not found.") }

// Get gives an instance and begins its idle time anew. Error: InstanceNotFound.
func (c *Consumers) Get(key Key) (*Instance, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := c.instances[key]
	if i == nil {
		return nil, notFound()
	}
	i.use()
	return i, nil
}

// removeLocked takes an instance out, so that nobody finds it any more.
func (c *Consumers) removeLocked(i *Instance) {
	delete(c.instances, i.key)
	if c.perGroup[i.key.Group]--; c.perGroup[i.key.Group] == 0 {
		delete(c.perGroup, i.key.Group)
	}
	if c.perOwner[i.key.Owner]--; c.perOwner[i.key.Owner] == 0 {
		delete(c.perOwner, i.key.Owner)
	}
}

// Delete ends an instance: it commits if it commits by itself, leaves its group, and a read that is open ends with InstanceNotFound.
// The instance is gone at once; Delete returns when it has left, after two seconds at most. The error, if any, is only
// InstanceNotFound.
func (c *Consumers) Delete(_ context.Context, key Key) error {
	c.mu.Lock()
	i := c.instances[key]
	if i != nil {
		c.removeLocked(i)
	}
	c.mu.Unlock()
	if i == nil {
		return notFound()
	}
	i.end(notFound())
	return nil
}

// Instances is how many there are.
func (c *Consumers) Instances() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.instances)
}

// Statistics are figures for gauges and counters.
type Statistics struct {
	Instances  int   // that there are
	Members    int   // of them, those that are settled members of their groups
	Polls      int   // reads that are open, their answers not yet written
	Rebalances int64 // that instances took part in, since the start
}

// Stats gives the figures of this moment.
func (c *Consumers) Stats() Statistics {
	c.mu.Lock()
	all := make([]*Instance, 0, len(c.instances))
	for _, i := range c.instances {
		all = append(all, i)
	}
	c.mu.Unlock()
	s := Statistics{Instances: len(all), Polls: int(c.polls.Load()), Rebalances: c.rebalances.Load()}
	for _, i := range all {
		i.mu.Lock()
		if i.member != nil && i.member.state == stable {
			s.Members++
		}
		i.mu.Unlock()
	}
	return s
}

// Close ends every instance as Delete does, all at once, so that other members own their partitions soon. Reads that are open end
// with Unavailable. It returns when all have left or ctx ends.
func (c *Consumers) Close(ctx context.Context) error {
	c.mu.Lock()
	c.closed = true
	all := make([]*Instance, 0, len(c.instances))
	for _, i := range c.instances {
		all = append(all, i)
	}
	for _, i := range all {
		c.removeLocked(i)
	}
	if c.reaper != nil {
		c.reaper.Stop()
	}
	c.mu.Unlock()

	done := make(chan struct{})
	go func() { // ends with the instances, each of which has a bound
		defer close(done)
		c.endAll(all, shuttingDown(nil))
		c.mu.Lock()
		c.finished = true
		c.mu.Unlock()
		c.cancel()
		c.work.Wait()
		c.shut()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		c.cancel()
		return fmt.Errorf("consumer instances were still leaving their groups: %w", ctx.Err())
	}
}

// endAll ends instances that are already out of the map.
func (c *Consumers) endAll(all []*Instance, why error) {
	var ending sync.WaitGroup
	slots := make(chan struct{}, endAtOnce)
	for _, i := range all {
		i.stop(why) // reads end now, whoever's turn it is to leave
	}
	for _, i := range all {
		slots <- struct{}{}
		ending.Go(func() {
			defer func() { <-slots }()
			i.end(why)
		})
	}
	ending.Wait()
}

// enter begins work in a goroutine that exit ends. It is false when there is to be no more.
func (c *Consumers) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.finished {
		return false
	}
	c.work.Add(1)
	return true
}

func (c *Consumers) exit() { c.work.Done() }

// run runs f in a goroutine of its own, unless there is to be no more.
func (c *Consumers) run(f func()) bool {
	if !c.enter() {
		return false
	}
	go func() {
		defer c.exit()
		f()
	}()
	return true
}

const (
	shortestSweep = 10 * time.Millisecond
	longestSweep  = time.Second
)

// reapLaterLocked arms the one timer that looks for instances that nobody uses.
func (c *Consumers) reapLaterLocked() {
	if c.reaper == nil {
		pause := min(max(c.settings.InstanceTimeout/10, shortestSweep), longestSweep)
		c.reaper = time.AfterFunc(pause, c.reap)
	}
}

// reap ends the instances that have had no call for consume.instance_timeout.
func (c *Consumers) reap() {
	if !c.enter() {
		return
	}
	defer c.exit()
	c.mu.Lock()
	now := time.Now()
	var idle []*Instance
	for _, i := range c.instances {
		if i.idle(now) > c.settings.InstanceTimeout {
			idle = append(idle, i)
		}
	}
	for _, i := range idle {
		c.removeLocked(i)
	}
	c.reaper = nil
	if len(c.instances) > 0 && !c.closed {
		c.reapLaterLocked()
	}
	c.mu.Unlock()
	for _, i := range idle {
		c.logger.Info("consumer instance expired", "group", i.key.Group, "instance", i.key.Name)
	}
	c.endAll(idle, notFound())
}
