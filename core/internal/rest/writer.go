package rest

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/weir-gateway/weir/core/internal/record"
	"github.com/weir-gateway/weir/core/internal/telemetry"
)

// responseWriter remembers what was answered, for the log and for the question whether an error can still be told.
type responseWriter struct {
	http.ResponseWriter
	status int
	bytes  int64
	// answerWithin is how long the client may take to accept an answer, from its header on. Streams bound each write themselves.
	answerWithin time.Duration
}

func (w *responseWriter) WriteHeader(status int) {
	if w.status == 0 || w.status < 200 {
		w.status = status
		http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(w.answerWithin)) //nolint:errcheck // a writer without deadlines has its own
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *responseWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection's own writer.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// tally counts one request's records, for its log line, and passes them on to the metrics. Records settle on the producer's
// goroutines and may outlive the request.
type tally struct {
	metrics *telemetry.Metrics
	records [record.Outcomes]atomic.Int64
	unread  atomic.Int64 // could not even be read
	given   atomic.Int64 // were read by the client
}

// settle says what became of an admitted record and how many bytes it was. It is called exactly once for each, from any
// goroutine.
func (t *tally) settle(outcome record.Outcome, bytes int) {
	t.records[outcome].Add(1)
	t.metrics.Record(outcome, bytes)
}

// refused counts a record that could not be read.
func (t *tally) refused() { t.unread.Add(1) }

// read counts records that were given to the client.
func (t *tally) read(records, bytes int) {
	t.given.Add(int64(records))
	t.metrics.RecordsRead(records, bytes)
}
