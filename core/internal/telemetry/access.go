package telemetry

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Access is what the log says of one request.
type Access struct {
	Level     slog.Level
	RequestID string
	Operation string
	Method    string
	Path      string
	Status    int
	Bytes     int64
	Duration  time.Duration
	Remote    string
	Principal string
	Records   int64  // with a fate that is known or not; 0: the request brought none
	Failed    int64  // of them
	Unknown   int64  // of them
	From      string // the peer that passed the request on; empty: a client sent it
	To        string // the peer that it was passed on to; empty: it was served here
	Error     string // empty: none
}

// AccessLog writes a line for each request.
//
// It is the one part of the log that is written at the rate of requests, and slog took a tenth of a small request's CPU time
// for it. So a logger that NewLogger made for JSON has its lines made here, the same lines for a tenth of that; with any other
// logger they are slog's.
type AccessLog struct {
	logger *slog.Logger
	lines  io.Writer // nil: through the logger
}

// NewAccessLog makes the access log of a logger.
func NewAccessLog(logger *slog.Logger) *AccessLog {
	log := &AccessLog{logger: logger}
	if h, ok := logger.Handler().(jsonHandler); ok {
		log.lines = h.to
	}
	return log
}

// Enabled reports whether lines of a level are written.
func (l *AccessLog) Enabled(level slog.Level) bool {
	return l.logger.Enabled(context.Background(), level)
}

// Write writes a request's line.
func (l *AccessLog) Write(a *Access) {
	if l.lines == nil {
		l.logger.LogAttrs(context.Background(), a.Level, "request", a.attributes()...)
		return
	}
	line := linePool.Get().(*[]byte)
	*line = a.appendJSON((*line)[:0], time.Now())
	l.lines.Write(*line) //nolint:errcheck // there is nowhere to say that the log cannot be written
	linePool.Put(line)
}

var linePool = sync.Pool{New: func() any { return new(make([]byte, 0, 512)) }}

func (a *Access) attributes() []slog.Attr {
	attributes := []slog.Attr{slog.String("request_id", a.RequestID), slog.String("operation", a.Operation), slog.String("method", a.Method),
		slog.String("path", a.Path), slog.Int("status", a.Status), slog.Int64("bytes", a.Bytes),
		slog.Float64("duration_ms", float64(a.Duration.Microseconds())/1e3), slog.String("remote", a.Remote), slog.String("principal", a.Principal)}
	if a.Records > 0 {
		attributes = append(attributes, slog.Int64("records", a.Records))
	}
	if a.Failed > 0 {
		attributes = append(attributes, slog.Int64("records_failed", a.Failed))
	}
	if a.Unknown > 0 {
		attributes = append(attributes, slog.Int64("records_unknown", a.Unknown))
	}
	if a.From != "" {
		attributes = append(attributes, slog.String("forwarded_from", a.From))
	}
	if a.To != "" {
		attributes = append(attributes, slog.String("forwarded_to", a.To))
	}
	if a.Error != "" {
		attributes = append(attributes, slog.String("error", a.Error))
	}
	return attributes
}

// appendJSON appends the line that slog writes of the attributes.
func (a *Access) appendJSON(b []byte, now time.Time) []byte {
	text := func(name, value string) {
		b = appendString(append(b, name...), value)
	}
	number := func(name string, value int64) {
		b = strconv.AppendInt(append(b, name...), value, 10)
	}
	b = now.AppendFormat(append(b, `{"time":"`...), time.RFC3339Nano)
	b = append(b, `","level":"`...)
	b = append(b, a.Level.String()...)
	text(`","msg":"request","request_id":`, a.RequestID)
	text(`,"operation":`, a.Operation)
	text(`,"method":`, a.Method)
	text(`,"path":`, a.Path)
	number(`,"status":`, int64(a.Status))
	number(`,"bytes":`, a.Bytes)
	micros := a.Duration.Microseconds()
	number(`,"duration_ms":`, micros/1000)
	if thousandths := micros % 1000; thousandths != 0 {
		b = append(b, '.', byte('0'+thousandths/100), byte('0'+thousandths/10%10), byte('0'+thousandths%10))
	}
	text(`,"remote":`, a.Remote)
	text(`,"principal":`, a.Principal)
	if a.Records > 0 {
		number(`,"records":`, a.Records)
	}
	if a.Failed > 0 {
		number(`,"records_failed":`, a.Failed)
	}
	if a.Unknown > 0 {
		number(`,"records_unknown":`, a.Unknown)
	}
	if a.From != "" {
		text(`,"forwarded_from":`, a.From)
	}
	if a.To != "" {
		text(`,"forwarded_to":`, a.To)
	}
	if a.Error != "" {
		text(`,"error":`, a.Error)
	}
	return append(b, '}', '\n')
}

// appendString appends a JSON string. Bytes that are not UTF-8 are replaced.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			b, _ = jsontext.AppendQuote(b, s) // the error says that bytes were replaced
			return b
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// jsonHandler is slog's handler for JSON with the writer under it, for lines that are written past it. A logger with
// attributes of its own has another handler.
type jsonHandler struct {
	slog.Handler
	to io.Writer
}

// serial lets one write through at a time: slog's handler and the access log write to the same place.
type serial struct {
	mu sync.Mutex
	to io.Writer
}

func (s *serial) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.to.Write(p)
}
