package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/net/netutil"

	"github.com/weir-gateway/weir/core"
	"github.com/weir-gateway/weir/core/config"
)

// gateway is a core with its listeners.
type gateway struct {
	settings   config.Config
	logger     *slog.Logger
	core       *core.Core
	clients    net.Listener
	management net.Listener // nil: off
	peers      net.Listener // nil: alone
}

// listen opens the listeners before anything else, so that a port in use is told at once.
func listen(ctx context.Context, settings config.Config, logger *slog.Logger) (*gateway, error) {
	g := &gateway{settings: settings, logger: logger}
	var err error
	for _, one := range []struct {
		listener *net.Listener
		name     string
		address  string
		wanted   bool
	}{
		{&g.clients, "listen.address", settings.Listen.Address, true},
		{&g.management, "management.address", settings.Management.Address, settings.Management.Address != ""},
		{&g.peers, "peers.address", settings.Peers.Address, settings.Peers.NodeID != ""},
	} {
		if !one.wanted {
			continue
		}
		if *one.listener, err = net.Listen("tcp", one.address); err != nil {
			*one.listener = nil
			return nil, errors.Join(fmt.Errorf("%s: %w. Choose another address, or stop what uses it", one.name, err), g.close())
		}
	}
	if g.core, err = core.New(ctx, settings, logger); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

func (g *gateway) close() error {
	var failed []error
	for _, listener := range []net.Listener{g.clients, g.management, g.peers} {
		if listener != nil {
			failed = append(failed, listener.Close())
		}
	}
	return errors.Join(failed...)
}

// run serves until ctx ends, then drains: not ready first, then no new connections and no more reading of streams, then what
// was accepted is finished, then the clusters are left.
func (g *gateway) run(ctx context.Context) error {
	clients, err := g.clientServer()
	if err != nil {
		return errors.Join(err, g.close(), g.core.Close(ctx))
	}
	peers, err := g.peerServer()
	if err != nil {
		return errors.Join(err, g.close(), g.core.Close(ctx))
	}
	failed := make(chan error, 3)
	serve := func(server *http.Server, listener net.Listener, tls bool) {
		var err error
		if tls {
			err = server.ServeTLS(listener, "", "")
		} else {
			err = server.Serve(listener)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	}
	if peers != nil { // before clients: what they ask for may be with a peer
		go serve(peers, netutil.LimitListener(g.peers, g.settings.Listen.MaxConnections), peers.TLSConfig != nil)
	}
	go serve(clients, netutil.LimitListener(g.clients, g.settings.Listen.MaxConnections), clients.TLSConfig != nil)
	var management *http.Server
	if g.management != nil {
		management = &http.Server{Handler: g.core.Management(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute}
		go serve(management, g.management, false)
	}
	select {
	case err = <-failed:
		g.core.Drain()
	case <-ctx.Done():
		g.logger.Info("draining", "readiness_delay", g.settings.Shutdown.ReadinessDelay.String(), "timeout", g.settings.Shutdown.Timeout.String())
		g.core.Drain()
		time.Sleep(g.settings.Shutdown.ReadinessDelay)
	}
	return errors.Join(err, g.drain(clients, peers, management))
}

// drain ends a gateway that has reported itself not ready. The peers' listener ends after the clients': what it serves are clients'
// requests too, and those that this gateway passes on are answered meanwhile.
func (g *gateway) drain(clients, peers, management *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), g.settings.Shutdown.Timeout)
	defer cancel()
	g.core.EndStreams()
	var failed []error
	if err := clients.Shutdown(ctx); err != nil {
		failed = append(failed, fmt.Errorf("requests were cut: %w", err), clients.Close())
	}
	if peers != nil {
		if err := peers.Shutdown(ctx); err != nil {
			failed = append(failed, fmt.Errorf("requests of peers were cut: %w", err), peers.Close())
		}
	}
	if err := g.core.Wait(ctx); err != nil {
		failed = append(failed, err)
	}
	if err := g.core.Close(ctx); err != nil {
		failed = append(failed, err)
	}
	if management != nil {
		failed = append(failed, management.Close())
	}
	return errors.Join(failed...)
}

// clientServer is the server that clients reach, with TLS if a certificate is configured.
func (g *gateway) clientServer() (*http.Server, error) {
	server := core.NewServer(g.settings, g.core, g.logger)
	var err error
	server.TLSConfig, err = g.serverTLS("listen.tls", g.settings.Listen.TLS)
	return server, err
}

// peerServer is the server that peers reach; nil when the gateway is alone.
func (g *gateway) peerServer() (*http.Server, error) {
	if g.peers == nil {
		return nil, nil
	}
	settings, err := g.serverTLS("peers.tls", g.settings.Peers.TLS)
	if err != nil {
		return nil, err
	}
	server := core.NewPeerServer(g.settings, g.core.Internal(), g.logger)
	server.TLSConfig = settings
	return server, nil
}

// serverTLS is a listener's TLS, nil without a certificate. path is the setting that errors name.
func (g *gateway) serverTLS(path string, settings config.ServerTLS) (*tls.Config, error) {
	if settings.CertificateFile == "" {
		return nil, nil
	}
	certificate, err := watchCertificate(path, settings.CertificateFile, settings.KeyFile, g.logger)
	if err != nil {
		return nil, err
	}
	made := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certificate.get}
	if settings.ClientCAFile != "" {
		pem, err := os.ReadFile(settings.ClientCAFile)
		if err != nil {
			return nil, fmt.Errorf("%s.client_ca_file: %w", path, err)
		}
		made.ClientCAs = x509.NewCertPool()
		if !made.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s.client_ca_file: %s holds no certificate in PEM form", path, settings.ClientCAFile)
		}
		made.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return made, nil
}
