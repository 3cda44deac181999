package reader

import (
	"container/list"
	"context"
	"sync"
	"time"

	"github.com/weir-gateway/weir/core/internal/fault"
)

// budget bounds the bytes that are held for reads. Room is given in the order in which it was asked for: a large request is not
// passed by small ones for ever.
type budget struct {
	mu      sync.Mutex
	size    int64
	used    int64
	waiting list.List // of *claim
	closed  bool
}

// claim is room that somebody waits for.
type claim struct {
	bytes   int64
	granted bool
	ready   chan struct{} // closed when it was granted, or the budget was closed
}

// reserve takes room, waiting for it until the deadline. More than the whole budget is taken when nothing else is held.
// Errors: Overloaded when there was none in time, Unavailable when ctx ended.
func (b *budget) reserve(ctx context.Context, deadline time.Time, bytes int64) error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return errClosed()
	}
	if b.waiting.Len() == 0 && b.fitsLocked(bytes) {
		b.used += bytes
		b.mu.Unlock()
		return nil
	}
	c := &claim{bytes: bytes, ready: make(chan struct{})}
	place := b.waiting.PushBack(c)
	b.mu.Unlock()

	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	var err error
	select {
	case <-c.ready:
	case <-timer.C:
		err = errNoRoom
	case <-ctx.Done():
		err = fault.From(ctx.Err())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case c.granted:
		return nil
	case b.closed:
		return errClosed()
	}
	b.waiting.Remove(place)
	b.grantLocked() // those behind may fit now
	return err
}

// adjust corrects what is held by the difference to what was reserved; a negative one gives room back.
func (b *budget) adjust(bytes int64) {
	b.mu.Lock()
	b.used += bytes
	if bytes < 0 {
		b.grantLocked()
	}
	b.mu.Unlock()
}

func (b *budget) held() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// wanted reports whether somebody waits for room.
func (b *budget) wanted() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waiting.Len() > 0
}

func (b *budget) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for e := b.waiting.Front(); e != nil; e = b.waiting.Front() {
		close(b.waiting.Remove(e).(*claim).ready)
	}
}

func (b *budget) fitsLocked(bytes int64) bool { return b.used == 0 || b.used+bytes <= b.size }

func (b *budget) grantLocked() {
	for e := b.waiting.Front(); e != nil; e = b.waiting.Front() {
		c := e.Value.(*claim)
		if !b.fitsLocked(c.bytes) {
			return
		}
		b.waiting.Remove(e)
		b.used += c.bytes
		c.granted = true
		close(c.ready)
	}
}

// errNoRoom is the refusal of a read for which there was no room in time.
var errNoRoom = fault.New(fault.Overloaded, "The gateway holds as many bytes of records as it may (consume.buffer_bytes). Read again later.")

func errClosed() error {
	return fault.New(fault.Unavailable, "The gateway is shutting down. Send the request to another instance, or again later.")
}
