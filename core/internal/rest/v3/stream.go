package v3

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/rawjson"
	"github.com/weir-gateway/weir/core/internal/record"
	"github.com/weir-gateway/weir/core/internal/rest"
)

// bindRecords binds the record stream: of its body nothing is read yet.
func bindRecords(r *rest.Request) (rest.Operation, rest.Serve, error) {
	switch strings.ToLower(r.ContentType.Charset) {
	case "", "utf-8", "utf8", "iso-8859-1":
	default:
		return rest.Operation{}, nil, fault.New(fault.InvalidRequest, "Bad Request: the charset of the body must be UTF-8.")
	}
	if r.ContentLength == 0 && r.Header.Get("Content-Type") == "" {
		return rest.Operation{}, nil, fault.New(fault.InvalidPayload, "Payload error. Request body is empty. Data is required.")
	}
	topic, cluster := r.PathValue("topic"), r.PathValue("cluster")
	operation := rest.Operation{Cluster: cluster, Resources: []rest.Resource{{Type: "topic", Name: topic}}}
	return operation, func(ctx context.Context, w http.ResponseWriter, grant *rest.Grant) error {
		cluster, err := grant.Cluster()
		if err != nil {
			return err
		}
		id, _ := cluster.ID()
		s := &stream{
			request: r, w: w, grant: grant, cluster: cluster, decode: newDecoder(r, topic),
			receipts: receipts{cluster: id, topic: topic, outcomes: r.Prefer.Outcomes},
			queue:    make(chan *slot, r.Settings.Stream.Window), wake: make(chan struct{}, 1), written: make(chan struct{}), decided: make(chan struct{}), abort: make(chan struct{}),
		}
		s.run(ctx)
		return nil
	}, nil
}

// stream is one record stream: the handler's goroutine reads records and hands them over, a second one writes their receipts
// in the same order. The queue between them is the window: when it is full, reading stops until receipts are taken.
type stream struct {
	request  *rest.Request
	w        http.ResponseWriter
	grant    *rest.Grant
	cluster  *rest.Cluster
	decode   decoder
	receipts receipts
	body     *body
	queue    chan *slot
	wake     chan struct{} // a slot may be done
	written  chan struct{} // closed when the writer has ended
	decided  chan struct{} // closed when the status is settled
	held     bool          // receipts wait until the body is read
	failed   int           // receipts with an error; the writer's
	refusing bool          // too old: every further record is answered 408
	panicked any           // the writer's
	abort    chan struct{} // closed when the reader has panicked
}

// slot is one record between the reader and the writer. done is set after everything else in it.
type slot struct {
	decoded
	receipt record.Receipt
	done    atomic.Bool
	header  bool // not a record: have the answer's header written
}

func (s *stream) run(ctx context.Context) {
	settings, control := &s.request.Settings.Stream, http.NewResponseController(s.w)
	s.body = &body{source: s.request, control: control, idle: settings.IdleTimeout, linger: settings.WriteTimeout}
	control.EnableFullDuplex() //nolint:errcheck // HTTP/2 has nothing to enable
	// A client that announces a length may well write everything before it reads anything.
	s.held = s.request.ContentLength >= 0
	header := s.w.Header()
	header.Set("Content-Type", string(s.request.Answer))
	header.Set("Trailer", "Weir-Record-Errors")
	s.request.Prefer.Apply(s.w)
	stopDraining := context.AfterFunc(s.request.Draining(), func() { s.body.stop(errDraining) })
	control.SetWriteDeadline(time.Time{}) //nolint:errcheck // each flush sets its own
	go func() {
		defer close(s.written)
		defer func() { s.panicked = recover() }()
		s.write(control)
	}()
	if !s.held && !s.request.Prefer.Strict && s.request.Header.Get("Expect") == "" {
		// Some clients wait for the status before they send. (One that expects 100-continue gets that at the first read.)
		s.enqueue(&slot{header: true})
	}
	ended := false
	end := func() {
		ended = true
		close(s.queue)
		<-s.written
		stopDraining()
	}
	defer func() {
		if !ended { // reading has panicked: the writer must be gone before net/http takes the connection back
			close(s.abort)
			end()
		}
	}()
	s.read(ctx)
	end()
	if s.panicked != nil {
		panic(s.panicked) // in the chain's hands, which ends this request only
	}
	header.Set("Weir-Record-Errors", strconv.Itoa(s.failed))
	s.body.finish(s.w, s.failed)
}

var (
	errDraining = errors.New("the gateway is shutting down")
	errTooOld   = errors.New("the stream was open for longer than allowed")
	errUnread   = errors.New("the client takes no receipts")
	errStrict   = errors.New("a record failed and the client asked for strict handling")
)

// read reads records until the stream ends, for whatever reason.
func (s *stream) read(ctx context.Context) {
	settings := &s.request.Settings.Stream
	oldest := time.Now().Add(settings.MaxDuration)
	reader := rawjson.NewReader(s.body, settings.MaxRecordBytes, s.request.JSONLimits())
	for first := true; ; first = false {
		// What the reader has buffered would still come after a stop: nothing of it may be produced once the answer is settled.
		if s.body.hasStopped() {
			return
		}
		s.body.nextRecord()
		value, err := reader.Next()
		var limit *rawjson.LimitError
		switch {
		case errors.As(err, &limit):
			if !s.refuse(fault.Newf(fault.InvalidRequest, "Bad Request: %s.", limit.Reason)) {
				return
			}
		case err != nil:
			if last := lastWords(err); last != nil {
				s.refuse(last)
			}
			return
		case time.Now().After(oldest):
			if !s.refusing {
				s.refusing = true
				timer := time.AfterFunc(settings.GracePeriod, func() { s.body.stop(errTooOld) })
				defer timer.Stop()
			}
			if !s.refuse(fault.New(fault.StreamTooOld, "Streaming connection open for longer than allowed: Connection will be closed.")) {
				return
			}
		default:
			if !s.produce(ctx, value) {
				return
			}
		}
		if first && s.request.Prefer.Strict {
			select { // what follows is read only when the first record has settled the status
			case <-s.decided:
			case <-s.written:
			}
		}
	}
}

// produce hands one record over; its slot is in the queue first, so that receipts come in order.
func (s *stream) produce(ctx context.Context, value []byte) bool {
	next := &slot{}
	if err := s.decode.read(bytes.Clone(value), &next.decoded); err != nil {
		return s.refuse(err)
	}
	if !s.enqueue(next) {
		return false
	}
	// One array of one record: its memory is the producer's from here on.
	records := []record.Record{next.record}
	next.record = record.Record{} // a slot that waits for its turn must not hold what Kafka has taken
	s.grant.ProduceAsync(ctx, s.cluster, records, func(_ int, receipt record.Receipt) {
		next.receipt = receipt
		next.done.Store(true)
		s.signal()
	})
	return true
}

// refuse answers a record that is not handed over.
func (s *stream) refuse(err error) bool {
	s.grant.Refused()
	next := &slot{receipt: record.Receipt{Outcome: record.NotPersisted, Err: err}}
	next.done.Store(true)
	return s.enqueue(next)
}

// enqueue puts a slot into the window, waiting while it is full; false when there is nobody left to write to.
func (s *stream) enqueue(next *slot) bool {
	select {
	case s.queue <- next:
		s.signal()
		return true
	case <-s.written:
		return false
	}
}

func (s *stream) signal() {
	select {
	case s.wake <- struct{}{}:
	default: // a wake-up is waiting already
	}
}

// lastWords gives the receipt that tells why a stream ends here; nil where there is nothing to tell or nobody to tell it to.
func lastWords(err error) error {
	var syntax *rawjson.SyntaxError
	var f *fault.Error
	switch {
	case errors.Is(err, rawjson.ErrTooLarge):
		return fault.New(fault.InvalidRequest, "Bad Request: Error processing message: Produce request size is larger than allowed threshold")
	case errors.As(err, &syntax):
		return fault.New(fault.InvalidRequest, "Bad Request: Error processing message: "+syntax.Error())
	case errors.As(err, &f):
		return f
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fault.New(fault.RequestTimeout, "Timeout while reading from inputStream")
	default: // io.EOF, a client that has gone, or a stop that was told already
		return nil
	}
}

// write writes receipts in order and flushes whenever no further one is ready.
func (s *stream) write(control *http.ResponseController) {
	out := &output{stream: s, control: control}
	for next := range s.queue {
		if next.header {
			if !out.flush(true) {
				return
			}
			continue
		}
		for !next.done.Load() {
			if !out.flush(false) {
				return
			}
			select {
			case <-s.wake:
			case <-s.abort:
				return
			}
		}
		if next.receipt.Err != nil {
			s.failed++
			if s.request.Prefer.Strict && !s.strict(out, next) {
				return
			}
		}
		out.add(next)
		if (len(s.queue) == 0 || len(out.buffer) >= outputPiece) && !out.flush(false) {
			return
		}
	}
	out.flush(true)
}

// strict handles a failed record of a client that asked for honest statuses: if nothing was answered yet, the failure is the
// answer; false then. Otherwise it is the last record that was read.
func (s *stream) strict(out *output, failed *slot) bool {
	s.body.stop(errStrict)
	if out.begun || len(out.buffer) > 0 {
		return true
	}
	f := fault.From(failed.receipt.Err)
	s.w.Header().Del("Trailer")
	s.w.Header().Set("Weir-Record-Errors", "1")
	rest.WriteProblem(s.w, s.request, rest.Problem{Status: rest.StrictStatus(f.Code), Fault: f})
	return false
}

// output collects receipts and writes them.
type output struct {
	stream  *stream
	control *http.ResponseController
	buffer  []byte
	begun   bool
	decided bool
}

// outputPiece is how many bytes of receipts are written at once while more are ready.
const outputPiece = 16 << 10

func (o *output) add(next *slot) {
	o.buffer = o.stream.receipts.append(o.buffer, &next.decoded, &next.receipt)
	o.buffer = append(o.buffer, '\r', '\n')
	if !o.decided {
		o.decided = true
		close(o.stream.decided)
	}
}

// flush writes what there is. While the body of a client with a Content-Length is still coming, receipts are held back as far
// as the buffer allows; always overrules that. false: the client takes nothing any more, and reading has been stopped.
func (o *output) flush(always bool) bool {
	s := o.stream
	if !always && (len(o.buffer) == 0 || s.held && !s.body.ended.Load() && len(o.buffer) < s.request.Settings.Stream.ReceiptBufferBytes) {
		return true
	}
	o.begun = true
	o.control.SetWriteDeadline(time.Now().Add(s.request.Settings.Stream.WriteTimeout)) //nolint:errcheck // a writer without deadlines: the client's own pace
	_, err := s.w.Write(o.buffer)
	if err == nil {
		err = o.control.Flush()
	}
	o.control.SetWriteDeadline(time.Time{}) //nolint:errcheck // HTTP/2 ends a stream at its deadline even when nothing is being written
	o.buffer = o.buffer[:0]
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		s.body.stop(errUnread)
		return false
	}
	return true
}
