package peer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"slices"
	"sync"
	"time"

	"github.com/weir-gateway/weir/core/internal/kafka/consumer"
)

// Ownership says which node an instance of a chosen name is on. It is safe for concurrent use.
type Ownership interface {
	// Owner gives the node that an instance is on if it is anywhere.
	Owner(key consumer.Key) (node string)
	// Candidates gives the nodes that the instance may be made on, by preference. taken says that the first has told to hold it.
	Candidates(key consumer.Key) (nodes []string, taken bool)
	// Claim says that this node holds an instance which the others would look for elsewhere, or with always in any case. It returns when
	// those that can be reached know, or when it has waited long enough.
	Claim(ctx context.Context, key consumer.Key, always bool)
	// Release takes a claim back.
	Release(ctx context.Context, key consumer.Key)
}

// mostClaims is how many claims of one node are kept. It is the most instances that a node can have (consume.max_instances).
const mostClaims = 100_000

// digest stands for an instance in claims: they are small, and a node learns no names from them.
type digest [16]byte

func digestOf(key consumer.Key) digest {
	sum := sha256.Sum256(joined(key.Owner, key.Group, key.Name))
	return digest(sum[:16])
}

// membership is the Ownership of a fixed set of nodes.
//
// A name has an order of all nodes, by rendezvous hashing, which everyone computes alike. It belongs to the first node that is up; so
// nobody needs to be told where it is, and one node alone decides whether it exists. What was made while its first node was down would
// be looked for there when that is back: of it the node that holds it makes a claim. Each node keeps its own claims and what the others
// told of theirs. Claims have a version, which goes with every answer to a ping: who has another fetches them all.
type membership struct {
	self  string
	nodes []string         // all, sorted
	peers map[string]*node // the others

	lifetime time.Duration // of a claim without a call
	announce func(ctx context.Context, change change)

	mu      sync.Mutex
	own     map[digest]time.Time // with their last call
	version uint64
}

// change is one step of a node's claims.
type change struct {
	version uint64 // after it
	digest  digest
	held    bool
}

// order gives all nodes in the order in which they are to hold an instance.
func (m *membership) order(d digest) []string {
	type ranked struct {
		node string
		rank [sha256.Size]byte
	}
	all := make([]ranked, len(m.nodes))
	for i, node := range m.nodes {
		all[i] = ranked{node, sha256.Sum256(append(d[:len(d):len(d)], node...))}
	}
	slices.SortFunc(all, func(a, b ranked) int { return bytes.Compare(b.rank[:], a.rank[:]) })
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].node
	}
	return names
}

// claimant gives the node that claims an instance, "" if none that is up does.
func (m *membership) claimant(d digest) string {
	if m.touch(d) {
		return m.self
	}
	for _, name := range m.nodes {
		if peer := m.peers[name]; peer != nil && peer.claims(d) {
			return name
		}
	}
	return ""
}

// touch begins the time of an own claim anew; false: there is none.
func (m *membership) touch(d digest) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, claimed := m.own[d]
	if claimed {
		m.own[d] = time.Now()
	}
	return claimed
}

// Owner is who claims the instance, else the first node in its order that is up.
func (m *membership) Owner(key consumer.Key) string {
	d := digestOf(key)
	if node := m.claimant(d); node != "" {
		return node
	}
	for _, name := range m.order(d) {
		if peer := m.peers[name]; peer == nil || peer.isUp() {
			return name
		}
	}
	return m.self
}

// Candidates leaves out a node that is shutting down, whatever it holds: that will be gone in a moment.
func (m *membership) Candidates(key consumer.Key) (nodes []string, taken bool) {
	d := digestOf(key)
	if node := m.claimant(d); node != "" {
		nodes, taken = append(nodes, node), true
	}
	for _, name := range m.order(d) {
		if peer := m.peers[name]; (peer == nil || peer.takesNew()) && !slices.Contains(nodes, name) {
			nodes = append(nodes, name)
		}
	}
	return nodes, taken
}

// Claim claims at most mostClaims instances, which is more than a node can hold.
func (m *membership) Claim(ctx context.Context, key consumer.Key, always bool) {
	d := digestOf(key)
	if !always && m.order(d)[0] == m.self {
		return
	}
	m.mu.Lock()
	_, known := m.own[d]
	if known || len(m.own) >= mostClaims {
		m.mu.Unlock()
		return
	}
	m.own[d] = time.Now()
	m.version++
	made := change{m.version, d, true}
	m.mu.Unlock()
	m.announce(ctx, made)
}

// Release takes a claim back, if there is one.
func (m *membership) Release(ctx context.Context, key consumer.Key) {
	d := digestOf(key)
	m.mu.Lock()
	if _, known := m.own[d]; !known {
		m.mu.Unlock()
		return
	}
	delete(m.own, d)
	m.version++
	made := change{m.version, d, false}
	m.mu.Unlock()
	m.announce(ctx, made)
}

// expire drops the claims of instances that must have ended for want of calls. The peers see the new version and fetch the rest.
func (m *membership) expire(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := len(m.own)
	for d, called := range m.own {
		if now.Sub(called) > m.lifetime {
			delete(m.own, d)
		}
	}
	if len(m.own) < before {
		m.version++
	}
}

// snapshot gives the own claims with their version.
func (m *membership) snapshot() (version uint64, claims []digest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	claims = make([]digest, 0, len(m.own))
	for d := range m.own {
		claims = append(claims, d)
	}
	return m.version, claims
}
