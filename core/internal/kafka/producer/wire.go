package producer

import (
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"sync/atomic"
)

// wire watches the answers to produce requests on their way to sarama, for what sarama knows and does not pass on: the answer
// to every attempt, not only to the last; the broker's words about a refused batch; and which of its records were at fault.
//
// Without the first, a record that was refused after a retry could never be called "not persisted". It costs a walk over an
// answer of some dozen bytes for each batch, and nothing for each record. Whatever cannot be read counts as doubt.
type wire struct {
	broken   atomic.Uint64 // counts connections that broke with a produce request unanswered
	answered func(topic string, partition int32, answer batchAnswer)
}

// batchAnswer is a broker's answer for the batch of one partition.
type batchAnswer struct {
	code    int16
	message string
	faulty  []int32  // places in the batch of the records at fault; may be empty
	records []string // what is wrong with each of them; may be empty strings
	taken   int32    // how many records of the batch have been given this answer
	split   int64    // not 0: the batch was too large, and records up to this size may do in a smaller one
}

const (
	produceKey      = 0
	maxWatchedFrame = 4 << 20 // a larger answer is not looked at
)

// observe wraps a connection.
func (w *wire) observe(conn net.Conn) net.Conn { return &wireConn{Conn: conn, wire: w} }

// wireConn is one connection that carries produce requests, one at a time.
type wireConn struct {
	net.Conn
	wire *wire

	mu      sync.Mutex
	waiting bool  // a produce request is out and its answer is not in
	version int16 // its version
	frame   []byte
	skip    int // bytes of a frame of no interest that are still to come
}

// Write sees whole requests: sarama writes each with one call.
func (c *wireConn) Write(p []byte) (int, error) {
	if len(p) >= 8 && binary.BigEndian.Uint16(p[4:]) == produceKey && int(binary.BigEndian.Uint32(p)) == len(p)-4 {
		c.mu.Lock()
		c.waiting, c.version = true, int16(binary.BigEndian.Uint16(p[6:]))
		c.mu.Unlock()
	}
	n, err := c.Conn.Write(p)
	if err != nil {
		c.lost()
	}
	return n, err
}

func (c *wireConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.take(p[:n])
	}
	if err != nil {
		c.lost()
	}
	return n, err
}

// Close always counts a doubt: an answer that has passed here may not have reached sarama, which then tries again.
func (c *wireConn) Close() error {
	c.wire.broken.Add(1)
	return c.Conn.Close()
}

// lost counts a doubt when a request is out. It comes before sarama learns of the error, and so before any record fails.
func (c *wireConn) lost() {
	c.mu.Lock()
	waiting := c.waiting
	c.waiting = false
	c.mu.Unlock()
	if waiting {
		c.wire.broken.Add(1)
	}
}

// take collects the frames of answers.
func (c *wireConn) take(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(p) > 0 {
		if c.skip > 0 {
			n := min(c.skip, len(p))
			c.skip -= n
			p = p[n:]
			continue
		}
		if need := 4 - len(c.frame); need > 0 {
			n := min(need, len(p))
			c.frame = append(c.frame, p[:n]...)
			p = p[n:]
			if len(c.frame) < 4 {
				return
			}
		}
		size := int(binary.BigEndian.Uint32(c.frame))
		if !c.waiting || size > maxWatchedFrame { // ApiVersions, SASL, InitProducerId
			if c.waiting {
				c.waiting = false
				c.wire.broken.Add(1)
			}
			c.skip, c.frame = size, c.frame[:0]
			continue
		}
		n := min(4+size-len(c.frame), len(p))
		c.frame = append(c.frame, p[:n]...)
		p = p[n:]
		if len(c.frame) < 4+size {
			return
		}
		c.waiting = false
		if err := readProduceAnswer(c.frame[4:], c.version, c.wire.answered); err != nil {
			c.wire.broken.Add(1)
		}
		c.frame = c.frame[:0]
	}
}

var errShortAnswer = errors.New("produce answer ends early")

// readProduceAnswer walks over a ProduceResponse, versions 3 to 11, from the correlation id on.
func readProduceAnswer(frame []byte, version int16, each func(topic string, partition int32, answer batchAnswer)) error {
	r := &answerReader{rest: frame, flexible: version >= 9}
	r.int32() // correlation id
	if r.flexible {
		r.tags()
	}
	for range r.count() {
		topic := r.text()
		for range r.count() {
			partition := r.int32()
			answer := batchAnswer{code: r.int16()}
			r.bytes(8) // base offset
			r.bytes(8) // log append time
			if version >= 5 {
				r.bytes(8) // log start offset
			}
			if version >= 8 {
				for range r.count() {
					answer.faulty = append(answer.faulty, r.int32())
					answer.records = append(answer.records, r.text())
					if r.flexible {
						r.tags()
					}
				}
				answer.message = r.text()
			}
			if r.flexible {
				r.tags()
			}
			if r.failed {
				return errShortAnswer
			}
			each(topic, partition, answer)
		}
		if r.flexible {
			r.tags()
		}
	}
	if r.failed {
		return errShortAnswer
	}
	return nil
}

// answerReader reads the protocol's primitives. After a read beyond the end it gives zeros and stays failed.
type answerReader struct {
	rest     []byte
	flexible bool
	failed   bool
}

func (r *answerReader) bytes(n int) []byte {
	if r.failed || n < 0 || n > len(r.rest) {
		r.failed = true
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *answerReader) int16() int16 {
	if b := r.bytes(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (r *answerReader) int32() int32 {
	if b := r.bytes(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (r *answerReader) varint() int {
	v, n := binary.Uvarint(r.rest)
	if r.failed || n <= 0 || v > maxWatchedFrame {
		r.failed = true
		return 0
	}
	r.rest = r.rest[n:]
	return int(v)
}

// count is the length of an array; null is empty.
func (r *answerReader) count() int {
	var n int
	if r.flexible {
		n = r.varint() - 1
	} else {
		n = int(r.int32())
	}
	if n > len(r.rest) { // an element takes a byte at least
		r.failed = true
	}
	if r.failed {
		return 0
	}
	return max(n, 0)
}

// text is a string; null is empty.
func (r *answerReader) text() string {
	var n int
	if r.flexible {
		n = r.varint() - 1
	} else {
		n = int(r.int16())
	}
	if n <= 0 {
		return ""
	}
	return string(r.bytes(n))
}

func (r *answerReader) tags() {
	for range r.varint() {
		r.varint()
		r.bytes(r.varint())
		if r.failed {
			return
		}
	}
}
