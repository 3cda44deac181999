//go:build unix

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-gateway/weir/core/cmd/weir-bench/internal/load"
)

// tally is what a bare program says when it is asked.
type tally struct {
	Requests int64         `json:"requests"`
	Records  int64         `json:"records"`
	P50      time.Duration `json:"p50"`
	P99      time.Duration `json:"p99"`
	P999     time.Duration `json:"p999"`
}

// callers are the goroutines of a bare program, each of which makes one request after the other, and what they count.
type callers struct {
	requests, records atomic.Int64
	stopped           atomic.Bool
	window            atomic.Bool
	failure           atomic.Pointer[error]

	running   sync.WaitGroup
	latencies []load.Histogram
}

// start lets so many callers work until they are stopped or fail. call makes one request, or as many as it likes.
func (c *callers) start(number int, call func(caller int) error) {
	c.latencies = make([]load.Histogram, number)
	for i := range number {
		c.running.Go(func() {
			for !c.stopped.Load() {
				if err := call(i); err != nil {
					c.fail(err)
				}
			}
		})
	}
}

// fail stops everything.
func (c *callers) fail(err error) {
	c.failure.CompareAndSwap(nil, &err)
	c.stopped.Store(true)
}

// done counts a request that a caller has made.
func (c *callers) done(caller, records int, took time.Duration) {
	c.requests.Add(1)
	c.records.Add(int64(records))
	if c.window.Load() {
		c.latencies[caller].Add(took)
	}
}

// obey works until its input ends. To each line it answers with a tally: "begin" begins the window, "count" does nothing more, "end"
// ends the window and all work. It returns when the callers have ended, with their failure.
func (c *callers) obey(in io.Reader, out io.Writer) error {
	err := c.answer(in, out)
	c.stopped.Store(true)
	c.running.Wait()
	if failure := c.failure.Load(); failure != nil {
		err = errors.Join(err, *failure)
	}
	return err
}

func (c *callers) answer(in io.Reader, out io.Writer) error {
	fmt.Fprintln(out, "up")
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		answer := tally{Requests: c.requests.Load(), Records: c.records.Load()}
		switch lines.Text() {
		case "begin":
			c.window.Store(true)
		case "end":
			c.window.Store(false)
			c.stopped.Store(true)
			c.running.Wait()
			var all load.Histogram
			for i := range c.latencies {
				all.Merge(&c.latencies[i])
			}
			answer.P50, answer.P99, answer.P999 = all.Quantile(.5), all.Quantile(.99), all.Quantile(.999)
		}
		if c.failure.Load() != nil {
			return nil // obey tells it
		}
		text, err := json.Marshal(answer)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, string(text))
		if c.stopped.Load() {
			return nil
		}
	}
	return lines.Err()
}
