package core_test

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/weir-gateway/weir/core"
	"github.com/weir-gateway/weir/core/config"
)

// down is a gateway whose broker is not there.
type down struct {
	core *core.Core
	url  string
}

func startDown(t *testing.T, address string) down {
	t.Helper()
	settings := config.Default()
	cluster := config.DefaultCluster()
	cluster.Name, cluster.BootstrapServers, cluster.AdminTimeout = "down", []string{address}, 2*time.Second
	settings.Clusters = []config.Cluster{cluster}
	settings.Produce.Timeout = 2 * time.Second
	built, err := core.New(t.Context(), settings, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(built)
	t.Cleanup(func() {
		server.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := built.Close(ctx); err != nil {
			t.Log(err)
		}
	})
	return down{built, server.URL}
}

// newCore builds a core only to see whether it can be built.
func newCore(t *testing.T, settings config.Config) error {
	t.Helper()
	built, err := core.New(t.Context(), settings, slog.New(slog.DiscardHandler))
	if err == nil {
		t.Cleanup(func() { built.Close(context.Background()) })
	}
	return err
}
