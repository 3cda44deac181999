package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

// Requests is work of whole requests, one outstanding on each connection.
type Requests struct {
	// Address is the server's host:port.
	Address string
	// Connections is how many connections are kept open.
	Connections int
	// Bytes are the requests, header and body; every connection takes them in turn.
	Bytes [][]byte
	// Records is how many records each request has, and how many entries without an error its answer must have.
	Records int
	// Rate is how many requests a second all connections send together, each when it is due. Zero: each connection sends as
	// soon as it has its answer.
	Rate float64

	schedule atomic.Pointer[schedule]
}

// sampled is how often an answer's entries are counted: every so many answers of a connection, and the first.
const sampled = 16

func (r *Requests) connections() int { return r.Connections }

func (r *Requests) run(ctx context.Context, index int, m *meter) error {
	c, err := dial(ctx, r.Address)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	for i := 0; ; i++ {
		sent := time.Now()
		if r.Rate > 0 {
			if sent, err = r.due(ctx, sent); err != nil {
				return err
			}
		}
		if _, err := c.Write(r.Bytes[(index+i)%len(r.Bytes)]); err != nil {
			return fmt.Errorf("send: %w", err)
		}
		if err := r.take(c, i%sampled == 0); err != nil {
			return err
		}
		m.answered(1, int64(r.Records))
		m.took(time.Since(sent))
	}
}

// take reads one answer.
func (r *Requests) take(c *connection, check bool) error {
	head, err := c.readHead()
	if err != nil {
		return err
	}
	body, err := c.whole(head)
	if err != nil {
		return err
	}
	if check {
		if n := bytes.Count(body, []byte(`"error_code":null`)); n != r.Records {
			return fmt.Errorf("%d of %d records were acknowledged: %.600q", n, r.Records, body)
		}
	}
	return nil
}

// schedule hands out the instants of an open loop.
type schedule struct {
	start time.Time
	taken atomic.Int64
}

// due waits for the next instant at which a request is to be sent, and gives it. It does not wait when that has passed: then
// all connections were busy, and the delay counts.
func (r *Requests) due(ctx context.Context, now time.Time) (time.Time, error) {
	s := r.schedule.Load()
	if s == nil {
		r.schedule.CompareAndSwap(nil, &schedule{start: now})
		s = r.schedule.Load()
	}
	due := s.start.Add(time.Duration(float64(s.taken.Add(1)) / r.Rate * float64(time.Second)))
	if wait := due.Sub(now); wait > 0 {
		return due, pause(ctx, wait)
	}
	return due, nil
}

func dial(ctx context.Context, address string) (*connection, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%s: not TCP", address), conn.Close())
	}
	return newConnection(tcp), nil
}
