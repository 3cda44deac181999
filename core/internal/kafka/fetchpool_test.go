package kafka

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/embedded"
)

// newFetchPool makes a pool that is closed when the test ends, and a fetch of topic a that waits at the broker.
func newFetchPool(t *testing.T, b *embedded.Broker, limit int) (*FetchPool, func(wait time.Duration, done func(error)) *Fetch) {
	t.Helper()
	c := open(t, settings(b.Addresses()...), config.Produce{})
	p := NewFetchPool(c, limit)
	t.Cleanup(p.Close)
	return p, func(wait time.Duration, done func(error)) *Fetch {
		request := &sarama.FetchRequest{Version: 11, MinBytes: 1, MaxBytes: 1000, SessionEpoch: -1}
		request.AddBlock("a", 0, 0, 1000, -1)
		return &Fetch{Request: request, Wait: wait, Until: time.Now().Add(time.Hour), Done: func(_ *sarama.FetchResponse, err error) { done(err) }}
	}
}

func await(t *testing.T, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("no answer")
		return nil
	}
}

func TestFetchPoolReusesAndClosesConnections(t *testing.T) {
	t.Parallel()
	b := startBroker(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}})
	p, fetch := newFetchPool(t, b, 3)
	p.idleLongest = 200 * time.Millisecond
	done := make(chan error, 1)
	for range 20 { // who asks again at once finds the connection free
		p.Submit(b.Addresses()[0], fetch(0, func(err error) { done <- err }))
		if err := await(t, done); err != nil {
			t.Fatal(err)
		}
	}
	if n := p.Connections(); n != 1 {
		t.Errorf("%d connections for one fetch at a time, want 1", n)
	}
	eventually(t, "the idle connection is closed", func() bool { return p.Connections() == 0 })
	p.Submit(b.Addresses()[0], fetch(0, func(err error) { done <- err }))
	if err := await(t, done); err != nil {
		t.Errorf("after that: %v", err)
	}
}

func TestFetchPoolTakesTurns(t *testing.T) {
	t.Parallel()
	b := startBroker(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}})
	p, fetch := newFetchPool(t, b, 1)
	const count = 10
	var order []int // one connection: one answer at a time
	done := make(chan error, count)
	var fetches []*Fetch
	for i := range count {
		f := fetch(time.Minute, func(err error) {
			order = append(order, i)
			done <- err
		})
		fetches = append(fetches, f)
		p.Submit(b.Addresses()[0], f)
	}
	if waited, _ := p.Withdraw(fetches[5]); !waited {
		t.Error("a fetch behind others could not be withdrawn")
	}
	started := time.Now()
	for range count - 1 {
		if err := await(t, done); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(started); took > 2*time.Second {
		t.Errorf("long polls with others behind them took %v", took)
	}
	for i, at := range order {
		if want := i + i/5; at != want {
			t.Fatalf("the order was %v", order)
		}
	}
	if waited, _ := p.Withdraw(fetches[0]); waited {
		t.Error("an answered fetch was withdrawn")
	}
}

func TestFetchPoolKeepsItsBound(t *testing.T) {
	t.Parallel()
	b := startBroker(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}})
	p, fetch := newFetchPool(t, b, 4)
	var running, most atomic.Int32
	done := make(chan error, 100)
	for range 100 {
		f := fetch(5*time.Millisecond, func(err error) {
			running.Add(-1)
			done <- err
		})
		f.Begin = func() error {
			n := running.Add(1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			return nil
		}
		p.Submit(b.Addresses()[0], f)
	}
	for range 100 {
		if err := await(t, done); err != nil {
			t.Fatal(err)
		}
	}
	if n := most.Load(); n > 8 { // an answer is handed over when its connection is free already
		t.Errorf("%d at once", n)
	}
	if n := p.Connections(); n > 4 {
		t.Errorf("%d connections, want at most 4", n)
	}
}

func TestFetchPoolFailsAndCloses(t *testing.T) {
	t.Parallel()
	b := startBroker(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}})
	p, fetch := newFetchPool(t, b, 2)
	done := make(chan error, 10)
	for range 5 {
		p.Submit("127.0.0.1:1", fetch(0, func(err error) { done <- err }))
	}
	for range 5 {
		if err := await(t, done); err == nil {
			t.Error("nothing listens there, and there is no error")
		}
	}
	for range 5 {
		p.Submit(b.Addresses()[0], fetch(time.Minute, func(err error) { done <- err }))
	}
	eventually(t, "a connection is there", func() bool { return p.Connections() > 0 })
	p.Close()
	for range 5 {
		<-done
	}
	p.Submit(b.Addresses()[0], fetch(0, func(err error) { done <- err }))
	if err := await(t, done); err == nil {
		t.Error("a closed pool answers")
	}
}

// A fetch that nobody wants any more does not keep its connection for as long as a broker that hangs would: and one that merely waits at
// the broker keeps it.
func TestFetchPoolGivesUpSilentConnections(t *testing.T) {
	t.Parallel()
	b := startBroker(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}})
	p, fetch := newFetchPool(t, b, 1)
	done := make(chan error, 1)
	begun := make(chan struct{}, 1)
	submit := func(wait time.Duration) *Fetch {
		f := fetch(wait, func(err error) { done <- err })
		f.Begin = func() error { begun <- struct{}{}; return nil }
		p.Submit(b.Addresses()[0], f)
		<-begun
		eventually(t, "it was sent", func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return f.conn != nil
		})
		return f
	}
	if waited, _ := p.Withdraw(submit(1500 * time.Millisecond)); waited {
		t.Error("it was withdrawn as one that waited")
	}
	if err := await(t, done); err != nil {
		t.Errorf("a long poll that was left: %v", err)
	}
	if n := p.Connections(); n != 1 {
		t.Errorf("%d connections, want the same one", n)
	}
	f := submit(100 * time.Millisecond)
	if err := b.Freeze(0); err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	p.Withdraw(f)
	if err := await(t, done); err == nil || time.Since(started) > 2*time.Second {
		t.Errorf("%v after %v", err, time.Since(started))
	}
}

// What is not sent is no sign of life.
func TestFetchPoolTakesNoRefusalForAnAnswer(t *testing.T) {
	t.Parallel()
	b := startBroker(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}})
	p, fetch := newFetchPool(t, b, 1)
	done := make(chan error, 3)
	p.Submit(b.Addresses()[0], fetch(0, func(err error) { done <- err }))
	if err := await(t, done); err != nil {
		t.Fatal(err)
	}
	hold := make(chan struct{})
	refused := fetch(0, func(err error) { done <- err })
	refused.Begin = func() error { <-hold; return errors.New("no room") }
	hung := fetch(0, func(err error) { done <- err })
	begun := make(chan struct{})
	hung.Begin = func() error { close(begun); return nil }
	last := fetch(0, func(error) {})
	for _, f := range []*Fetch{refused, hung, last} {
		p.Submit(b.Addresses()[0], f)
	}
	if err := b.Freeze(0); err != nil {
		t.Fatal(err)
	}
	close(hold)
	if err := await(t, done); err == nil {
		t.Error("it was sent")
	}
	<-begun
	if waited, silent := p.Withdraw(last); !waited || !silent {
		t.Errorf("waited %v, silent %v", waited, silent)
	}
}
