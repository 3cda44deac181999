package history

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

var errCut = errors.New("the client cut the connection")

// scissors cut a worker's connection at a place that was chosen before the exchange began: after so many bytes written, or
// read, or after a time. It works on bytes of the connection, so it hits headers, bodies, chunk marks and frames alike.
type scissors struct {
	mu      sync.Mutex
	random  *rand.Rand
	armed   bool
	write   int // bytes that may still be written; negative: any
	read    int
	timer   *time.Timer
	done    bool // a cut was made since arm
	current net.Conn
	body    *io.PipeReader // of the stream that is open; nil: none
}

// arm chooses where the next exchange, of about so many bytes, is cut.
func (s *scissors) arm(requestBytes, answerBytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed, s.done = true, false
	s.write, s.read = -1, -1
	switch s.random.IntN(3) {
	case 0:
		s.write = s.random.IntN(max(1, requestBytes))
	case 1:
		s.read = s.random.IntN(max(1, answerBytes))
	default:
		s.timer = time.AfterFunc(time.Duration(s.random.IntN(30_000))*time.Microsecond, s.cutNow)
	}
}

// disarm ends the exchange and reports whether it was cut.
func (s *scissors) disarm() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	s.armed = false
	if s.done {
		s.current = nil
	}
	return s.done
}

// cutNow is the timer's cut.
func (s *scissors) cutNow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.armed && !s.done && s.current != nil {
		s.done = true
		s.sever(s.current)
	}
}

// sever closes the connection and, with it, the body that is being sent. The lock is held.
func (s *scissors) sever(connection net.Conn) {
	if tcp, ok := connection.(*net.TCPConn); ok && s.random.IntN(2) == 0 {
		_ = tcp.SetLinger(0) // half of the cuts are resets
	}
	_ = connection.Close()
	if s.current != connection {
		return // the exchange that was cut has ended already
	}
	s.current = nil
	if s.body != nil {
		_ = s.body.CloseWithError(errCut) // never fails
	}
}

// tie lets a request body end with the connection, however that ends; nil unties. Without it the HTTP client notices the end
// only when it has the next piece of the body to send.
func (s *scissors) tie(body *io.PipeReader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.body = body
}

func (s *scissors) broken(connection net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.body != nil && s.current == connection {
		_ = s.body.CloseWithError(io.ErrUnexpectedEOF) // never fails
	}
}

// dial makes the connections that the scissors can cut.
func (s *scissors) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var dialer net.Dialer
	connection, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = connection
	return &cuttable{Conn: connection, scissors: s}, nil
}

// allowed takes up to want bytes from a budget, and reports whether the budget ends with them. Then the exchange is cut: the
// caller passes on those bytes and calls severed.
func (s *scissors) allowed(budget *int, want int, of net.Conn) (allowed int, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.armed || s.done || *budget < 0 || s.current != of {
		return want, false
	}
	allowed = min(want, *budget)
	*budget -= allowed
	s.done = *budget == 0
	return allowed, s.done
}

func (s *scissors) severed(connection net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sever(connection)
}

type cuttable struct {
	net.Conn
	scissors *scissors
}

func (c *cuttable) Write(data []byte) (int, error) {
	allowed, last := c.scissors.allowed(&c.scissors.write, len(data), c.Conn)
	n, err := c.Conn.Write(data[:allowed])
	if last {
		c.scissors.severed(c.Conn)
		err = errCut
	}
	return n, err
}

func (c *cuttable) Read(data []byte) (int, error) {
	n, err := c.Conn.Read(data)
	allowed, last := c.scissors.allowed(&c.scissors.read, n, c.Conn)
	if last {
		c.scissors.severed(c.Conn)
		n, err = allowed, errCut
	}
	if err != nil {
		c.scissors.broken(c.Conn)
	}
	return n, err
}
