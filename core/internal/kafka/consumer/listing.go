package consumer

import (
	"context"
	"slices"
	"sync"
	"time"
)

// listing is the names of the cluster's topics, shared by all who subscribe by pattern.
type listing struct {
	mu     sync.Mutex
	names  []string // never changed once they are here
	number int      // of the listing, one more whenever it has other names than the last
	known  bool     // they were listed at least once
	listed time.Time
	asking chan struct{} // closed when the question that is under way is answered; nil: there is none
	err    error         // of the last question
}

const (
	listLongest = 10 * time.Second
	// listPatience is how long a join waits for a new listing when there is an old one: its group waits for it.
	listPatience = 2 * time.Second
)

// glance gives the topics as last listed, and has them listed anew in the background when that was longer ago than
// consume.pattern_refresh.
func (c *Consumers) glance() (names []string, number int, known bool) {
	l := &c.listing
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.listed) >= c.settings.PatternRefresh {
		c.listLocked()
	}
	return l.names, l.number, l.known
}

// listed is glance, but waits for a listing when the last one is old or there is none. If the topics cannot be listed now it gives those
// that were listed last, and an error only if they never were: what a group has must not wait for what it might have.
func (c *Consumers) listed(ctx context.Context) (names []string, number int, err error) {
	l := &c.listing
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known && time.Since(l.listed) < c.settings.PatternRefresh {
		return l.names, l.number, nil
	}
	asking := c.listLocked()
	if asking == nil {
		return nil, 0, shuttingDown(nil)
	}
	patience := time.NewTimer(listPatience)
	defer patience.Stop()
	if !l.known {
		patience.Stop() // there is nothing else to go by
	}
	l.mu.Unlock()
	select {
	case <-asking:
	case <-patience.C:
	case <-ctx.Done():
		err = ctx.Err()
	}
	l.mu.Lock()
	if err == nil && !l.known {
		err = l.err
	}
	return l.names, l.number, err
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
			if !slices.Equal(l.names, names) {
				l.number++
			}
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
