package v3

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-gateway/weir/core/internal/rest"
)

// body is a stream's request body: it can be stopped from another goroutine, it ends when nothing comes for too long, and it
// knows how to leave the connection in order when it was not read to its end.
type body struct {
	source  *rest.Request
	control *http.ResponseController
	idle    time.Duration
	ended   atomic.Bool // read to its end

	linger time.Duration // how long a client may take to read the end

	mu      sync.Mutex
	stopped error
	until   time.Time // when the present record must have come

	sinceRecord int64 // bytes read for the present record
	reserved    int64 // most bytes that a record has needed so far, taken from what all requests may hold
}

// Read reads within the present record's deadline. After stop it gives stop's error.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.stopped != nil {
		b.mu.Unlock()
		return 0, b.stopped
	}
	b.control.SetReadDeadline(b.until) //nolint:errcheck // a reader without deadlines ends with its connection
	b.mu.Unlock()
	n, err := b.source.Request.Body.Read(p)
	b.sinceRecord += int64(n)
	if err == io.EOF {
		b.ended.Store(true)
		return n, err
	}
	if err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.stopped != nil {
			err = b.stopped
		}
		return n, err
	}
	if err := b.reserve(); err != nil {
		return 0, err // not n: a reader takes what it is given and forgets the error
	}
	return n, nil
}

// leastReserved is what a stream takes of the budget with its first byte.
const leastReserved = 4 << 10

// reserve keeps the stream's share of the budget at what its largest record so far has needed: the reader's buffer has grown to
// that, and does not shrink.
func (b *body) reserve() error {
	for b.reserved < b.sinceRecord {
		more := max(leastReserved, b.reserved)
		if err := b.source.Reserve(more); err != nil {
			return err
		}
		b.reserved += more
	}
	return nil
}

// nextRecord begins the count of a record's bytes and of its time anew.
func (b *body) nextRecord() {
	b.sinceRecord = 0
	b.mu.Lock()
	b.until = time.Now().Add(b.idle)
	b.mu.Unlock()
}

// stop ends the reading, also a read that is waiting.
func (b *body) stop(why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped == nil {
		b.stopped = why
		b.control.SetReadDeadline(time.Unix(1, 0)) //nolint:errcheck // a reader without deadlines ends with its connection
	}
}

func (b *body) hasStopped() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stopped != nil
}

// How much of an unread body is worth reading to keep its connection.
const (
	drainBytes = 256 << 10
	drainTime  = 500 * time.Millisecond
)

// finish leaves the connection so that nothing of an unread body can be taken for a further request. On HTTP/2 the stream is
// reset; on HTTP/1.1 the rest of the body is read if it is short, otherwise the answer's end is written and the connection
// closed. net/http cannot be left to do this: it would read the rest with no deadline, or parse it as a request.
func (b *body) finish(w http.ResponseWriter, failed int) {
	defer b.control.SetReadDeadline(time.Time{}) //nolint:errcheck // the connection has gone
	if b.ended.Load() || b.source.ProtoMajor != 1 {
		return
	}
	b.control.SetReadDeadline(time.Now().Add(drainTime)) //nolint:errcheck // as above
	if n, err := io.CopyN(io.Discard, b.source.Request.Body, drainBytes); errors.Is(err, io.EOF) && n < drainBytes {
		return
	}
	b.control.Flush() //nolint:errcheck // the client has gone
	connection, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // the only other way to keep the connection from being used again
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(b.linger)) //nolint:errcheck // closed in any case
	if w.Header().Get("Content-Length") == "" && b.source.ProtoAtLeast(1, 1) {
		buffered.WriteString("0\r\nWeir-Record-Errors: " + strconv.Itoa(failed) + "\r\n\r\n") //nolint:errcheck // the client has gone
	}
	buffered.Flush() //nolint:errcheck // the client has gone
	// Half-close, and read until the client closes too: closing with unread bytes would reset the connection, and the receipts
	// that the client has not read yet would be lost with it.
	if half, ok := connection.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()               //nolint:errcheck // closed in any case
		io.Copy(io.Discard, connection) //nolint:errcheck // ends at the deadline
	}
}
