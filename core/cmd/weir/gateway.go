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

// gateway is a core with its two listeners.
type gateway struct {
	settings   config.Config
	logger     *slog.Logger
	core       *core.Core
	clients    net.Listener
	management net.Listener // nil: off
}

// listen opens the listeners before anything else, so that a port in use is told at once.
func listen(ctx context.Context, settings config.Config, logger *slog.Logger) (*gateway, error) {
	g := &gateway{settings: settings, logger: logger}
	var err error
	if g.clients, err = net.Listen("tcp", settings.Listen.Address); err != nil {
		return nil, fmt.Errorf("listen.address: %w. Choose another address, or stop what uses it", err)
	}
	if settings.Management.Address != "" {
		if g.management, err = net.Listen("tcp", settings.Management.Address); err != nil {
			return nil, errors.Join(fmt.Errorf("management.address: %w. Choose another address, or stop what uses it", err), g.clients.Close())
		}
	}
	if g.core, err = core.New(ctx, settings, logger); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

func (g *gateway) close() error {
	err := g.clients.Close()
	if g.management != nil {
		err = errors.Join(err, g.management.Close())
	}
	return err
}

// run serves until ctx ends, then drains: not ready first, then no new connections and no more reading of streams, then what
// was accepted is finished, then the clusters are left.
func (g *gateway) run(ctx context.Context) error {
	clients, err := g.clientServer()
	if err != nil {
		return errors.Join(err, g.close(), g.core.Close(ctx))
	}
	failed := make(chan error, 2)
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
	return errors.Join(err, g.drain(clients, management))
}

// drain ends a gateway that has reported itself not ready.
func (g *gateway) drain(clients, management *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), g.settings.Shutdown.Timeout)
	defer cancel()
	g.core.EndStreams()
	var failed []error
	if err := clients.Shutdown(ctx); err != nil {
		failed = append(failed, fmt.Errorf("requests were cut: %w", err), clients.Close())
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
	listen := &g.settings.Listen
	server := core.NewServer(g.settings, g.core, g.logger)
	if listen.TLS.CertificateFile == "" {
		return server, nil
	}
	certificate, err := watchCertificate(listen.TLS.CertificateFile, listen.TLS.KeyFile, g.logger)
	if err != nil {
		return nil, err
	}
	server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certificate.get}
	if listen.TLS.ClientCAFile != "" {
		pem, err := os.ReadFile(listen.TLS.ClientCAFile)
		if err != nil {
			return nil, fmt.Errorf("listen.tls.client_ca_file: %w", err)
		}
		server.TLSConfig.ClientCAs = x509.NewCertPool()
		if !server.TLSConfig.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("listen.tls.client_ca_file: %s holds no certificate in PEM form", listen.TLS.ClientCAFile)
		}
		server.TLSConfig.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return server, nil
}
