package conformance

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	// rawPatience is how long a raw case waits for what it wants.
	rawPatience = 10 * time.Second
	// rawQuiet is how long the line must be quiet, after all wanted responses, to prove that nothing more comes. A second
	// answer to smuggled bytes would follow the first within a round trip to Kafka at the most.
	rawQuiet = 300 * time.Millisecond
)

// raw writes bytes to a socket and holds the responses, and whether the connection is closed after them, against what is
// wanted. Further responses than those are a failure: they are what request smuggling looks like.
func (a *attempt) raw(ctx context.Context, s *step) []string {
	e := &exchange{sent: s.Raw.Write}
	a.exchanges = append(a.exchanges, e)
	conn, err := a.dial(ctx)
	if err != nil {
		return []string{err.Error()}
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(rawPatience)); err != nil {
		return []string{err.Error()}
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	written := make(chan struct{})
	go func() {
		defer close(written)
		// The server may answer and close before it has read everything; then what it answered is what counts.
		if _, err := conn.Write(s.Raw.Write); err != nil {
			return
		}
	}()
	defer func() { conn.Close(); <-written }()
	received := &bytesSeen{from: conn}
	most, untilClosed := len(s.Responses), s.Closed
	for _, other := range s.Also {
		most, untilClosed = max(most, len(other.Responses)), untilClosed || other.Closed
	}
	outcome := readRaw(bufio.NewReader(received), s.Raw.Method, most, func() {
		if !untilClosed {
			conn.SetReadDeadline(time.Now().Add(rawQuiet)) //nolint:errcheck // it fails only when the connection is closed, which the read then says
		}
	})
	e.received, e.note = received.seen, outcome.describe()
	responses, closed := s.Responses, s.Closed
	for _, trait := range a.run.target.Traits {
		if d, ok := s.On[trait]; ok && d.Responses != nil {
			responses = d.Responses
		}
	}
	problems := outcome.problems(responses, closed)
	for _, other := range s.Also {
		if len(problems) > 0 && len(outcome.problems(other.Responses, other.Closed)) == 0 {
			return nil
		}
	}
	return problems
}

func (a *attempt) dial(ctx context.Context) (net.Conn, error) {
	host := a.run.base.Host
	if a.run.base.Port() == "" {
		host = net.JoinHostPort(host, map[string]string{"http": "80", "https": "443"}[a.run.base.Scheme])
	}
	var dialer net.Dialer
	if a.run.base.Scheme == "https" {
		return (&tls.Dialer{NetDialer: &dialer, Config: &tls.Config{MinVersion: tls.VersionTLS12}}).DialContext(ctx, "tcp", host)
	}
	return dialer.DialContext(ctx, "tcp", host)
}

// rawOutcome is what came back on a socket.
type rawOutcome struct {
	responses []*http.Response
	bodies    [][]byte
	end       error // how reading ended: io.EOF is a close, a timeout is a connection that is still open
}

// readRaw reads responses until the connection ends, its deadline passes or there are more than `most` of them. It calls enough
// when it has so many.
func readRaw(reader *bufio.Reader, method string, most int, enough func()) *rawOutcome {
	o := &rawOutcome{}
	for len(o.responses) <= most {
		if len(o.responses) == most {
			enough()
		}
		response, err := http.ReadResponse(reader, &http.Request{Method: method})
		if err != nil {
			o.end = err
			return o
		}
		body, err := io.ReadAll(io.LimitReader(response.Body, maxResponse))
		response.Body.Close()
		o.responses, o.bodies = append(o.responses, response), append(o.bodies, body)
		if err != nil {
			o.end = err
			return o
		}
		if response.StatusCode >= 100 && response.StatusCode < 200 {
			o.responses, o.bodies = o.responses[:len(o.responses)-1], o.bodies[:len(o.bodies)-1]
		}
	}
	return o
}

func (o *rawOutcome) closed() bool {
	var timeout net.Error
	return o.end != nil && !(errors.As(o.end, &timeout) && timeout.Timeout())
}

func (o *rawOutcome) describe() string {
	switch {
	case o.closed():
		return fmt.Sprintf("%d responses, then the connection was closed", len(o.responses))
	case o.end != nil:
		return fmt.Sprintf("%d responses, then nothing more came", len(o.responses))
	default:
		return fmt.Sprintf("%d responses and no end of them", len(o.responses))
	}
}

func (o *rawOutcome) problems(want []expectation, closed bool) []string {
	var all []string
	if len(o.responses) != len(want) {
		all = append(all, fmt.Sprintf("want %d responses, got %s", len(want), o.describe()))
	}
	for i := range min(len(want), len(o.responses)) {
		all = append(all, want[i].problems(o.responses[i], o.bodies[i])...)
	}
	if closed && !o.closed() {
		all = append(all, "want the connection closed, got "+o.describe())
	}
	return all
}

// bytesSeen notes what is read, for the exchange.
type bytesSeen struct {
	from io.Reader
	seen []byte
}

func (b *bytesSeen) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	b.seen = append(b.seen, p[:n]...)
	return n, err
}
