package core_test

import (
	"bufio"
	"bytes"
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

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/coretest"
	"github.com/weir-gateway/weir/core/internal/embedded"
)

var oneTopic = embedded.Options{Topics: []embedded.Topic{{Name: "t", Partitions: 2}}}

func startWith(t *testing.T, change func(*config.Config)) *coretest.Gateway {
	t.Helper()
	return coretest.Start(t, coretest.Options{Broker: oneTopic, Settings: change})
}

func recordsURL(g *coretest.Gateway) string {
	return g.URL + "/v3/clusters/" + g.ClusterID + "/topics/t/records"
}

// openStream sends the head of a record stream and gives its two ends.
func openStream(t *testing.T, client *http.Client, url string) (*io.PipeWriter, func() *bufio.Reader) {
	t.Helper()
	body, in := io.Pipe()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	type answer struct {
		response *http.Response
		err      error
	}
	answers := make(chan answer, 1)
	go func() {
		response, err := client.Do(request)
		answers <- answer{response, err}
	}()
	t.Cleanup(func() { in.Close(); cancel() })
	return in, func() *bufio.Reader {
		t.Helper()
		a := <-answers
		if a.err != nil {
			t.Fatal(a.err)
		}
		t.Cleanup(func() { a.response.Body.Close() })
		if a.response.StatusCode != http.StatusOK {
			t.Fatalf("status %d", a.response.StatusCode)
		}
		return bufio.NewReader(a.response.Body)
	}
}

// A client that sends a record, waits for its receipt and sends the next is served on one connection, on HTTP/1.1 and on h2c.
func TestStreamPingPong(t *testing.T) {
	t.Parallel()
	g := startWith(t, nil)
	h2c := &http.Client{Transport: &http.Transport{Protocols: new(http.Protocols)}}
	h2c.Transport.(*http.Transport).Protocols.SetUnencryptedHTTP2(true)
	for name, client := range map[string]*http.Client{"HTTP/1.1": {Transport: &http.Transport{}}, "h2c": h2c} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			defer client.CloseIdleConnections()
			in, answer := openStream(t, client, recordsURL(g))
			receipts := answer() // the status comes before any record is sent
			for i := range 100 {
				fmt.Fprintf(in, `{"partition_id":0,"value":{"type":"JSON","data":%d}}`, i)
				line, err := receipts.ReadString('\n')
				if err != nil || !strings.Contains(line, `"error_code":200`) || !strings.HasSuffix(line, "\r\n") {
					t.Fatalf("record %d: receipt %q, %v", i, line, err)
				}
			}
			in.Close()
			if rest, err := io.ReadAll(receipts); err != nil || len(rest) > 0 {
				t.Fatalf("after the last receipt: %q, %v", rest, err)
			}
		})
	}
}

// The bound on a write that is blocked does not end a stream that is idle.
func TestStreamThatIsIdleGoesOn(t *testing.T) {
	t.Parallel()
	g := startWith(t, func(c *config.Config) { c.Stream.WriteTimeout = 100 * time.Millisecond })
	h2c := &http.Client{Transport: &http.Transport{Protocols: new(http.Protocols)}}
	h2c.Transport.(*http.Transport).Protocols.SetUnencryptedHTTP2(true)
	for name, client := range map[string]*http.Client{"HTTP/1.1": {Transport: &http.Transport{}}, "h2c": h2c} {
		in, answer := openStream(t, client, recordsURL(g))
		receipts := answer()
		for i := range 2 {
			io.WriteString(in, `{}`)
			if line, err := receipts.ReadString('\n'); err != nil || !strings.Contains(line, `"error_code":200`) {
				t.Fatalf("%s: record %d: %q, %v", name, i, line, err)
			}
			<-time.After(300 * time.Millisecond) // longer than the bound, with nothing to write
		}
		in.Close()
		if rest, err := io.ReadAll(receipts); err != nil || len(rest) > 0 {
			t.Fatalf("%s: the end: %q, %v", name, rest, err)
		}
		client.CloseIdleConnections()
	}
}

// The time for a record is not begun anew by every byte of it.
func TestStreamThatTrickles(t *testing.T) {
	t.Parallel()
	g := startWith(t, func(c *config.Config) { c.Stream.IdleTimeout = 300 * time.Millisecond })
	in, answer := openStream(t, &http.Client{Transport: &http.Transport{}}, recordsURL(g))
	receipts := answer()
	ended := make(chan error, 1)
	go func() {
		_, err := io.ReadAll(receipts)
		ended <- err
	}()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(10 * time.Second); ; {
		select {
		case <-ended:
			return
		case <-tick.C:
			io.WriteString(in, " ")
		case <-deadline:
			t.Fatal("the stream goes on")
		}
	}
}

// What has come of a record is counted among the bytes that all requests together may hold.
func TestStreamWhoseRecordDoesNotFit(t *testing.T) {
	t.Parallel()
	g := startWith(t, func(c *config.Config) { c.Limits.BufferedBytes = 100_000 })
	conn, in := dialRaw(t, g)
	io.WriteString(conn, head(g, "Transfer-Encoding: chunked\r\n")+chunk(`{}`)+chunk(`{"value":{"type":"STRING","data":"`+strings.Repeat("x", 150_000)))
	response, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if lines := strings.Split(strings.TrimSpace(string(body)), "\r\n"); err != nil || len(lines) != 2 || !strings.Contains(lines[1], `"error_code":503`) {
		t.Fatalf("%q, %v", body, err)
	}
}

// A drain loses no receipt, not even of a client that goes on sending and reads slowly: what it was told is what is in the log.
func TestDrainTellsASlowReaderEverything(t *testing.T) {
	t.Parallel()
	g := startWith(t, nil)
	conn, in := dialRaw(t, g)
	io.WriteString(conn, head(g, "Transfer-Encoding: chunked\r\n"))
	go func() {
		record := chunk(strings.Repeat(`{"partition_id":0,"value":{"type":"STRING","data":"x"}}`, 50))
		for {
			if _, err := io.WriteString(conn, record); err != nil {
				return
			}
		}
	}()
	response, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	told, piece := 0, make([]byte, 8192)
	drained := false
	for {
		n, err := response.Body.Read(piece)
		told += bytes.Count(piece[:n], []byte("\n"))
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("after %d receipts: %v", told, err)
		}
		if told > 500 && !drained {
			drained = true
			g.Core.Drain()
			g.Core.EndStreams()
		}
		if drained {
			<-time.After(time.Millisecond) // a slow reader
		}
	}
	records, err := g.Broker.Records("t")
	if err != nil {
		t.Fatal(err)
	}
	if written := len(records); told != written || response.Trailer.Get("Weir-Record-Errors") != "0" {
		t.Errorf("%d receipts for %d records, trailer %v", told, written, response.Trailer)
	}
}

// dialRaw speaks HTTP/1.1 by hand.
func dialRaw(t *testing.T, g *coretest.Gateway) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn, bufio.NewReader(conn)
}

func head(g *coretest.Gateway, fields string) string {
	return "POST " + strings.TrimPrefix(recordsURL(g), g.URL) + " HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n" + fields + "\r\n"
}

func chunk(text string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(text), text) }

// A stream that ends at a syntax error while its body is still open must end the answer properly and the connection too, so
// that what follows on it is never taken for a request.
func TestStreamThatEndsEarlyEndsItsConnection(t *testing.T) {
	t.Parallel()
	g := startWith(t, nil)
	conn, in := dialRaw(t, g)
	io.WriteString(conn, head(g, "Transfer-Encoding: chunked\r\n")+chunk(`{"value":{"type":"JSON","data":1}}{"x`+"\n")+chunk(`,`))
	response, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("the answer does not end as HTTP wants: %v after %q", err, body)
	}
	lines := strings.Split(strings.TrimSpace(string(body)), "\r\n")
	if len(lines) != 2 || !strings.Contains(lines[0], `"error_code":200`) || !strings.Contains(lines[1], "Error processing message") {
		t.Fatalf("receipts: %q", lines)
	}
	if got := response.Trailer.Get("Weir-Record-Errors"); got != "1" {
		t.Errorf("trailer Weir-Record-Errors: %q", got)
	}
	io.WriteString(conn, "GET /topics HTTP/1.1\r\nHost: h\r\n\r\n")
	if rest, err := io.ReadAll(in); len(rest) > 0 {
		t.Fatalf("the connection answered something more: %q, %v", rest, err)
	}
}

// When the whole body has come, the connection is good for a further request.
func TestStreamThatEndsKeepsItsConnection(t *testing.T) {
	t.Parallel()
	g := startWith(t, nil)
	conn, in := dialRaw(t, g)
	for _, request := range []string{
		head(g, "Transfer-Encoding: chunked\r\n") + chunk(`{}`) + "0\r\n\r\n",
		head(g, "Content-Length: 4\r\n") + "{}{}",
		head(g, "Transfer-Encoding: chunked\r\n") + chunk(`{},`) + "0\r\n\r\n",
		head(g, "Transfer-Encoding: chunked\r\n") + chunk(`{}`) + "0\r\n\r\n",
	} {
		io.WriteString(conn, request)
		response, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(response.Body); err != nil || !bytes.HasPrefix(body, []byte(`{"error_code":200`)) {
			t.Fatalf("%q: %q, %v", request, body, err)
		}
	}
}

// Clients that announce a length often write all of it before they read: their receipts wait for them.
func TestStreamOfAClientThatWritesBeforeItReads(t *testing.T) {
	t.Parallel()
	const count = 20000
	g := startWith(t, nil)
	conn, in := dialRaw(t, g)
	body := strings.Repeat(`{"value":{"type":"STRING","data":"x"}}`, count)
	if _, err := io.WriteString(conn, head(g, fmt.Sprintf("Content-Length: %d\r\n", len(body)))+body); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(response.Body)
	if got := bytes.Count(answer, []byte(`"error_code":200`)); err != nil || got != count {
		t.Fatalf("%d good receipts, %v", got, err)
	}
}

// A client that never reads its receipts is stopped: reading ends when the window is full, and the stream when the write has
// been blocked for too long.
func TestStreamOfAClientThatNeverReads(t *testing.T) {
	t.Parallel()
	g := startWith(t, func(c *config.Config) { c.Stream.WriteTimeout = 300 * time.Millisecond })
	conn, _ := dialRaw(t, g)
	record := chunk(strings.Repeat(`{"value":{"type":"STRING","data":"x"}}`, 100))
	io.WriteString(conn, head(g, "Transfer-Encoding: chunked\r\n"))
	for written := 0; ; written += len(record) {
		if _, err := io.WriteString(conn, record); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("the stream was not ended")
			}
			return
		}
		if written > 1<<30 {
			t.Fatal("a GiB was taken from a client that reads no receipts")
		}
	}
}

func TestStreamOlderThanAllowed(t *testing.T) {
	t.Parallel()
	g := startWith(t, func(c *config.Config) {
		c.Stream.MaxDuration, c.Stream.GracePeriod = 100*time.Millisecond, 100*time.Millisecond
	})
	in, answer := openStream(t, http.DefaultClient, recordsURL(g))
	receipts := answer()
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		if _, err := io.WriteString(in, `{}`); err != nil {
			break
		}
		line, err := receipts.ReadString('\n')
		if err != nil {
			t.Fatalf("the stream ended without the 408: %v", err)
		}
		if strings.Contains(line, `"error_code":408`) {
			if !strings.Contains(line, "Streaming connection open for longer than allowed: Connection will be closed.") {
				t.Fatalf("receipt %q", line)
			}
			if _, err := io.ReadAll(receipts); err != nil {
				t.Fatalf("the stream was cut: %v", err)
			}
			return
		}
	}
	t.Fatal("an old stream was not answered 408")
}

func TestDrainEndsStreamsInOrder(t *testing.T) {
	t.Parallel()
	g := startWith(t, nil)
	in, answer := openStream(t, http.DefaultClient, recordsURL(g))
	receipts := answer()
	io.WriteString(in, `{}`)
	if line, err := receipts.ReadString('\n'); err != nil || !strings.Contains(line, `"error_code":200`) {
		t.Fatalf("%q, %v", line, err)
	}
	g.Core.Drain()
	if g.Core.Ready().Ready {
		t.Error("ready while draining")
	}
	g.Core.EndStreams()
	if rest, err := io.ReadAll(receipts); err != nil || len(rest) > 0 {
		t.Fatalf("after the drain: %q, %v", rest, err)
	}
}
