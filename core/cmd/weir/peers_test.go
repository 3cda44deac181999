package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/embedded"
)

// Two gateways that reach each other by mutual TLS serve each other's instances, and drain in order.
func TestTwoGatewaysByTLS(t *testing.T) {
	t.Parallel()
	broker, err := embedded.Start(embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	directory, ca := t.TempDir(), newAuthority(t)
	authorities := write(t, filepath.Join(directory, "ca.pem"), ca.pem)
	nodes := map[string]string{"a": freeAddress(t), "b": freeAddress(t)}
	var bases []string
	for serial, id := range []string{"a", "b"} {
		certificate, key := ca.issue(t, int64(serial+2))
		settings := config.Default()
		settings.Listen.Address, settings.Management.Address = "127.0.0.1:0", ""
		settings.Peers = config.Peers{NodeID: id, Address: nodes[id], Secret: "the secret that both of the gateways share", CAFile: authorities,
			Nodes: map[string]string{"a": "https://" + nodes["a"], "b": "https://" + nodes["b"]}}
		settings.Peers.TLS = config.ServerTLS{ClientCAFile: authorities,
			CertificateFile: write(t, filepath.Join(directory, id+".pem"), certificate), KeyFile: write(t, filepath.Join(directory, id+".key"), key)}
		cluster := config.DefaultCluster()
		cluster.Name, cluster.BootstrapServers = "c", broker.Addresses()
		settings.Clusters = []config.Cluster{cluster}
		ctx, stop := context.WithCancel(t.Context())
		g, err := listen(ctx, settings, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- g.run(ctx) }()
		t.Cleanup(func() {
			stop()
			if err := <-ended; err != nil {
				t.Errorf("the end of %s: %v", id, err)
			}
		})
		bases = append(bases, "http://"+g.clients.Addr().String())
	}
	client := &http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second}
	t.Cleanup(client.CloseIdleConnections)
	call := func(method, url, body string) (int, string) {
		r, err := http.NewRequest(method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(text)
	}
	for i := range 6 {
		status, text := call(http.MethodPost, bases[i%2]+"/consumers/g", "")
		var made struct {
			BaseURI string `json:"base_uri"`
		}
		if err := json.Unmarshal([]byte(text), &made); err != nil || status != http.StatusOK {
			t.Fatalf("%d %s %v", status, text, err)
		}
		path := strings.TrimPrefix(made.BaseURI, bases[i%2])
		// The other gateway may not have seen this one yet.
		deadline := time.Now().Add(10 * time.Second)
		for {
			if status, text = call(http.MethodGet, bases[(i+1)%2]+path+"/subscription", ""); status == http.StatusOK {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("through the other gateway: %d %s", status, text)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if status, text = call(http.MethodDelete, bases[(i+1)%2]+path, ""); status != http.StatusNoContent {
			t.Errorf("deleting: %d %s", status, text)
		}
	}
}

// freeAddress is an address that was free a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
