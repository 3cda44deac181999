package history

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// stream makes one v3 record stream of up to count records, of which up to window are ahead of their receipts.
func (w *worker) stream(ctx context.Context, count, window int) (trouble bool) {
	topic := w.random.IntN(len(w.run.load.Topics))
	exchange, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.run.load.Timeout)
	defer cancel()
	w.arm(min(count, 30) * (200 + w.run.load.Padding))

	reader, body := io.Pipe()
	s := &openStream{
		places:  make(chan struct{}, window),
		waiting: make(chan *Attempt, window),
		ended:   make(chan struct{}),
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		defer body.Close()
		w.write(ctx, s, topic, count, body)
	}()
	w.scissors.tie(reader)
	refusal, err := w.receive(exchange, s, topic, reader)
	w.scissors.tie(nil)
	cut := w.disarm()
	close(s.ended)
	_ = reader.CloseWithError(errCut) // never fails
	<-written

	close(s.waiting)
	var left []*Attempt
	for attempt := range s.waiting {
		left = append(left, attempt)
	}
	if refusal != nil {
		refuse(left, refusal.status, refusal.body)
	}
	if err != nil {
		noteFailure(left, err)
	}
	w.finish(left, cut)
	return (err != nil || refusal != nil) && !cut
}

// openStream is what the writing and the reading side of a stream share.
type openStream struct {
	places  chan struct{} // one for each record without a receipt
	waiting chan *Attempt // those records, in order; never full, since each has a place
	ended   chan struct{} // no receipts are read any more
}

// refusal is an error status that answered a whole stream.
type refusal struct {
	status int
	body   []byte
}

// write sends the records.
func (w *worker) write(ctx context.Context, s *openStream, topic, count int, body io.Writer) {
	var text []byte
	for range count {
		w.run.pacer.wait(ctx, 1)
		if w.run.over(ctx) {
			return
		}
		select {
		case s.places <- struct{}{}:
		case <-s.ended:
			return
		}
		attempt := w.begin(topic)
		s.waiting <- attempt
		text = append(attempt.appendV3(append(text[:0], '{')), "}\n"...)
		if _, err := body.Write(text); err != nil {
			return // the reading side knows why
		}
	}
}

// receive opens the stream and settles the records that wait, in order, until the stream ends.
func (w *worker) receive(ctx context.Context, s *openStream, topic int, body io.ReadCloser) (*refusal, error) {
	path := w.run.load.URL + w.recordsPath(w.run.load.Topics[topic])
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, path, body)
	if err != nil {
		return nil, err
	}
	// While the HTTP client waits for more of the body it looks at nothing else: the context must end the body too.
	defer context.AfterFunc(ctx, func() { _ = body.Close() })()
	w.setHeader(request, "application/json")
	response, err := w.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
		return &refusal{response.StatusCode, text}, err
	}
	decoder := json.NewDecoder(response.Body)
	for {
		var receipt answer
		if err := decoder.Decode(&receipt); err == io.EOF {
			return nil, nil
		} else if err != nil {
			return nil, err
		}
		select {
		case attempt := <-s.waiting:
			<-s.places
			attempt.Status = http.StatusOK
			attempt.settle(receipt)
			w.finish([]*Attempt{attempt}, false)
		default:
			return nil, fmt.Errorf("a receipt for which no record waits: %+v", receipt)
		}
	}
}
