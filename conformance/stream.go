package conformance

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// A streaming is one record stream that a script writes to and reads from.
type streaming struct {
	ctx      context.Context // the case's; a script is one function's work
	attempt  *attempt
	exchange *exchange
	pipe     *io.PipeWriter
	answered chan struct{} // closed when response or err is there
	response *http.Response
	err      error
	buffer   *bufio.Reader // what has come and was not taken as a receipt
	decoder  *json.Decoder
}

// maxReceived is the most that a script can wait for without reading it.
const maxReceived = 64 << 10

// bodyless reports whether a request that a script follows has no body that it could write.
func (r *request) bodyless() bool { return r.Method == http.MethodGet }

// stream opens a request whose body is written as the script says, while the answer is read. A GET has no body.
func (a *attempt) stream(ctx context.Context, s *step) []string {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	reader, writer := io.Pipe()
	var body io.Reader = reader
	length := int64(-1)
	if s.Stream.bodyless() {
		body, length = http.NoBody, 0
	}
	made, err := a.newRequest(ctx, s.Stream, body, length)
	if err != nil {
		return []string{err.Error()}
	}
	t := &streaming{ctx: ctx, attempt: a, pipe: writer, answered: make(chan struct{}), exchange: &exchange{request: made}}
	a.exchanges = append(a.exchanges, t.exchange)
	client := a.client()
	go func() {
		defer close(t.answered)
		t.response, t.err = client.Do(made)
	}()
	// The pipe is closed when the deadline passes, so that a server that has stopped reading cannot hold the script.
	stop := context.AfterFunc(ctx, func() { reader.CloseWithError(context.Cause(ctx)) })
	defer stop()
	defer t.finish(cancel)
	for i, item := range s.Script {
		if problems := t.do(item, cancel); len(problems) > 0 {
			problems[0] = fmt.Sprintf("script item %d: %s", i+1, problems[0])
			return problems
		}
	}
	if t.exchange.response != nil { // the script has waited for it
		return invariants(a.run.target.Features, t.exchange.response, nil)
	}
	return nil
}

func (t *streaming) do(item scriptItem, cancel context.CancelFunc) []string {
	switch {
	case item.Write != nil:
		t.exchange.sent = append(t.exchange.sent, *item.Write...)
		if _, err := t.pipe.Write(*item.Write); err != nil {
			return []string{"write: " + err.Error()}
		}
	case item.Head != nil:
		if err := t.head(); err != nil {
			return []string{err.Error()}
		}
		var problems []string
		if t.response.StatusCode != item.Head.Status {
			problems = append(problems, fmt.Sprintf("status: want %d, got %d", item.Head.Status, t.response.StatusCode))
		}
		return append(problems, item.Head.headProblems(t.response)...)
	case item.Receipt != nil:
		receipt, err := t.next()
		if err != nil {
			return []string{"receipt: " + err.Error()}
		}
		return matchJSON(item.Receipt, receipt)
	case item.Meanwhile != nil:
		problems := eventually(t.ctx, time.Duration(item.Meanwhile.Within), func(ctx context.Context) []string { return t.attempt.step(ctx, item.Meanwhile) })
		if len(problems) > 0 {
			problems[0] = "meanwhile: " + problems[0]
		}
		return problems
	case item.Received > 0:
		if err := t.head(); err != nil {
			return []string{err.Error()}
		}
		if _, err := t.buffer.Peek(item.Received); err != nil {
			return []string{fmt.Sprintf("received: %v after %d bytes", err, t.buffer.Buffered())}
		}
	case item.Pause > 0:
		return pause(t.ctx, time.Duration(item.Pause))
	case item.Close:
		if err := t.pipe.Close(); err != nil {
			return []string{"close: " + err.Error()}
		}
	case item.Abort:
		cancel()
	case item.End != nil:
		receipt, err := t.next()
		if err == nil {
			return []string{fmt.Sprintf("the response goes on: %s", trim(string(receipt), 300))}
		}
		if !errors.Is(err, io.EOF) {
			return []string{"the response did not end cleanly: " + err.Error()}
		}
		return fieldProblems("trailer", item.End.Trailers, t.response.Trailer)
	}
	return nil
}

// head waits for the response's head.
func (t *streaming) head() error {
	select {
	case <-t.answered:
	case <-t.ctx.Done():
		return fmt.Errorf("no response: %w", t.ctx.Err())
	}
	if t.err != nil {
		t.exchange.note = t.err.Error()
		return fmt.Errorf("no response: %w", t.err)
	}
	if t.decoder == nil {
		t.exchange.response = t.response
		t.buffer = bufio.NewReaderSize(io.TeeReader(t.response.Body, (*receivedBy)(t.exchange)), maxReceived)
		t.decoder = json.NewDecoder(t.buffer)
	}
	return nil
}

// next waits for the next JSON value of the response.
func (t *streaming) next() (json.RawMessage, error) {
	if err := t.head(); err != nil {
		return nil, err
	}
	var value json.RawMessage
	err := t.decoder.Decode(&value)
	return value, err
}

// finish ends the request, waits for the client to let go of it, and closes the response.
func (t *streaming) finish(cancel context.CancelFunc) {
	cancel()
	t.pipe.Close()
	<-t.answered
	if t.response != nil {
		t.response.Body.Close()
	}
}

// receivedBy notes what comes in on the exchange.
type receivedBy exchange

func (r *receivedBy) Write(p []byte) (int, error) {
	r.received = append(r.received, p...)
	return len(p), nil
}
