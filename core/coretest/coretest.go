// Package coretest gives tests a whole gateway in a few milliseconds: a core on an embedded broker, listening on the loopback
// for HTTP/1.1 and h2c. Weir's own tests, the plugins' and those of programs that embed the core use it.
//
// The embedded broker is kfake, not Kafka. What must hold on a real cluster is tested there, by `make acceptance`.
package coretest

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/weir-gateway/weir/core"
	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/embedded"
)

// Gateway is a running core.
type Gateway struct {
	// URL is where clients reach it, http://127.0.0.1:port.
	URL string
	// ClusterID is the id under which v3 serves the broker's cluster.
	ClusterID string
	// Broker is the cluster behind it, with its faults.
	Broker *embedded.Broker
	// Core is the gateway itself.
	Core *core.Core
}

// Options shape a Gateway.
type Options struct {
	Broker   embedded.Options
	Settings func(*config.Config) // changes the default settings; nil: none
	Logger   *slog.Logger         // nil: nothing is logged
}

// shutdownTimeout is how long a test's gateway may take to finish.
const shutdownTimeout = 10 * time.Second

// Start starts a gateway that ends with the test. It returns when the cluster is ready.
func Start(t testing.TB, options Options) *Gateway {
	t.Helper()
	broker, err := embedded.Start(options.Broker)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	settings := config.Default()
	cluster := config.DefaultCluster()
	cluster.Name, cluster.BootstrapServers = "test", broker.Addresses()
	settings.Clusters = []config.Cluster{cluster}
	if options.Settings != nil {
		options.Settings(&settings)
	}
	logger := options.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	gateway, err := core.New(ctx, settings, logger)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := core.NewServer(settings, gateway, logger)
	served := make(chan struct{})
	go func() {
		defer close(served)
		server.Serve(listener) //nolint:errcheck // always http.ErrServerClosed, from the cleanup
	}()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
		defer cancel()
		gateway.Drain()
		gateway.EndStreams()
		if err := server.Shutdown(ctx); err != nil {
			server.Close()
		}
		<-served
		if err := gateway.Wait(ctx); err != nil {
			t.Log(err)
		}
		if err := gateway.Close(ctx); err != nil {
			t.Logf("closing the gateway: %v", err)
		}
	})
	for !gateway.Ready().Ready {
		if ctx.Err() != nil {
			t.Fatalf("the gateway is not ready: %+v", gateway.Ready())
		}
		time.Sleep(time.Millisecond)
	}
	return &Gateway{URL: "http://" + listener.Addr().String(), ClusterID: broker.ClusterID(), Broker: broker, Core: gateway}
}
