package rest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		parent, cancel := context.WithCancel(t.Context())
		defer cancel()
		in := func(d time.Duration) *deadline { return &deadline{Context: parent, at: time.Now().Add(d)} }

		// Whoever waits for the end, or makes a context of it, is woken at the deadline.
		waited := in(time.Minute)
		child, cancelChild := context.WithTimeout(waited, time.Hour)
		defer cancelChild()
		began := time.Now()
		<-child.Done()
		if took := time.Since(began); took != time.Minute || !errors.Is(child.Err(), context.DeadlineExceeded) || !errors.Is(waited.Err(), context.DeadlineExceeded) {
			t.Errorf("ended after %v with %v and %v", took, child.Err(), waited.Err())
		}

		// Nobody waited, and it is past all the same.
		unwaited := in(time.Minute)
		if err := unwaited.Err(); err != nil {
			t.Errorf("at the beginning: %v", err)
		}
		time.Sleep(time.Minute)
		if err := unwaited.Err(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("at its end: %v", err)
		}

		// A request that was served has ended, before and after somebody asks.
		for _, ask := range []bool{true, false} {
			served := in(time.Minute)
			if ask {
				served.Done()
			}
			served.stop()
			<-served.Done()
			if err := served.Err(); !errors.Is(err, context.Canceled) {
				t.Errorf("after stop: %v", err)
			}
		}

		// The client has gone.
		gone, waiting := in(time.Minute), in(time.Minute)
		done := waiting.Done()
		cancel()
		<-done
		if !errors.Is(gone.Err(), context.Canceled) || !errors.Is(waiting.Err(), context.Canceled) {
			t.Errorf("after the request's own end: %v, %v", gone.Err(), waiting.Err())
		}
		if at, ok := gone.Deadline(); !ok || !at.Equal(gone.at) {
			t.Errorf("deadline %v, %v", at, ok)
		}
	})
}
