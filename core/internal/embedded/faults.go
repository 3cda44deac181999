package embedded

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AnyNode as a node stands for every broker.
const AnyNode int32 = -1

// Failure is a fault to inject: requests that match are answered with Code in place of the real answer. REQUEST_TIMED_OUT
// and NOT_ENOUGH_REPLICAS_AFTER_APPEND on Produce are answered after the records were written, as Kafka does.
type Failure struct {
	API        string  // Kafka's name: Produce, Metadata, CreateTopics …
	Node       int32   // AnyNode, or a broker's id
	Topic      string  // empty: every topic
	Partitions []int32 // nil: every partition
	Code       int16   // Kafka's error code
	Times      int     // how many requests; negative: until stopped
}

// Inject installs a failure. The func that it gives removes it and says how many requests were hit. An API name that Kafka
// does not have panics: it is a mistake in a test.
func (b *Broker) Inject(f Failure) (stop func() (hits int)) {
	key := keyOf(f.API)
	err := kerr.TypedErrorForCode(f.Code)
	if err == nil || err.Code != f.Code {
		err = &kerr.Error{Message: fmt.Sprintf("CODE_%d", f.Code), Code: f.Code, Description: "injected"}
	}
	fault := kfake.Fault{Keys: []kmsg.Key{kmsg.Key(key)}, Topic: f.Topic, Partitions: f.Partitions, Err: err, Count: f.Times}
	if f.Times < 0 {
		fault.Count = -1
	}
	if f.Node != AnyNode {
		fault.Nodes = []int32{f.Node}
	}
	handle := b.cluster.Fault(fault)
	return func() int {
		handle.Remove()
		return handle.Hits()
	}
}

// Fail is Inject for every topic: the next times requests of an API to a broker (AnyNode: to any) are answered with code.
func (b *Broker) Fail(api string, node int32, code int16, times int) (stop func() (hits int)) {
	return b.Inject(Failure{API: api, Node: node, Code: code, Times: times})
}

// Hang holds back every request of an API to a broker (AnyNode: to any) until resume is called or, when delay is not zero,
// for the delay. Kafka answers the requests of one connection in order, so later ones on the same connection wait too.
func (b *Broker) Hang(api string, node int32, delay time.Duration) (resume func()) {
	released := make(chan struct{})
	var done atomic.Bool
	b.cluster.ControlKey(keyOf(api), func(kmsg.Request) (kmsg.Response, error, bool) {
		if done.Load() {
			b.cluster.DropControl()
			return nil, nil, false
		}
		if node != AnyNode && node != b.cluster.CurrentNode() {
			return nil, nil, false
		}
		b.cluster.SleepControl(func() {
			if delay == 0 {
				<-released
				return
			}
			timer := time.NewTimer(delay)
			defer timer.Stop()
			select {
			case <-released:
			case <-timer.C:
			}
		})
		return nil, nil, false
	})
	return sync.OnceFunc(func() {
		done.Store(true)
		close(released)
	})
}

// Disconnect closes the connection on the next times requests of an API to a broker (AnyNode: to any) instead of answering.
// With applied the request is carried out first: the case in which a client cannot know what became of it.
func (b *Broker) Disconnect(api string, node int32, applied bool, times int) {
	left := times
	b.cluster.ControlKey(keyOf(api), func(kmsg.Request) (kmsg.Response, error, bool) {
		at := b.cluster.CurrentNode()
		if node != AnyNode && node != at {
			return nil, nil, false
		}
		if left--; left > 0 {
			b.cluster.KeepControl()
		} else {
			b.cluster.DropControl() // kfake keeps what was kept once until told otherwise
		}
		if applied {
			if g, err := b.listeners.node(at); err == nil {
				g.swallow.Add(1)
			}
			return nil, nil, false
		}
		return nil, errDisconnect, true
	})
}

var errDisconnect = errors.New("embedded broker: injected disconnect")

// Observe calls seen for every request of an API that reaches any broker, before it is handled. seen must not block.
func (b *Broker) Observe(api string, seen func(node int32)) (stop func()) {
	var done atomic.Bool
	b.cluster.ControlKey(keyOf(api), func(kmsg.Request) (kmsg.Response, error, bool) {
		if done.Load() {
			b.cluster.DropControl()
			return nil, nil, false
		}
		seen(b.cluster.CurrentNode())
		return nil, nil, false
	})
	return func() { done.Store(true) }
}

// Freeze stops a broker as SIGSTOP does: its connections stay open and nothing comes back.
func (b *Broker) Freeze(node int32) error { return b.setGate(node, gateFrozen) }

// Down makes a broker unreachable: open connections are cut and new ones are closed at once.
func (b *Broker) Down(node int32) error { return b.setGate(node, gateRefused) }

// Up ends Freeze and Down. What reached a frozen broker is handled now.
func (b *Broker) Up(node int32) error { return b.setGate(node, gateOpen) }

// Cut closes every open connection of a broker, which stays reachable.
func (b *Broker) Cut(node int32) error {
	g, err := b.listeners.node(node)
	if err != nil {
		return err
	}
	g.cut()
	return nil
}

func (b *Broker) setGate(node int32, state gateState) error {
	g, err := b.listeners.node(node)
	if err != nil {
		return fmt.Errorf("%w: %d of %d", err, node, b.options.Brokers)
	}
	g.set(state)
	return nil
}

func keyOf(api string) int16 {
	for key := int16(0); key <= kmsg.MaxKey; key++ {
		if kmsg.NameForKey(key) == api {
			return key
		}
	}
	panic(fmt.Sprintf("embedded broker: Kafka has no API %q; names are Produce, Metadata, CreateTopics and the like", api))
}
