package history

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

const maxAnswer = 64 << 20

// answer is what the gateway says about one record, in the words of any of its APIs.
type answer struct {
	ID      string `json:"id"`           // of a batch entry
	V2      *int32 `json:"partition"`    // v2
	V3      *int32 `json:"partition_id"` // v3
	Offset  *int64 `json:"offset"`
	Code    *int   `json:"error_code"`
	Error   string `json:"error"`   // v2
	Message string `json:"message"` // v3
	Outcome string `json:"outcome"`
	Retry   string `json:"retry"`
}

// settle writes the answer into the attempt. An answer without an outcome means persisted when it is a success, and leaves
// everything open when it is not.
func (a *Attempt) settle(answer answer) {
	if answer.Code != nil {
		a.Code = *answer.Code
	}
	a.Retry, a.Message = answer.Retry, answer.Error+answer.Message
	if partition := answer.V2; partition != nil {
		a.Partition = *partition
	}
	if partition := answer.V3; partition != nil {
		a.Partition = *partition
	}
	if answer.Offset != nil {
		a.Offset = *answer.Offset
	}
	switch {
	case answer.Outcome != "":
		a.Verdict = Verdict(answer.Outcome)
	case a.succeeded():
		a.Verdict = Persisted
	default:
		a.Verdict = Unknown
	}
}

// succeeded reports whether the error_code is that of a success.
func (a *Attempt) succeeded() bool { return a.Code == 0 || a.Code == 200 }

// finish puts attempts into the history: those still without an answer as they are.
func (w *worker) finish(attempts []*Attempt, cut bool) {
	now := w.run.history.Elapsed()
	done := make([]Attempt, len(attempts))
	for i, attempt := range attempts {
		attempt.Took = now - attempt.Sent
		attempt.Cut = cut && attempt.Verdict == Unanswered
		done[i] = *attempt
	}
	w.run.history.add(done...)
}

// refuse notes an error status that answered a whole request. A 5xx other than 503 is a defect of whoever wrote it, and
// promises nothing.
func refuse(attempts []*Attempt, status int, body []byte) {
	var failure answer
	_ = json.Unmarshal(body, &failure) // a body that is no JSON has no code
	for _, attempt := range attempts {
		attempt.Status, attempt.Message = status, failure.Message
		if failure.Code != nil {
			attempt.Code = *failure.Code
		}
		if status < 500 || status == http.StatusServiceUnavailable {
			attempt.Verdict = Refused
		}
	}
}

// post makes one exchange that is not a stream, possibly cut, and gives the answer. cut is whether the client cut it.
func (w *worker) post(ctx context.Context, path, contentType string, body []byte) (status int, answer []byte, cut bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.run.load.Timeout)
	defer cancel()
	w.arm(len(body))
	defer func() { cut = w.disarm() }()
	// A body without GetBody cannot be sent twice by the HTTP client of its own accord.
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.run.load.URL+path, io.MultiReader(bytes.NewReader(body)))
	if err != nil {
		return 0, nil, false, err
	}
	request.ContentLength = int64(len(body))
	w.setHeader(request, contentType)
	response, err := w.client.Do(request)
	if err != nil {
		return 0, nil, false, err
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	return response.StatusCode, answer, false, err
}

func (w *worker) setHeader(request *http.Request, contentType string) {
	request.Header.Set("Content-Type", contentType)
	request.Header.Set("Prefer", "outcomes")
}

func (w *worker) arm(bodyBytes int) {
	if w.random.Float64() < w.run.load.CutShare {
		w.scissors.arm(bodyBytes+300, 600)
	}
}

func (w *worker) disarm() bool {
	cut := w.scissors.disarm()
	if cut {
		w.run.history.addCut()
		// The HTTP client may not have seen yet that its connection is gone, and would use it once more.
		w.client.CloseIdleConnections()
		w.client = newClient(w.mode, w.scissors)
	}
	return cut
}

// list makes one v2 request.
func (w *worker) list(ctx context.Context, count int) (trouble bool) {
	w.run.pacer.wait(ctx, count)
	if ctx.Err() != nil {
		return false
	}
	attempts := w.beginAll(count)
	body := append(make([]byte, 0, w.room(count)), `{"records":[`...)
	for i, attempt := range attempts {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, '{')
		if attempt.Key != "" {
			body = append(append(append(body, `"key":`...), attempt.key()...), ',')
		}
		body = append(append(append(body, `"value":`...), attempt.value()...), '}')
	}
	body = append(body, `]}`...)
	status, answered, cut, err := w.post(ctx, "/topics/"+attempts[0].Topic, "application/vnd.kafka.json.v2+json", body)
	defer func() { w.finish(attempts, cut) }()
	if err != nil {
		noteFailure(attempts, err)
		return !cut
	}
	var offsets struct {
		Offsets []answer `json:"offsets"`
	}
	if err := json.Unmarshal(answered, &offsets); err == nil && len(offsets.Offsets) == len(attempts) {
		for i, answer := range offsets.Offsets {
			attempts[i].Status = status
			attempts[i].settle(answer)
		}
		return false
	}
	refuse(attempts, status, answered)
	return true
}

// batch makes one v3 records:batch.
func (w *worker) batch(ctx context.Context, count int) (trouble bool) {
	w.run.pacer.wait(ctx, count)
	if ctx.Err() != nil {
		return false
	}
	attempts := w.beginAll(count)
	body := append(make([]byte, 0, w.room(count)), `{"entries":[`...)
	for i, attempt := range attempts {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, `{"id":"`+strconv.Itoa(i)+`",`...)
		body = append(attempt.appendV3(body), '}')
	}
	body = append(body, `]}`...)
	status, answered, cut, err := w.post(ctx, w.recordsPath(attempts[0].Topic)+":batch", "application/json", body)
	defer func() { w.finish(attempts, cut) }()
	if err != nil {
		noteFailure(attempts, err)
		return !cut
	}
	if status != http.StatusMultiStatus {
		refuse(attempts, status, answered)
		return true
	}
	var results struct {
		Successes []answer `json:"successes"`
		Failures  []answer `json:"failures"`
	}
	if err := json.Unmarshal(answered, &results); err != nil {
		noteFailure(attempts, fmt.Errorf("answer %.200q: %w", answered, err))
		return true
	}
	for _, answer := range append(results.Successes, results.Failures...) {
		index, err := strconv.Atoi(answer.ID)
		if err != nil || index < 0 || index >= len(attempts) {
			continue // its record stays unanswered, which the report shows
		}
		attempts[index].Status = status
		attempts[index].settle(answer)
	}
	return false
}

// room is about how many bytes a request with so many records takes.
func (w *worker) room(count int) int { return 32 + count*(160+w.run.load.Padding) }

func (w *worker) recordsPath(topic string) string {
	return "/v3/clusters/" + w.run.load.ClusterID + "/topics/" + topic + "/records"
}

// appendV3 appends the members of a v3 record.
func (a *Attempt) appendV3(text []byte) []byte {
	if a.Key != "" {
		text = append(append(append(text, `"key":{"type":"JSON","data":`...), a.key()...), `},`...)
	}
	return append(append(append(text, `"value":{"type":"JSON","data":`...), a.value()...), '}')
}

func noteFailure(attempts []*Attempt, err error) {
	for _, attempt := range attempts {
		if attempt.Verdict == Unanswered && !errors.Is(err, errCut) {
			attempt.Message = err.Error()
		}
	}
}
