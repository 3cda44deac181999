package consumer

import (
	"context"
	"sync"
	"time"
)

// listing is the names of the cluster's topics, shared by all who subscribe by pattern.
type listing struct {
	mu     sync.Mutex
	names  []string // never changed once they are here
	known  bool     // they were listed at least once
	listed time.Time
	asking chan struct{} // closed when the question that is under way is answered; nil: there is none
	err    error         // of the last question
}

const listLongest = 10 * time.Second

// glance gives the topics as last listed, and has them listed anew in the background when that was longer ago than
// consume.pattern_refresh.
func (c *Consumers) glance() (names []string, known bool) {
	l := &c.listing
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.listed) >= c.settings.PatternRefresh {
		c.listLocked()
	}
	return l.names, l.known
}

// listed is glance, but waits for a listing when the last one is old or there is none.
func (c *Consumers) listed(ctx context.Context) ([]string, error) {
	l := &c.listing
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known && time.Since(l.listed) < c.settings.PatternRefresh {
		return l.names, nil
	}
	asking := c.listLocked()
	if asking == nil {
		return nil, shuttingDown(nil)
	}
	l.mu.Unlock()
	select {
	case <-asking:
		l.mu.Lock()
		return l.names, l.err
	case <-ctx.Done():
		l.mu.Lock()
		return nil, ctx.Err()
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
			l.names, l.known, l.listed = names, true, time.Now()
		}
		l.asking = nil
		close(asking)
	}) {
		return nil
	}
	l.asking = asking
	return asking
}
