//go:build acceptance

package acceptance

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weir-gateway/weir/core/internal/apachekafka"
)

// A stream that sends a record, waits for its receipt, and sends the next works for 1,000 records on one HTTP/1.1 connection and on
// one HTTP/2 stream.
func TestStreamPingPongOfAThousandRecords(t *testing.T) {
	cluster := startKafka(t, apachekafka.Options{})
	if err := cluster.CreateTopic(context.Background(), "pingpong", 3, 1, nil); err != nil {
		t.Fatal(err)
	}
	w := serveKafka(t, cluster, "")
	url := w.url + "/v3/clusters/" + w.clusterID(t) + "/topics/pingpong/records"
	var dialled []string
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		dialled = append(dialled, address)
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	h2c := &http.Transport{DialContext: dial, Protocols: new(http.Protocols)}
	h2c.Protocols.SetUnencryptedHTTP2(true)
	for protocol, transport := range map[string]http.RoundTripper{"HTTP/1.1": &http.Transport{DialContext: dial}, "HTTP/2.0": h2c} {
		t.Run(protocol, func(t *testing.T) {
			dialled = nil
			body, in := io.Pipe()
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Content-Type", "application/json")
			response, err := transport.RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if response.Proto != protocol {
				t.Fatalf("spoke %s", response.Proto)
			}
			receipts := bufio.NewReader(response.Body)
			began := time.Now()
			for i := range 1000 {
				fmt.Fprintf(in, `{"partition_id":0,"value":{"type":"JSON","data":{"i":%d}}}`, i)
				line, err := receipts.ReadString('\n')
				if err != nil || !strings.Contains(line, `"error_code":200`) {
					t.Fatalf("record %d: %q, %v", i, line, err)
				}
			}
			t.Logf("1000 round trips in %s", time.Since(began).Round(time.Millisecond))
			in.Close()
			if rest, err := io.ReadAll(receipts); err != nil || len(rest) > 0 {
				t.Fatalf("the end: %q, %v", rest, err)
			}
			if len(dialled) != 1 {
				t.Fatalf("%d connections were used", len(dialled))
			}
		})
	}
}

// Clients that never read their receipts are stopped, and what they make the gateway hold is bounded.
func TestStreamsOfClientsThatNeverReadAreStopped(t *testing.T) {
	cluster := startKafka(t, apachekafka.Options{})
	if err := cluster.CreateTopic(context.Background(), "unread", 3, 1, nil); err != nil {
		t.Fatal(err)
	}
	w := serveKafka(t, cluster, "stream: {write_timeout: 3s}\n")
	path := "/v3/clusters/" + w.clusterID(t) + "/topics/unread/records"
	before := w.residentMemory(t)
	const clients = 20
	stopped := make(chan error, clients)
	for range clients {
		go func() { stopped <- neverRead(strings.TrimPrefix(w.url, "http://"), path) }()
	}
	peak := before
	for ended := 0; ended < clients; {
		select {
		case err := <-stopped:
			if err != nil {
				t.Fatal(err)
			}
			ended++
		case <-time.After(100 * time.Millisecond):
			peak = max(peak, w.residentMemory(t))
		}
	}
	t.Logf("resident memory: %d MiB before, %d MiB at most with %d clients", before>>20, peak>>20, clients)
	if grown := peak - before; grown > 200<<20 {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
	if status, _, err := get(w.management + "/readyz"); err != nil || status != http.StatusOK {
		t.Errorf("not ready afterwards: %d %v", status, err)
	}
}

// neverRead sends records until it is cut off and reads nothing. It gives nil when it was cut off.
func neverRead(address, path string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	// The receive buffer stays the kernel's own: with a tiny one that is full, Linux drops the acknowledgements of what this side
	// sends together with the receipts that it has no room for, and the connection freezes before the gateway can end it.
	conn.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n", path)
	record := `{"value":{"type":"STRING","data":"` + strings.Repeat("x", 1000) + `"}}`
	chunk := fmt.Sprintf("%x\r\n%s\r\n", len(record), record)
	for sent := 0; ; sent += len(record) {
		if _, err := io.WriteString(conn, chunk); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return fmt.Errorf("the client was not cut off after %d bytes", sent)
			}
			return nil
		}
		if sent > 1<<30 {
			return errors.New("the gateway took a GiB from a client that reads nothing")
		}
	}
}
