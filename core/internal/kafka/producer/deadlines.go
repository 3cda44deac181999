package producer

import (
	"sync"
	"time"
)

// deadlines answers the records whose time is up. Every record has the same time, so calls end in the order in which they
// came: a list and one goroutine do, and a record needs no timer. A call leaves the list with its last receipt.
type deadlines struct {
	mu     sync.Mutex
	oldest *call
	newest *call
	wake   chan struct{}
}

func newDeadlines() *deadlines { return &deadlines{wake: make(chan struct{}, 1)} }

func (d *deadlines) add(c *call) {
	d.mu.Lock()
	first := d.oldest == nil
	c.listed, c.older = true, d.newest
	if first {
		d.oldest = c
	} else {
		d.newest.newer = c
	}
	d.newest = c
	d.mu.Unlock()
	if first {
		select {
		case d.wake <- struct{}{}:
		default:
		}
	}
}

func (d *deadlines) remove(c *call) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !c.listed {
		return
	}
	c.listed = false
	if c.older != nil {
		c.older.newer = c.newer
	} else {
		d.oldest = c.newer
	}
	if c.newer != nil {
		c.newer.older = c.older
	} else {
		d.newest = c.older
	}
	c.older, c.newer = nil, nil
}

// due gives the oldest call when its time is up, or the time until then.
func (d *deadlines) due(now time.Time) (c *call, wait time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.oldest == nil {
		return nil, time.Hour
	}
	if wait := d.oldest.deadline.Sub(now); wait > 0 {
		return nil, wait
	}
	return d.oldest, 0
}

// run expires calls until stop is closed.
func (d *deadlines) run(stop <-chan struct{}, expire func(*call)) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		c, wait := d.due(time.Now())
		if c != nil {
			expire(c)
			d.remove(c)
			continue
		}
		timer.Reset(wait)
		select {
		case <-stop:
			return
		case <-d.wake:
		case <-timer.C:
		}
	}
}
