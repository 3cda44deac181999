package peer

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
)

// missesUntilDown is how many pings in a row may get no answer: a node that is busy for a moment has not gone.
const missesUntilDown = 3

// errGone ends what is under way to a node that has gone.
var errGone = errors.New("the node is gone")

// node is another gateway as this one sees it.
type node struct {
	id     string
	url    *url.URL
	logger *slog.Logger
	// transport is the node's own, so that its connections can be given up without the others'.
	transport *http.Transport

	probing sync.Mutex // one probe at a time

	mu          sync.Mutex
	up          bool
	misses      int
	alive       context.Context // ends when the node goes down
	end         context.CancelCauseFunc
	told        bool // the log has said that it is down
	leaving     bool // it is shutting down: it serves what it has and takes nothing new
	incarnation string
	version     uint64
	claimed     map[digest]struct{}
}

func newNode(id string, at *url.URL, transport *http.Transport, logger *slog.Logger) *node {
	n := &node{id: id, url: at, transport: transport, logger: logger}
	n.alive, n.end = context.WithCancelCause(context.Background())
	n.end(errGone)
	return n
}

func (n *node) isUp() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.up
}

// takesNew reports whether instances may be made on the node.
func (n *node) takesNew() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.up && !n.leaving
}

// claims reports whether the node is up and has told that it holds an instance.
func (n *node) claims(d digest) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, claimed := n.claimed[d]
	return claimed && n.up
}

// life gives the context of what is under way to the node; it has ended while the node is down.
func (n *node) life() context.Context {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.alive
}

// answered notes an answer to a ping.
func (n *node) answered(status pong) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.misses, n.leaving = 0, status.Leaving
	if n.incarnation != status.Incarnation { // it was started anew: what it held is gone
		n.incarnation, n.version, n.claimed = status.Incarnation, 0, nil
	}
	if !n.up {
		n.up, n.told = true, false
		n.alive, n.end = context.WithCancelCause(context.Background())
		n.logger.Info("peer is up", "node", n.id, "url", n.url.String())
	}
}

// missed notes a ping without an answer.
func (n *node) missed(reason error) {
	n.mu.Lock()
	n.misses++
	gone := !n.up || n.misses >= missesUntilDown
	n.mu.Unlock()
	if gone {
		n.down(reason)
	}
}

// down notes that the node is gone, until a ping succeeds.
func (n *node) down(reason error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.told {
		n.logger.Warn("peer is down", "node", n.id, "url", n.url.String(), "error", reason)
	}
	n.up, n.told = false, true
	n.end(errGone)
	n.transport.CloseIdleConnections() // they may lead nowhere, and nothing would say so when they are used again
}

// abandon ends what is under way to the node.
func (n *node) abandon() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.up = false
	n.end(errGone)
	n.transport.CloseIdleConnections()
}

// knows reports whether the node's claims are known up to a version.
func (n *node) knows(incarnation string, version uint64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.incarnation == incarnation && n.version == version
}

// apply takes over one step; false: it does not follow what is known, so all claims must be fetched.
func (n *node) apply(incarnation string, step change) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.incarnation != incarnation:
		return false
	case step.version <= n.version:
		return true // fetched meanwhile
	case step.version != n.version+1 || len(n.claimed) >= mostClaims:
		return false
	}
	if n.claimed == nil {
		n.claimed = map[digest]struct{}{}
	}
	n.version = step.version
	if step.held {
		n.claimed[step.digest] = struct{}{}
	} else {
		delete(n.claimed, step.digest)
	}
	return true
}

// replace takes over all claims, unless a later step came in while they were on their way.
func (n *node) replace(incarnation string, version uint64, claims []digest) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.incarnation == incarnation && n.version > version {
		return
	}
	n.incarnation, n.version = incarnation, version
	n.claimed = make(map[digest]struct{}, len(claims))
	for _, d := range claims {
		n.claimed[d] = struct{}{}
	}
}
