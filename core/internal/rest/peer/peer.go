package peer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/identity"
	"github.com/weir-gateway/weir/core/internal/kafka/consumer"
	"github.com/weir-gateway/weir/core/internal/rest"
	"github.com/weir-gateway/weir/core/internal/telemetry"
)

// The times of connections between peers.
const (
	dialTimeout = time.Second
	// idleTimeout is when this side closes a connection that is not used. The other side keeps it longer (core.NewPeerServer), so
	// that no request is sent on a connection that is just being closed.
	idleTimeout = 30 * time.Second
	// idleConnections are kept to each node.
	idleConnections = 256
)

// Peers are the gateways of one installation, seen from one of them. It is safe for concurrent use.
type Peers struct {
	self      string
	peers     map[string]*node
	hints     *Hints
	ownership Ownership
	members   *membership // the same, for what goes beyond the interface: the claims that are told to others
	signer    *signer
	logger    *slog.Logger
	metrics   *telemetry.Metrics
	buffers   buffers

	incarnation string
	leaving     atomic.Bool
	started     sync.Once
	synced      chan struct{} // closed when every peer has been asked once
	ctx         context.Context
	cancel      context.CancelFunc
	running     sync.WaitGroup
}

var _ rest.Peers = (*Peers)(nil)

// New gives the peers that settings name, or nil when the gateway is alone. Nobody is asked before Handler is called. An error names the setting
// that cannot work.
func New(settings *config.Config, logger *slog.Logger, metrics *telemetry.Metrics) (*Peers, error) {
	s := &settings.Peers
	if s.NodeID == "" {
		return nil, nil
	}
	secrets := []string{s.Secret.Reveal()}
	if previous := s.PreviousSecret.Reveal(); previous != "" && previous != secrets[0] {
		secrets = append(secrets, previous)
	}
	for _, secret := range secrets {
		if len(secret) < identity.MinSecret { // a masked one, out of a configuration that was shown
			return nil, fmt.Errorf("peers.secret and previous_secret must have at least %d bytes", identity.MinSecret)
		}
	}
	keys, err := newKeyring(secrets...)
	if err != nil {
		return nil, fmt.Errorf("peers.secret: %w", err)
	}
	transport, err := newTransport(s)
	if err != nil {
		return nil, err
	}
	p := &Peers{self: s.NodeID, peers: map[string]*node{}, hints: NewHints(s.NodeID, secrets...), logger: logger, metrics: metrics,
		incarnation: rest.UUID(), synced: make(chan struct{})}
	for id, at := range s.Nodes {
		u, err := url.Parse(at)
		if err != nil {
			return nil, fmt.Errorf("peers.nodes.%s: %w", id, err)
		}
		if id != s.NodeID {
			p.peers[id] = newNode(id, u, transport.Clone(), logger)
		}
	}
	p.signer = &signer{self: p.self, peers: p.peers, keys: keys}
	p.members = &membership{self: p.self, nodes: slices.Sorted(maps.Keys(s.Nodes)), peers: p.peers, own: map[digest]time.Time{}, announce: p.announce,
		lifetime: settings.Consume.InstanceTimeout + settings.Consume.MaxRequestTimeout}
	p.ownership = p.members
	p.ctx, p.cancel = context.WithCancel(context.Background())
	for id, peer := range p.peers {
		metrics.Gauge("weir_peer_up", "1 while a peer answers, else 0.", map[string]string{"node": id}, func() float64 {
			if peer.isUp() {
				return 1
			}
			return 0
		})
	}
	return p, nil
}

func newTransport(s *config.Peers) (*http.Transport, error) {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}}
	transport := &http.Transport{
		DialContext: dialer.DialContext, TLSHandshakeTimeout: 2 * dialTimeout, DisableCompression: true,
		MaxIdleConnsPerHost: idleConnections, IdleConnTimeout: idleTimeout,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if s.CAFile != "" {
		pem, err := os.ReadFile(s.CAFile)
		if err != nil {
			return nil, fmt.Errorf("peers.ca_file: %w", err)
		}
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("peers.ca_file: %s holds no certificate in PEM form", s.CAFile)
		}
	}
	if file, key := s.TLS.CertificateFile, s.TLS.KeyFile; file != "" {
		// A peer that asks for a certificate is shown the one that this node's own listener has.
		transport.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(file, key)
			return &pair, err
		}
	}
	return transport, nil
}

// start begins to ask the peers.
func (p *Peers) start() { p.started.Do(p.watch) }

// Leave tells the peers, when they next ask, that nothing new should be made here.
func (p *Peers) Leave() { p.leaving.Store(true) }

// Close ends the asking, and what is under way to others.
func (p *Peers) Close() {
	p.cancel()
	p.running.Wait()
	for _, peer := range p.peers {
		peer.abandon()
	}
}

// Node is this gateway's id.
func (p *Peers) Node() string { return p.self }

// Hinted gives a name with the hint of this node.
func (p *Peers) Hinted(group, name string) string { return p.hints.Add(group, name) }

// Locate says which instance a segment of a path means, and where it is: "" for here.
func (p *Peers) Locate(ctx context.Context, key consumer.Key) (name, at string) {
	p.wait(ctx)
	name, hint, hinted := p.hints.Split(key.Group, key.Name)
	key.Name = name
	if hinted {
		// A claim is newer than a hint: a client may make an instance again under the name that it had.
		if at = p.members.claimant(digestOf(key)); at == "" {
			at = hint
		}
	} else {
		at = p.ownership.Owner(key)
	}
	return name, p.elsewhere(at)
}

// Place says where an instance of a chosen name is to be made.
func (p *Peers) Place(ctx context.Context, key consumer.Key) (name string, nodes []string, taken bool) {
	p.wait(ctx)
	name, _, _ = p.hints.Split(key.Group, key.Name)
	key.Name = name
	nodes, taken = p.ownership.Candidates(key)
	for i, node := range nodes {
		nodes[i] = p.elsewhere(node)
	}
	return name, nodes, taken
}

// Claim tells that this node holds an instance.
func (p *Peers) Claim(ctx context.Context, key consumer.Key, always bool) {
	p.ownership.Claim(ctx, key, always)
}

// Release takes a claim back.
func (p *Peers) Release(ctx context.Context, key consumer.Key) { p.ownership.Release(ctx, key) }

func (p *Peers) elsewhere(node string) string {
	if node == p.self {
		return ""
	}
	return node
}

// wait waits until every peer has been asked once: until then nobody knows what they claim.
func (p *Peers) wait(ctx context.Context) {
	select {
	case <-p.synced:
	case <-p.ctx.Done():
	case <-ctx.Done():
	}
}

// connected notes whether a request got a connection: without one nothing of it can have been done.
func connected(ctx context.Context, got *atomic.Bool) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { got.Store(true) }})
}
