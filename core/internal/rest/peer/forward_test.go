package peer_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/rest"
)

// onAnother makes an instance of the first node and gives its path as a client of the second asks for it.
func onAnother(t *testing.T, c *http.Client, nodes []*testNode) (path string) {
	t.Helper()
	made := create(t, c, nodes[0], "g", "")
	if made.node != nodes[0].id {
		t.Fatalf("a generated name is on %s", made.node)
	}
	return nodes[1].url + made.paths[0]
}

// An answer comes through piece by piece, while it is still being written, and however large it is.
func TestAnswersAreNotBuffered(t *testing.T) {
	t.Parallel()
	nodes, c := start(t, 2, nil), client(t)
	response, reader, s := open(t, c, nodes, onAnother(t, c, nodes))
	defer response.Body.Close()
	for _, piece := range []string{"one", "two"} {
		s.write <- []byte(piece)
		got := make([]byte, len(piece))
		if _, err := io.ReadFull(reader, got); err != nil || string(got) != piece {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	piece, count := bytes.Repeat([]byte("0123456789abcdef"), 1<<16), 64
	go func() {
		for range count {
			s.write <- piece
		}
		close(s.write)
	}()
	n, err := io.Copy(io.Discard, reader)
	if want := int64(count * len(piece)); n != want || err != nil {
		t.Errorf("%d bytes, want %d: %v", n, want, err)
	}
}

// open begins a streamed answer and gives the handler's side of it. The header comes with the first piece.
func open(t *testing.T, c *http.Client, nodes []*testNode, path string) (*http.Response, io.Reader, *stream) {
	t.Helper()
	type result struct {
		response *http.Response
		err      error
	}
	got := make(chan result, 1)
	go func() {
		response, err := c.Get(path + "/stream")
		got <- result{response, err}
	}()
	s := <-nodes[0].streams
	s.write <- []byte("begin")
	r := <-got
	if r.err != nil {
		t.Fatal(r.err)
	}
	reader, begin := bufio.NewReader(r.response.Body), make([]byte, len("begin"))
	if _, err := io.ReadFull(reader, begin); err != nil || string(begin) != "begin" {
		t.Fatalf("got %q, %v", begin, err)
	}
	return r.response, reader, s
}

// A client that goes away, while it waits or in the middle of an answer, ends the work on the other node.
func TestADisconnectGetsThrough(t *testing.T) {
	t.Parallel()
	nodes, c := start(t, 2, nil), client(t)
	path := onAnother(t, c, nodes)
	ctx, disconnect := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, path+"/wait", nil)
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan error, 1)
	go func() {
		_, err := c.Do(r)
		gone <- err
	}()
	<-nodes[0].waiting
	disconnect()
	<-nodes[0].ended
	if err := <-gone; err == nil {
		t.Error("the client got an answer")
	}
	response, _, s := open(t, c, nodes, path)
	response.Body.Close()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case s.write <- make([]byte, 1<<16): // until the handler's write fails
			continue
		case <-deadline:
			t.Error("the handler still writes")
		case <-nodes[0].idle():
		}
		break
	}
}

// idle is closed when a node serves nothing.
func (n *testNode) idle() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.chain.Wait(context.Background())
	}()
	return done
}

// An answer that is cut on the way from the other node is cut for the client, and never looks whole.
func TestACutAnswerIsCut(t *testing.T) {
	t.Parallel()
	nodes, c := start(t, 2, nil), client(t)
	response, reader, s := open(t, c, nodes, onAnother(t, c, nodes))
	defer response.Body.Close()
	nodes[0].servers[1].Close()
	if text, err := io.ReadAll(reader); err == nil {
		t.Errorf("the answer ended well after %q", text)
	}
	close(s.write)
}

// A request that is under way when the other node dies is told that its instance is gone.
func TestANodeDiesUnderARequest(t *testing.T) {
	t.Parallel()
	nodes, c := start(t, 2, nil), client(t)
	path := onAnother(t, c, nodes)
	type result struct {
		status int
		answer answer
	}
	got := make(chan result, 1)
	go func() {
		status, a := do(t, c, http.MethodGet, path+"/wait", "")
		got <- result{status, a}
	}()
	<-nodes[0].waiting
	nodes[0].kill()
	if r := <-got; r.status != http.StatusNotFound || r.answer.Code != 40403 {
		t.Errorf("%d %+v", r.status, r.answer)
	}
}

// A gateway that shuts down does not wait for what waits elsewhere.
func TestShuttingDownGivesUpWaits(t *testing.T) {
	t.Parallel()
	nodes, c := start(t, 2, nil), client(t)
	path := onAnother(t, c, nodes)
	got := make(chan int, 1)
	go func() {
		status, _ := do(t, c, http.MethodGet, path+"/wait", "")
		got <- status
	}()
	<-nodes[0].waiting
	nodes[1].chain.Drain()
	<-nodes[0].ended
	if status := <-got; status != http.StatusServiceUnavailable {
		t.Errorf("status %d", status)
	}
}

// A body is passed on as it comes, and is bounded where it is served.
func TestBodiesAreStreamedAndBounded(t *testing.T) {
	t.Parallel()
	nodes := start(t, 2, func(_ int, settings *config.Config) { settings.Limits.BodyBytes = 1 << 20 })
	c := client(t)
	path := onAnother(t, c, nodes)
	for _, length := range []bool{true, false} {
		text := strings.Repeat("0123456789abcdef", 1<<15)
		var body io.Reader = strings.NewReader(text)
		if !length {
			body = struct{ io.Reader }{body} // no Content-Length
		}
		response, err := c.Post(path+"/echo", "", body)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(got), text) {
			t.Errorf("status %d, %d bytes, %v", response.StatusCode, len(got), err)
		}
	}
	status, a := do(t, c, http.MethodPost, path+"/echo", strings.Repeat("x", 1<<20+1))
	if status != http.StatusRequestEntityTooLarge || a.Code != 413 {
		t.Errorf("a large body: %d %+v", status, a)
	}
}

// raw sends a request by hand and leaves the connection open.
func raw(t *testing.T, node *testNode, lines ...string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", node.url[len("http://"):])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, strings.Join(lines, "\r\n")); err != nil {
		t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}

// An answer that comes before the whole body does not wait for the rest, which nobody will read.
func TestAnAnswerBeforeTheBody(t *testing.T) {
	t.Parallel()
	nodes, c := start(t, 2, nil), client(t)
	path := strings.TrimPrefix(onAnother(t, c, nodes), nodes[1].url)
	_, reader := raw(t, nodes[1], "POST "+path+"/refuse HTTP/1.1", "Host: a", "Content-Length: 1000000", "", "the beginning")
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusRequestEntityTooLarge || !response.Close {
		t.Errorf("got %s, and the connection's end: %v", response.Status, response.Close)
	}
	io.Copy(io.Discard, response.Body)
	if _, err := reader.ReadByte(); err == nil {
		t.Error("the connection is used again")
	}
}

// A body that stops coming is the client's fault, on whichever node its instance is.
func TestASlowBody(t *testing.T) {
	t.Parallel()
	nodes := start(t, 2, func(i int, settings *config.Config) {
		settings.Limits.BodyTimeout = map[int]time.Duration{0: time.Minute, 1: 200 * time.Millisecond}[i]
	})
	c := client(t)
	path := strings.TrimPrefix(onAnother(t, c, nodes), nodes[1].url)
	_, reader := raw(t, nodes[1], "POST "+path+"/echo HTTP/1.1", "Host: a", "Content-Length: 100", "", "the beginning")
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusRequestTimeout {
		t.Errorf("got %s", response.Status)
	}
	if !nodes[1].sees(nodes[0]) {
		t.Error("the peer was blamed")
	}
}

// A node that is asked through a peer never asks another: what is not there does not exist.
func TestThereAreNoLoops(t *testing.T) {
	t.Parallel()
	nodes, c := start(t, 3, nil), client(t)
	for i := range 30 {
		name := rest.UUID()
		before := nodes[0].forwarded.Load() + nodes[1].forwarded.Load() + nodes[2].forwarded.Load()
		status, a := do(t, c, http.MethodGet, nodes[i%3].url+"/consumers/g/instances/"+name, "")
		if status != http.StatusNotFound || a.Code != 40403 {
			t.Errorf("%d %+v", status, a)
		}
		if hops := nodes[0].forwarded.Load() + nodes[1].forwarded.Load() + nodes[2].forwarded.Load() - before; hops > 1 {
			t.Errorf("%d hops", hops)
		}
	}
	// A call that was passed on to a node which would look elsewhere ends there.
	made := create(t, c, nodes[0], "g", "")
	hinted := strings.TrimPrefix(made.paths[0], "/consumers/g/instances/")
	for _, to := range nodes[1:] {
		r, err := http.NewRequest(http.MethodGet, "/consumers/g/instances/"+hinted, nil)
		if err != nil {
			t.Fatal(err)
		}
		w := newRecorder()
		if err := nodes[0].peers.Forward(w, r, to.id, rest.Call{Principal: anonymous, From: "n0"}); err != nil {
			t.Fatal(err)
		}
		if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "40403") {
			t.Errorf("%s answers %d %s", to.id, w.Code, w.Body)
		}
	}
}
