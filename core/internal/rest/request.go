package rest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/identity"
	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/rawjson"
	"github.com/weir-gateway/weir/core/internal/telemetry"
)

// Request is an HTTP request on its way through the chain, with what the chain has found out about it.
type Request struct {
	*http.Request
	// ID is the request's id, in the answer's Weir-Request-Id and in the log.
	ID string
	// Principal is who asks.
	Principal identity.Principal
	// ContentType is the body's type, one of the route's Consumes.
	ContentType ContentType
	// Older says that the client speaks the v1 dialect; see package v1.
	Older bool
	// Answer is the negotiated media type of the answer.
	Answer MediaType
	// Prefer is what the client asked for beyond the compatible answer.
	Prefer Preferences
	// Settings are the whole configuration, for the bounds that a route applies itself.
	Settings *config.Config
	// BaseURL is what links begin with, without a trailing slash.
	BaseURL string

	passing
	control  *http.ResponseController
	metrics  *telemetry.Metrics
	deadline time.Time // of a request that is not a stream
	bodies   *budget
	reserved int64
	readBy   time.Time       // the connection's read deadline, where a body's reading has set one
	complete bool            // the body was read to its end
	known    *rawjson.Known  // of the whole gateway
	query    url.Values      // nil: not read yet
	blank    bool            // the body has nothing but white space
	draining context.Context // ends when the gateway begins to shut down
}

// Draining ends when the gateway begins to shut down; what lasts, such as a stream, then ends by itself.
func (r *Request) Draining() context.Context { return r.draining }

// JSONLimits are the bounds on JSON text.
func (r *Request) JSONLimits() rawjson.Limits {
	return rawjson.Limits{Depth: r.Settings.JSON.Depth, NumberLength: r.Settings.JSON.NumberLength}
}

// Query gives the parameters. Unlike the URL's own it tells of what cannot be read: a parameter that is dropped without a word may be the
// one that an answer depends on.
func (r *Request) Query() (url.Values, error) {
	if r.query == nil {
		query, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			return nil, fault.Wrap(fault.InvalidRequest, err, "Bad Request: the query cannot be read: "+err.Error()+".")
		}
		r.query = query
	}
	return r.query, nil
}

// KnownJSON says of stored bytes whether they are JSON, within the same bounds.
func (r *Request) KnownJSON() *rawjson.Known { return r.known }

// budget is a number of bytes that all requests share.
type budget struct {
	used atomic.Int64
	max  int64
}

func (b *budget) take(n int64) bool {
	if b.used.Add(n) <= b.max {
		return true
	}
	b.used.Add(-n)
	return false
}

func (b *budget) give(n int64) { b.used.Add(-n) }

// Memory for a body comes in three steps: a little until the client has sent anything, then what its Content-Length says up to
// trustedLength, then twice as much each time. So nobody takes memory or budget by promising bytes.
const (
	firstPiece    = 4 << 10
	trustedLength = 256 << 10
)

// Body reads the whole body within the bounds: its size, the gap between two pieces, the request's deadline, and what all
// bodies together may hold. The bytes are the caller's.
func (r *Request) Body() ([]byte, error) {
	// What could never be held is too large, not a matter of trying again.
	limit := min(r.Settings.Limits.BodyBytes, r.bodies.max)
	if r.ContentLength > limit {
		return nil, r.bodyTooLarge(limit)
	}
	if r.ContentLength == 0 || r.Request.Body == http.NoBody {
		return nil, nil
	}
	body, err := r.readAll(limit)
	if err == nil {
		r.complete, r.bodyBytes = true, body
		r.control.SetReadDeadline(time.Time{}) //nolint:errcheck // a connection that is gone fails the next read
	}
	return body, err
}

func (r *Request) readAll(limit int64) ([]byte, error) {
	var body []byte
	for {
		if len(body) == cap(body) {
			if r.ContentLength == int64(len(body)) {
				return body, r.expectEnd()
			}
			size := r.roomFor(int64(len(body)), limit)
			if err := r.Reserve(size - int64(cap(body))); err != nil {
				return nil, err
			}
			body = append(make([]byte, 0, size), body...)
		}
		n, err := r.readPiece(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if int64(len(body)) > limit {
			return nil, r.bodyTooLarge(limit)
		}
		if errors.Is(err, io.EOF) {
			return body, nil
		}
		if err != nil {
			return nil, readFault(err)
		}
	}
}

// roomFor is how much memory a body should have of which so much has come. One byte beyond the limit tells that it is larger.
func (r *Request) roomFor(come, limit int64) int64 {
	size := max(firstPiece, 2*come)
	if r.ContentLength > 0 {
		if come > 0 {
			size = max(size, trustedLength)
		}
		return min(size, r.ContentLength)
	}
	return min(size, limit+1)
}

// abandonTime is how long net/http may spend on a body that nobody reads, to keep the connection.
const abandonTime = 500 * time.Millisecond

// boundBody sees to it that a body which no handler reads cannot hold its connection: net/http reads it before it answers, to
// no deadline but this. Body sets its own.
func (r *Request) boundBody(within time.Duration) {
	if r.ProtoMajor == 1 && r.ContentLength != 0 && !r.complete {
		r.readBy = time.Now().Add(within)
		r.control.SetReadDeadline(r.readBy) //nolint:errcheck // a writer without deadlines bounds its reads itself
	}
}

// expectEnd reads to the end of a body that is complete, so that the server sees it end and may reuse the connection.
func (r *Request) expectEnd() error {
	var none [1]byte
	if _, err := r.readPiece(none[:]); err != nil && !errors.Is(err, io.EOF) {
		return readFault(err)
	}
	return nil
}

// readPiece reads what there is, within the gap that is allowed. Setting a deadline costs as much as reading a small body, so
// one that was set a moment ago is good enough.
func (r *Request) readPiece(p []byte) (int, error) {
	gap := r.Settings.Limits.BodyTimeout
	deadline := time.Now().Add(gap)
	if r.deadline.Before(deadline) {
		deadline = r.deadline
	}
	if deadline.Sub(r.readBy) > gap/64 || r.readBy.After(deadline) {
		r.readBy = deadline
		r.control.SetReadDeadline(deadline) //nolint:errcheck // writers without deadlines are bounded by the request's own
	}
	return r.Request.Body.Read(p)
}

// Reserve takes n bytes of what all requests together may hold, until the request ends.
func (r *Request) Reserve(n int64) error {
	if !r.bodies.take(n) {
		r.metrics.Refused("buffered_bytes")
		return fault.New(fault.Overloaded, "The gateway holds as many bytes of requests as it may. Try again later.")
	}
	r.reserved += n
	return nil
}

func (r *Request) bodyTooLarge(limit int64) error {
	r.metrics.Refused("body_bytes")
	return fault.Newf(fault.BodyTooLarge, "The request body is larger than %d bytes. Send less in one request.", limit)
}

func readFault(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fault.Wrap(fault.RequestTimeout, err, "Timeout while reading from inputStream")
	}
	return fault.Wrap(fault.InvalidRequest, err, "Bad Request: the request body ended early or could not be read")
}

// Malformed words an error of package rawjson about a whole body.
func Malformed(err error) error {
	var limit *rawjson.LimitError
	if errors.As(err, &limit) {
		return fault.Newf(fault.MalformedJSON, "Bad Request: %s.", limit.Reason)
	}
	return fault.Wrap(fault.MalformedJSON, err, "The request body is not JSON: "+err.Error()+".")
}
