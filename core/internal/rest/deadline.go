package rest

import (
	"context"
	"sync"
	"time"
)

// deadline is a context that ends at an instant, like context.WithDeadline's, but sets a timer only when somebody waits for the
// end. Of most requests nobody does: what they wait for is there already.
type deadline struct {
	context.Context // the request's
	at              time.Time

	mu      sync.Mutex
	timed   context.Context // nil: nobody has asked for Done
	cancel  context.CancelFunc
	stopped bool
}

// Deadline is the instant, or the request's own if that is earlier.
func (d *deadline) Deadline() (time.Time, bool) {
	if at, ok := d.Context.Deadline(); ok && at.Before(d.at) {
		return at, true
	}
	return d.at, true
}

// Done is closed at the deadline, when the request's own context ends, and by stop.
func (d *deadline) Done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timed == nil {
		d.timed, d.cancel = context.WithDeadline(d.Context, d.at)
		if d.stopped {
			d.cancel()
		}
	}
	return d.timed.Done()
}

// Err is why the context has ended, nil while it has not.
func (d *deadline) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.timed != nil:
		return d.timed.Err()
	case d.Context.Err() != nil:
		return d.Context.Err()
	case !time.Now().Before(d.at):
		return context.DeadlineExceeded
	case d.stopped:
		return context.Canceled
	default:
		return nil
	}
}

// stop ends the context when the request has been served.
func (d *deadline) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
	if d.cancel != nil {
		d.cancel()
	}
}
