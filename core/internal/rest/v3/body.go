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

	mu      sync.Mutex
	stopped error

	sinceRecord int64 // bytes read for the present record
	reserved    int64 // most bytes that a record has needed so far, taken from what all requests may hold
}

// Read reads with the idle deadline. After stop it gives stop's error.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.stopped != nil {
		b.mu.Unlock()
		return 0, b.stopped
	}
	b.control.SetReadDeadline(time.Now().Add(b.idle)) //nolint:errcheck // a reader without deadlines ends with its connection
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
	return n, b.reserve()
}

// reserveStep is what a record may take without being counted, and the step in which larger ones are.
const reserveStep = 64 << 10

func (b *body) reserve() error {
	if b.sinceRecord <= reserveStep+b.reserved {
		return nil
	}
	if err := b.source.Reserve(b.sinceRecord); err != nil {
		return err
	}
	b.reserved += b.sinceRecord
	return nil
}

// nextRecord begins the count of a record's bytes anew.
func (b *body) nextRecord() { b.sinceRecord = 0 }

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

// Bounds of the courtesy at a stream's early end.
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
	connection.SetDeadline(time.Now().Add(drainTime)) //nolint:errcheck // closed in any case
	if w.Header().Get("Content-Length") == "" && b.source.ProtoAtLeast(1, 1) {
		buffered.WriteString("0\r\nWeir-Record-Errors: " + strconv.Itoa(failed) + "\r\n\r\n") //nolint:errcheck // the client has gone
	}
	buffered.Flush() //nolint:errcheck // the client has gone
	// Half-close and read on for a moment: closing with unread bytes would reset the connection and lose the last receipts.
	if half, ok := connection.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()                          //nolint:errcheck // closed in any case
		io.CopyN(io.Discard, buffered, drainBytes) //nolint:errcheck // closed in any case
	}
}
