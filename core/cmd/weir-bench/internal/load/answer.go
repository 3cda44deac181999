package load

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
)

// connection is one kept-alive HTTP/1.1 connection with a buffer that answers are read into and parsed in place.
type connection struct {
	net.Conn
	buffer []byte // what has come and was not taken yet is buffer[from:to]
	from   int
	to     int
	body   []byte // the chunks of a body, put together
}

func newConnection(conn net.Conn) *connection {
	return &connection{Conn: conn, buffer: make([]byte, 64<<10)}
}

// fill reads more, making room first if need be.
func (c *connection) fill() error {
	switch {
	case c.from == c.to:
		c.from, c.to = 0, 0
	case c.to == len(c.buffer) && c.from > 0:
		c.to = copy(c.buffer, c.buffer[c.from:c.to])
		c.from = 0
	case c.to == len(c.buffer):
		c.buffer = append(c.buffer, make([]byte, len(c.buffer))...)
	}
	n, err := c.Read(c.buffer[c.to:])
	c.to += n
	if n > 0 {
		return nil
	}
	return err
}

// head is what matters of an answer's header.
type head struct {
	length int // of the body; -1: chunked
}

// noContent is the status of an answer that has no body and does not say so.
const noContent = "204"

var (
	headEnd          = []byte("\r\n\r\n")
	errNoLength      = errors.New("the answer has neither Content-Length nor chunks")
	contentLength    = []byte("content-length:")
	transferEncoding = []byte("transfer-encoding:")
)

// readHead reads and takes an answer's header. Any status but 200 and 204 is an error that shows the answer.
func (c *connection) readHead() (head, error) {
	searched := 0
	for {
		pending := c.buffer[c.from:c.to]
		if i := bytes.Index(pending[searched:], headEnd); i >= 0 {
			text := pending[:searched+i+2]
			if len(text) < 12 || string(text[:9]) != "HTTP/1.1 " || string(text[9:12]) != "200" && string(text[9:12]) != noContent {
				return head{}, fmt.Errorf("answer: %.600q", pending)
			}
			c.from += searched + i + len(headEnd)
			if string(text[9:12]) == noContent {
				return head{}, nil
			}
			return parseHead(text)
		}
		searched = max(0, len(pending)-len(headEnd)+1)
		if err := c.fill(); err != nil {
			return head{}, fmt.Errorf("answer's header: %w", err)
		}
	}
}

func parseHead(text []byte) (head, error) {
	for line := range bytes.Lines(text) {
		switch {
		case hasFold(line, contentLength):
			n, err := strconv.Atoi(string(bytes.TrimSpace(line[len(contentLength):])))
			if err != nil || n < 0 {
				return head{}, fmt.Errorf("answer's Content-Length: %q", line)
			}
			return head{length: n}, nil
		case hasFold(line, transferEncoding):
			return head{length: -1}, nil
		}
	}
	return head{}, errNoLength
}

// hasFold reports whether line begins with the lower-case prefix, in any case.
func hasFold(line, prefix []byte) bool {
	return len(line) >= len(prefix) && line[0]|0x20 == prefix[0] && bytes.EqualFold(line[:len(prefix)], prefix)
}

// readBody reads and takes a body with a length. It is valid until the next read.
func (c *connection) readBody(length int) ([]byte, error) {
	for c.to-c.from < length {
		if err := c.fill(); err != nil {
			return nil, fmt.Errorf("answer's body, %d of %d bytes: %w", c.to-c.from, length, err)
		}
	}
	body := c.buffer[c.from : c.from+length]
	c.from += length
	return body, nil
}

// readChunk reads and takes the next chunk of a body. An empty one is the body's end.
func (c *connection) readChunk() ([]byte, error) {
	for {
		pending := c.buffer[c.from:c.to]
		if i := bytes.IndexByte(pending, '\n'); i > 0 {
			size, err := strconv.ParseUint(string(bytes.TrimRight(pending[:i], "\r")), 16, 31)
			if err != nil {
				return nil, fmt.Errorf("size of a chunk: %.40q", pending)
			}
			if size == 0 {
				return nil, nil
			}
			if whole := i + 1 + int(size) + 2; len(pending) >= whole {
				c.from += whole
				return pending[i+1 : whole-2], nil
			}
		}
		if err := c.fill(); err != nil {
			return nil, fmt.Errorf("chunk: %w", err)
		}
	}
}

// whole reads and takes the whole body of an answer. It is valid until the next call.
func (c *connection) whole(of head) ([]byte, error) {
	if of.length >= 0 {
		return c.readBody(of.length)
	}
	c.body = c.body[:0]
	for {
		chunk, err := c.readChunk()
		if err != nil {
			return nil, err
		}
		if len(chunk) == 0 {
			_, err = c.readBody(len("0\r\n\r\n"))
			return c.body, err
		}
		c.body = append(c.body, chunk...)
	}
}

// waiting reports whether bytes have come that were not taken yet.
func (c *connection) waiting() bool { return c.from < c.to }
