package rest

import (
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// pieceBytes is how much of a long answer is gathered before it is written: net/http makes two system calls of every piece. A buffer
// begins small, since most answers are.
const pieceBytes = 128 << 10

const firstPieceBytes = 16 << 10

// keptBytes is the largest buffer that is kept for the next answer.
const keptBytes = 2 * pieceBytes

var pieces = sync.Pool{New: func() any { return new(make([]byte, 0, firstPieceBytes)) }}

// Pieces writes an answer that may be long, piece by piece, so that its text is never held as a whole. An answer that fits into one
// piece has a Content-Length. A client that does not take a piece within limits.write_timeout, or the whole at limits.write_rate, ends the
// answer.
//
// Append to Bytes, then call Flow; End once, at the end.
type Pieces struct {
	Bytes []byte

	w       http.ResponseWriter
	r       *Request
	control *http.ResponseController
	pooled  *[]byte
	begun   time.Time // of the writing; zero: nothing was written yet
	written int64
	err     error
}

// NewPieces begins an answer of status 200; nothing is written yet, so that headers can still be set.
func NewPieces(w http.ResponseWriter, r *Request, as MediaType) *Pieces {
	w.Header()["Content-Type"] = []string{string(as)}
	pooled := pieces.Get().(*[]byte)
	return &Pieces{Bytes: (*pooled)[:0], w: w, r: r, control: http.NewResponseController(w), pooled: pooled}
}

// Flow writes what there is when there is enough of it. An error means that nobody takes the answer any more.
func (p *Pieces) Flow() error {
	if len(p.Bytes) >= pieceBytes {
		p.write()
	}
	return p.err
}

// End writes the rest. Its error is nil when the whole answer was handed to the connection of a client that was still there.
func (p *Pieces) End() error {
	if p.begun.IsZero() {
		p.w.Header()["Content-Length"] = []string{strconv.Itoa(len(p.Bytes))}
	}
	p.write()
	if p.err == nil {
		if err := p.control.Flush(); !errors.Is(err, http.ErrNotSupported) { // a writer that cannot be flushed has no more to tell
			p.err = err
		}
	}
	if p.err == nil {
		p.err = p.r.Context().Err()
	}
	if cap(p.Bytes) <= keptBytes {
		*p.pooled = p.Bytes[:0]
		pieces.Put(p.pooled)
	}
	p.Bytes = nil
	return p.err
}

func (p *Pieces) write() {
	if p.err != nil || !p.begun.IsZero() && len(p.Bytes) == 0 {
		return
	}
	now := time.Now()
	if p.begun.IsZero() {
		p.w.WriteHeader(http.StatusOK)
		p.begun = now
	}
	p.written += int64(len(p.Bytes))
	limits := &p.r.Settings.Limits
	deadline := p.begun.Add(limits.WriteTimeout + time.Duration(float64(p.written)/float64(limits.WriteRate)*float64(time.Second)))
	if gap := now.Add(limits.WriteTimeout); gap.Before(deadline) {
		deadline = gap
	}
	p.control.SetWriteDeadline(deadline) //nolint:errcheck // a writer without deadlines: the client's own pace
	_, p.err = p.w.Write(p.Bytes)
	p.Bytes = p.Bytes[:0]
}
