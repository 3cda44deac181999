package reader

import (
	"container/list"
	"context"
	"sync"
	"time"

	"github.com/weir-gateway/weir/core/internal/fault"
)

// budget bounds the bytes that are held for reads. Room is given in the order in which it was asked for.
//
// No broker may have more than half of it under way, so that one that hangs does not keep the room of others, and no owner more than
// half, so that one slow client does not. Of each bound an eighth is for those who take the least they can get on with: while all the
// rest is held, reads go on in small steps.
type budget struct {
	mu      sync.Mutex
	size    int64
	used    int64
	owners  map[string]int64 // of used, by who holds it
	brokers map[string]int64 // of used, by who is to answer
	waiting list.List        // of *claim
	closed  bool
}

// account is whom room is counted for.
type account struct {
	owner  string // "": nobody in particular, whose room has no bound of its own
	broker string
}

// claim is room that somebody waits for.
type claim struct {
	account
	want, least int64
	granted     int64
	ready       chan struct{} // closed when it was granted, or the budget was closed
}

// reserve takes room for an answer of a broker: what is wanted if it is there at once, and otherwise no less than the least, waiting for
// it until the deadline. Who has used up the share of an owner waits no longer than leastRoomWait, since a connection waits too. More
// than a bound is taken when nothing else is held under it. Errors: Overloaded when there was none in time, Unavailable when ctx ended.
func (b *budget) reserve(ctx context.Context, deadline time.Time, a account, want, least int64) (taken int64, err error) {
	c := &claim{account: a, want: want, least: min(least, want)}
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return 0, errClosed()
	}
	if b.waiting.Len() == 0 || !b.wantedLocked() {
		if taken = b.tryLocked(c); taken > 0 {
			b.mu.Unlock()
			return taken, nil
		}
	}
	c.ready = make(chan struct{})
	place := b.waiting.PushBack(c)
	err = errNoRoom
	if !b.ownerFitsLocked(c) {
		err = errNoShare
		if soon := time.Now().Add(leastRoomWait); soon.Before(deadline) {
			deadline = soon
		}
	}
	b.mu.Unlock()

	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-c.ready:
	case <-timer.C:
	case <-ctx.Done():
		err = fault.From(ctx.Err())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case c.granted > 0:
		return c.granted, nil
	case b.closed:
		return 0, errClosed()
	}
	b.waiting.Remove(place)
	b.grantLocked() // those behind may fit now
	return 0, err
}

// arrive ends a reservation: of what was reserved for the answer, held is needed until it is released, which may be more.
func (b *budget) arrive(a account, reserved, held int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	count(b.brokers, a.broker, -reserved)
	b.changeLocked(a.owner, held-reserved)
}

// release gives back what is held.
func (b *budget) release(owner string, held int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changeLocked(owner, -held)
}

func (b *budget) changeLocked(owner string, change int64) {
	b.used += change
	if owner != "" {
		count(b.owners, owner, change)
	}
	b.grantLocked() // also when more is used: a broker may have been relieved
}

// count keeps a sum for each name, and no name whose sum is nothing.
func count(sums map[string]int64, name string, change int64) {
	if sum := sums[name] + change; sum == 0 {
		delete(sums, name)
	} else {
		sums[name] = sum
	}
}

func (b *budget) held() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// wanted reports whether somebody waits for room that others hold.
func (b *budget) wanted() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.wantedLocked()
}

func (b *budget) wantedLocked() bool {
	for e := b.waiting.Front(); e != nil; e = e.Next() {
		if c := e.Value.(*claim); b.ownerFitsLocked(c) && b.brokerFitsLocked(c, c.least, true) {
			return true
		}
	}
	return false
}

func (b *budget) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for e := b.waiting.Front(); e != nil; e = b.waiting.Front() {
		close(b.waiting.Remove(e).(*claim).ready)
	}
}

// tryLocked takes what a claim wants, or its least, and gives how much it was; 0: there is no room.
func (b *budget) tryLocked(c *claim) int64 {
	for _, bytes := range [...]int64{c.want, c.least} {
		small := bytes == c.least
		if fits(b.used, bytes, b.size, small) && b.brokerFitsLocked(c, bytes, small) &&
			(c.owner == "" || fits(b.owners[c.owner], bytes, b.size/2, small)) {
			b.used += bytes
			if c.owner != "" {
				count(b.owners, c.owner, bytes)
			}
			count(b.brokers, c.broker, bytes)
			return bytes
		}
	}
	return 0
}

func (b *budget) ownerFitsLocked(c *claim) bool {
	return c.owner == "" || fits(b.owners[c.owner], c.least, b.size/2, true)
}

func (b *budget) brokerFitsLocked(c *claim, bytes int64, small bool) bool {
	return fits(b.brokers[c.broker], bytes, b.size/2, small)
}

// fits reports whether bytes more are within a limit.
func fits(used, bytes, limit int64, small bool) bool {
	if !small {
		limit -= limit / 8
	}
	return used == 0 || used+bytes <= limit
}

// grantLocked gives room to those who wait, in order. Who waits because of its own owner or broker keeps nobody.
func (b *budget) grantLocked() {
	for e := b.waiting.Front(); e != nil; {
		c, next := e.Value.(*claim), e.Next()
		if c.granted = b.tryLocked(c); c.granted > 0 {
			b.waiting.Remove(e)
			close(c.ready)
		} else if b.ownerFitsLocked(c) && b.brokerFitsLocked(c, c.least, true) {
			return
		}
		e = next
	}
}

// errNoRoom is the refusal of a read for which there was no room in time, errNoShare that of one whose owner has taken its share.
var (
	errNoRoom  = fault.New(fault.Overloaded, "The gateway holds as many bytes of records as it may (consume.buffer_bytes). Read again later.")
	errNoShare = fault.New(fault.Overloaded, "Your reads hold as many bytes of records as those of one client may (half of consume.buffer_bytes). "+
		"Take the answers that are under way, then read again.")
)

func errClosed() error {
	return fault.New(fault.Unavailable, "The gateway is shutting down. Send the request to another instance, or again later.")
}
