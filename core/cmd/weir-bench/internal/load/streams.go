package load

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

// Streams is work of record streams, each one chunked request that never ends: a window of records is outstanding on each,
// and for each receipt a further record is sent.
type Streams struct {
	// Address is the server's host:port.
	Address string
	// Connections is how many streams are open.
	Connections int
	// Head is the request's header, with Transfer-Encoding: chunked.
	Head []byte
	// Chunks are the records, each encoded as one chunk and all of the same length; every stream takes them in turn.
	Chunks [][]byte
	// Window is how many records of a stream are without a receipt.
	Window int
}

func (s *Streams) connections() int { return s.Connections }

func (s *Streams) run(ctx context.Context, index int, m *meter) error {
	c, err := dial(ctx, s.Address)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if _, err := c.Write(s.Head); err != nil {
		return fmt.Errorf("send the header: %w", err)
	}
	out := s.newSender(c, index)
	if err := out.send(s.Window); err != nil {
		return err
	}
	if _, err := c.readHead(); err != nil {
		return err
	}
	for {
		// All receipts that have come are taken before the next records are sent: one write for many.
		receipts := 0
		for receipts == 0 || c.waiting() {
			chunk, err := c.readChunk()
			if err != nil {
				return err
			}
			if len(chunk) == 0 {
				return fmt.Errorf("the stream was ended")
			}
			n := bytes.Count(chunk, []byte{'\n'})
			if good := bytes.Count(chunk, []byte(`"error_code":200,`)); good != n {
				return fmt.Errorf("%d of %d receipts are good: %.600q", good, n, chunk)
			}
			receipts += n
		}
		m.answered(int64(receipts), int64(receipts))
		now := time.Now()
		for range receipts {
			m.took(now.Sub(out.oldest()))
		}
		if err := out.send(receipts); err != nil {
			return err
		}
	}
}

// sender writes records and remembers when.
type sender struct {
	conn   *connection
	ring   []byte // all chunks, and as many again of the first as a window may need
	length int    // of one chunk
	chunks int
	next   int

	sent     []time.Time // of the outstanding records, a ring
	answered int
	written  int
}

func (s *Streams) newSender(c *connection, index int) *sender {
	all := append([][]byte{}, s.Chunks...)
	for i := range s.Window {
		all = append(all, s.Chunks[i%len(s.Chunks)])
	}
	return &sender{
		conn: c, ring: bytes.Join(all, nil), length: len(s.Chunks[0]), chunks: len(s.Chunks), next: index % len(s.Chunks),
		sent: make([]time.Time, s.Window),
	}
}

// send writes n records at once. n is at most the window.
func (s *sender) send(n int) error {
	now := time.Now()
	for range n {
		s.sent[s.written%len(s.sent)] = now
		s.written++
	}
	if _, err := s.conn.Write(s.ring[s.next*s.length : (s.next+n)*s.length]); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	s.next = (s.next + n) % s.chunks
	return nil
}

// oldest gives when the record of the next receipt was sent.
func (s *sender) oldest() time.Time {
	at := s.sent[s.answered%len(s.sent)]
	s.answered++
	return at
}
