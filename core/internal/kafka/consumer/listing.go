package consumer

import (
	"context"
	"slices"
	"sync"
	"time"
)

// listing is the names of the cluster's topics, shared by all who subscribe by pattern.
type listing struct {
	mu      sync.Mutex
	names   []string // never changed once they are here
	version int      // of names; 0: never listed
	listed  time.Time
	asking  chan struct{} // closed when the question that is under way is answered; nil: there is none
	err     error         // of the last question
}

const listLongest = 10 * time.Second

// glance gives the topics as last listed, and has them listed anew in the background when that was longer ago than
// consume.pattern_refresh.
func (c *Consumers) glance() (names []string, version int) {
	l := &c.listing
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.listed) >= c.settings.PatternRefresh {
		c.listLocked()
	}
	return l.names, l.version
}

// listed is glance, but waits for a listing when the last one is old or there is none.
func (c *Consumers) listed(ctx context.Context) (names []string, version int, err error) {
	l := &c.listing
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.version > 0 && time.Since(l.listed) < c.settings.PatternRefresh {
		return l.names, l.version, nil
	}
	asking := c.listLocked()
	if asking == nil {
		return nil, 0, shuttingDown(nil)
	}
	l.mu.Unlock()
	select {
	case <-asking:
		l.mu.Lock()
		return l.names, l.version, l.err
	case <-ctx.Done():
		l.mu.Lock()
		return nil, 0, ctx.Err()
	}
}

// listLocked has the topics listed, once for all who ask at the same time.
func (c *Consumers) listLocked() <-chan struct{} {
	l := &c.listing
	if l.asking != nil {
		return l.asking
	}
	asking := make(chan struct{})
	if !c.run(func() { // ends with listLongest
		ctx, cancel := context.WithTimeout(c.ctx, listLongest)
		defer cancel()
		names, err := c.catalog.list(ctx)
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.err = err; err == nil {
			if l.version == 0 || !slices.Equal(names, l.names) {
				l.names = names
				l.version++
			}
			l.listed = time.Now()
		}
		l.asking = nil
		close(asking)
	}) {
		return nil
	}
	l.asking = asking
	return asking
}
