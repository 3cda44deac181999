package coretest

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/weir-gateway/weir/core"
	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/embedded"
)

// PeerSecret is what the gateways of StartPeers share.
const PeerSecret = "the secret that all gateways of a test share"

// Peer is one of several gateways that serve consumer instances together. Its addresses stay when it is stopped and started again.
type Peer struct {
	Gateway
	// NodeID is its id among the peers.
	NodeID string
	// InternalURL is where its peers reach it.
	InternalURL string

	t        testing.TB
	settings config.Config
	logger   *slog.Logger
	servers  []*http.Server
	serving  sync.WaitGroup
}

// StartPeers starts n gateways, node-0 and so on, on one embedded broker as each other's peers. They end with the test. It returns when
// all are ready and have seen each other.
func StartPeers(t testing.TB, n int, options Options) []*Peer {
	t.Helper()
	broker, err := embedded.Start(options.Broker)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	logger := options.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	peers, clients, internal, nodes := make([]*Peer, n), make([]net.Listener, n), make([]net.Listener, n), map[string]string{}
	for i := range n {
		clients[i], internal[i] = listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
		peers[i] = &Peer{NodeID: "node-" + strconv.Itoa(i), InternalURL: "http://" + internal[i].Addr().String(), t: t, logger: logger}
		peers[i].URL, peers[i].ClusterID, peers[i].Broker = "http://"+clients[i].Addr().String(), broker.ClusterID(), broker
		nodes[peers[i].NodeID] = peers[i].InternalURL
	}
	var started sync.WaitGroup
	for i, p := range peers {
		p.settings = config.Default()
		cluster := config.DefaultCluster()
		cluster.Name, cluster.BootstrapServers = "test", broker.Addresses()
		p.settings.Clusters = []config.Cluster{cluster}
		p.settings.Peers = config.Peers{NodeID: p.NodeID, Address: internal[i].Addr().String(), Secret: PeerSecret, Nodes: nodes}
		if options.Settings != nil {
			options.Settings(&p.settings)
		}
		p.open()
		t.Cleanup(p.Stop)
		started.Go(func() { p.serve(clients[i], internal[i]) })
	}
	started.Wait()
	for _, p := range peers {
		p.waitReady()
	}
	return peers
}

// listen listens, patiently: an address that was free a moment ago may be some connection's for another.
func listen(t testing.TB, address string) net.Listener {
	t.Helper()
	deadline := time.Now().Add(shutdownTimeout)
	for {
		listener, err := net.Listen("tcp", address)
		if err == nil {
			return listener
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (p *Peer) open() {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	var err error
	if p.Core, err = core.New(ctx, p.settings, p.logger); err != nil {
		p.t.Fatal(err)
	}
}

// serve begins to serve on both listeners, the internal one first as the binary does.
func (p *Peer) serve(clients, internal net.Listener) {
	p.servers = []*http.Server{core.NewServer(p.settings, p.Core, p.logger), core.NewPeerServer(p.settings, p.Core.Internal(), p.logger)}
	p.serving.Go(func() { p.servers[1].Serve(internal) }) //nolint:errcheck // always http.ErrServerClosed
	p.serving.Go(func() { p.servers[0].Serve(clients) })  //nolint:errcheck // always http.ErrServerClosed
}

func (p *Peer) waitReady() {
	p.t.Helper()
	deadline := time.Now().Add(shutdownTimeout)
	for !p.Core.Ready().Ready {
		if time.Now().After(deadline) {
			p.t.Fatalf("%s is not ready: %+v", p.NodeID, p.Core.Ready())
		}
		time.Sleep(time.Millisecond)
	}
}

// Start starts the gateway again at its addresses, knowing nothing of what it knew. It returns when it is ready.
func (p *Peer) Start() {
	p.t.Helper()
	clients, internal := listen(p.t, p.URL[len("http://"):]), listen(p.t, p.InternalURL[len("http://"):])
	p.open()
	p.serve(clients, internal)
	p.waitReady()
}

// Stop ends the gateway in order, as SIGTERM does. It does nothing when it has ended.
func (p *Peer) Stop() {
	if p.servers == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	p.Core.Drain()
	p.Core.EndStreams()
	var failed []error
	for _, server := range p.servers {
		if err := server.Shutdown(ctx); err != nil {
			failed = append(failed, err, server.Close())
		}
	}
	failed = append(failed, p.Core.Wait(ctx))
	p.end(ctx, failed)
}

// Kill cuts every connection of the gateway's at once, and ends it.
func (p *Peer) Kill() {
	var failed []error
	for _, server := range p.servers {
		failed = append(failed, server.Close())
	}
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	p.end(ctx, failed)
}

func (p *Peer) end(ctx context.Context, failed []error) {
	p.serving.Wait()
	p.servers = nil
	if err := errors.Join(append(failed, p.Core.Close(ctx))...); err != nil {
		p.t.Logf("closing %s: %v", p.NodeID, err)
	}
}
