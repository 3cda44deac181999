package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Work is what a driven connection does over and over.
type Work interface {
	// connections is how many goroutines run it.
	connections() int
	// run works on one connection until ctx ends and tells the meter of every answer. index is from 0.
	run(ctx context.Context, index int, m *meter) error
}

// Window says when to measure.
type Window struct {
	// WarmUp passes first, unmeasured.
	WarmUp time.Duration
	// Measure is the length of the window.
	Measure time.Duration
	// Begin and End are called at the window's ends, as near as possible to the counting. They may be nil.
	Begin, End func() error
}

// Result is what was counted inside the window.
type Result struct {
	// Requests and Records are those that were answered. A stream has no requests of its own: there both are records.
	Requests, Records int64
	// Elapsed is the length of the window as it came out.
	Elapsed time.Duration
	// Latency is that of requests, and of records in a stream.
	Latency Histogram
}

// meter is what one connection counts.
type meter struct {
	requests  atomic.Int64
	records   atomic.Int64
	measuring *atomic.Bool
	latency   Histogram
	_         [64]byte // the next one's counters are not on this cache line
}

func (m *meter) answered(requests, records int64) {
	m.requests.Add(requests)
	m.records.Add(records)
}

func (m *meter) took(d time.Duration) {
	if m.measuring.Load() {
		m.latency.Add(d)
	}
}

// Drive runs work on all its connections, through warm-up and window, and gives what was counted in the window. The first
// error on any connection ends all of it: a measurement with failures in it measures something else.
func Drive(ctx context.Context, work Work, window Window) (Result, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var measuring atomic.Bool
	meters := make([]*meter, work.connections())
	var workers sync.WaitGroup
	for i := range meters {
		meters[i] = &meter{measuring: &measuring}
		workers.Go(func() {
			if err := work.run(ctx, i, meters[i]); err != nil && ctx.Err() == nil {
				stop(fmt.Errorf("connection %d: %w", i, err))
			}
		})
	}
	result, err := window.measure(ctx, meters, &measuring)
	stop(errDone)
	workers.Wait()
	if err != nil {
		return Result{}, err
	}
	for _, m := range meters {
		result.Latency.Merge(&m.latency)
	}
	return result, nil
}

var errDone = errors.New("measured")

func (w Window) measure(ctx context.Context, meters []*meter, measuring *atomic.Bool) (Result, error) {
	if err := pause(ctx, w.WarmUp); err != nil {
		return Result{}, err
	}
	if w.Begin != nil {
		if err := w.Begin(); err != nil {
			return Result{}, err
		}
	}
	began := time.Now()
	requests, records := sum(meters)
	measuring.Store(true)
	if err := pause(ctx, w.Measure); err != nil {
		return Result{}, err
	}
	measuring.Store(false)
	result := Result{Elapsed: time.Since(began)}
	result.Requests, result.Records = sum(meters)
	result.Requests -= requests
	result.Records -= records
	if w.End != nil {
		return result, w.End()
	}
	return result, nil
}

func sum(meters []*meter) (requests, records int64) {
	for _, m := range meters {
		requests += m.requests.Load()
		records += m.records.Load()
	}
	return requests, records
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Nothing is work that is done elsewhere: Drive only keeps the window.
type Nothing struct{}

func (Nothing) connections() int { return 0 }

func (Nothing) run(context.Context, int, *meter) error { return nil }
