package rest

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/weir-gateway/weir/core/config"
)

// answering answers with so many bytes in pieces of a size, and gives the error of the answer's end.
func answering(t *testing.T, limits config.Limits, size, piece int) (address string, ended <-chan error) {
	t.Helper()
	settings := config.Default()
	settings.Limits.WriteTimeout, settings.Limits.WriteRate = limits.WriteTimeout, limits.WriteRate
	errs := make(chan error, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := NewPieces(&responseWriter{ResponseWriter: w, answerWithin: limits.WriteTimeout}, &Request{Request: r, Settings: &settings}, ApplicationJSON)
		for range size / piece {
			out.Bytes = append(out.Bytes, make([]byte, piece)...)
			if out.Flow() != nil {
				break
			}
		}
		errs <- out.End()
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), errs
}

func request(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	return conn
}

// A client that takes nothing ends the answer, also one of a single piece, which nobody but its deadline could end.
func TestAnAnswerThatNobodyTakesEnds(t *testing.T) {
	t.Parallel()
	for name, piece := range map[string]int{"one piece": 32 << 20, "many pieces": 64 << 10} {
		address, ended := answering(t, config.Limits{WriteTimeout: 200 * time.Millisecond, WriteRate: 1 << 30}, 32<<20, piece)
		request(t, address)
		select {
		case err := <-ended:
			if err == nil {
				t.Errorf("%s: the answer counts as taken", name)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: the answer does not end", name)
		}
	}
}

// A client that takes an answer steadily has more than the write timeout for it, and one that only trickles has not.
func TestALongAnswerMayTakeItsTime(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		rate  int
		taken bool
	}{{"steady", 1 << 20, true}, {"trickling", 1 << 30, false}} {
		const size, within = 24 << 20, 2 * time.Second
		address, ended := answering(t, config.Limits{WriteTimeout: within, WriteRate: c.rate}, size, 64<<10)
		conn := request(t, address)
		go func() { // takes the answer in some six seconds, until it ends
			for buffer := make([]byte, 256<<10); ; time.Sleep(60 * time.Millisecond) {
				if _, err := conn.Read(buffer); err != nil {
					return
				}
			}
		}()
		select {
		case err := <-ended:
			if (err == nil) != c.taken {
				t.Errorf("%s: %v", c.name, err)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%s: the answer does not end", c.name)
		}
	}
}

// An answer of another node is given the time of each piece, too.
func TestAPassedOnAnswerMayTakeItsTime(t *testing.T) {
	t.Parallel()
	const size, within = 24 << 20, 2 * time.Second
	settings := config.Default()
	failed := make(chan error, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{responseWriter: responseWriter{ResponseWriter: w, answerWithin: within},
			request: Request{Request: r, Settings: &settings, control: http.NewResponseController(w)}}
		to := passingWriter{x, &passedBody{request: &x.request}, func() bool { return true }}
		for range size / (32 << 10) {
			if _, err := to.Write(make([]byte, 32<<10)); err != nil {
				failed <- err
				return
			}
		}
		failed <- nil
	}))
	t.Cleanup(server.Close)
	conn := request(t, server.Listener.Addr().String())
	go func() { // takes the answer in some six seconds
		for buffer := make([]byte, 256<<10); ; time.Sleep(60 * time.Millisecond) {
			if _, err := conn.Read(buffer); err != nil {
				return
			}
		}
	}()
	if err := <-failed; err != nil {
		t.Error(err)
	}
}
