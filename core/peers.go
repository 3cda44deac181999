package core

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/identity"
	"github.com/weir-gateway/weir/core/internal/rest"
	"github.com/weir-gateway/weir/core/internal/rest/peer"
)

// connect makes the peers that settings name; nil: the gateway is alone. The chain needs an interface without a typed nil in it.
func (c *Core) connect(settings *config.Config, logger *slog.Logger) (rest.Peers, error) {
	peers, err := peer.New(settings, logger, c.metrics)
	if err != nil || peers == nil {
		return nil, err
	}
	c.peers = peers
	return peers, nil
}

// Internal serves the listener that only peers may reach (peers.address); nil when the gateway is alone. It begins to ask the peers,
// which ask back: call it once, when the listener accepts connections. Until then requests about consumer instances wait.
func (c *Core) Internal() http.Handler {
	if c.peers == nil {
		return nil
	}
	return c.peers.Handler(c.handler.ServeForwarded)
}

// peerIdleTimeout is when an unused connection of a peer is closed here: well after the peer itself closes it, so that it never sends
// on one that is just being closed.
const peerIdleTimeout = 2 * time.Minute

// NewPeerServer is NewServer for the listener of peers: a request there has one more header, and connections are kept longer.
func NewPeerServer(settings config.Config, handler http.Handler, logger *slog.Logger) *http.Server {
	settings.Limits.HeaderBytes += identity.MaxLength
	server := NewServer(settings, handler, logger)
	server.IdleTimeout = peerIdleTimeout
	return server
}

// leavePeers tells the peers that nothing new should be made here; what is here is served on.
func (c *Core) leavePeers() {
	if c.peers != nil {
		c.peers.Leave()
	}
}

// closePeers ends what is under way to peers.
func (c *Core) closePeers() {
	if c.peers != nil {
		c.peers.Close()
	}
}
