package history

import (
	"cmp"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Verdict is what a client knows about a record that it sent.
type Verdict string

// The verdicts. The first three are the gateway's own words about one record.
const (
	Persisted    Verdict = "persisted"
	NotPersisted Verdict = "not_persisted"
	Unknown      Verdict = "unknown"
	// Refused: the whole request was answered with an error status, which promises that nothing of it was written.
	Refused Verdict = "refused"
	// Unanswered: the connection or the stream ended before an answer to the record.
	Unanswered Verdict = "unanswered"
)

// Attempt is one record that was sent, and the answer to it.
type Attempt struct {
	ID       string `json:"id"`
	Topic    string `json:"topic"`
	Key      string `json:"key,omitempty"` // empty: no key
	Sequence int64  `json:"sequence"`      // counts the records of a key from 0
	Padding  int    `json:"padding"`       // bytes of ballast in the value
	Mode     Mode   `json:"mode"`

	Sent    time.Duration `json:"sent"` // since the history began
	Took    time.Duration `json:"took"` // until the answer, or until it was clear that none would come
	Verdict Verdict       `json:"verdict"`
	Cut     bool          `json:"cut,omitempty"` // the client itself cut the connection

	Partition int32  `json:"partition"` // of a record that is Persisted
	Offset    int64  `json:"offset"`
	Status    int    `json:"status,omitempty"` // HTTP status
	Code      int    `json:"code,omitempty"`   // error_code, zero or 200 for success
	Retry     string `json:"retry,omitempty"`
	Message   string `json:"message,omitempty"`
}

// value is the record's value as it is sent and must lie in the log, byte for byte.
func (a *Attempt) value() []byte {
	text := make([]byte, 0, 64+len(a.ID)+len(a.Key)+a.Padding)
	text = append(text, `{"id":"`...)
	text = append(text, a.ID...)
	text = append(text, `","k":"`...)
	text = append(text, a.Key...)
	text = append(text, `","s":`...)
	text = strconv.AppendInt(text, a.Sequence, 10)
	text = append(text, `,"ballast":"`...)
	text = append(text, strings.Repeat("x", a.Padding)...)
	return append(text, `"}`...)
}

// key is the record's key as JSON; nil for a record without one.
func (a *Attempt) key() []byte {
	if a.Key == "" {
		return nil
	}
	return []byte(`"` + a.Key + `"`)
}

// sum tells a record's content from any other.
func sum(key, value []byte) uint64 {
	hash := fnv.New64a()
	fmt.Fprintf(hash, "%t %d ", key == nil, len(key))
	hash.Write(key)
	hash.Write(value)
	return hash.Sum64()
}

// History is what was sent and answered. Its methods may be called while a load is running.
type History struct {
	began time.Time

	mu       sync.Mutex
	attempts []Attempt
	cuts     int
}

// New begins a history.
func New() *History { return &History{began: time.Now()} }

func (h *History) add(attempts ...Attempt) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.attempts = append(h.attempts, attempts...)
}

func (h *History) addCut() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cuts++
}

// Attempts are the records whose fate with the client is decided, in the order in which it was.
func (h *History) Attempts() []Attempt {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.attempts)
}

// Len is how many records there are.
func (h *History) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.attempts)
}

// Cuts is how many connections the client has cut in the middle of an exchange.
func (h *History) Cuts() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.cuts
}

// Elapsed is the time since the history began, on the scale of Attempt.Sent.
func (h *History) Elapsed() time.Duration { return time.Since(h.began) }

// Count is how many records satisfy a condition.
func (h *History) Count(holds func(*Attempt) bool) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	count := 0
	for i := range h.attempts {
		if holds(&h.attempts[i]) {
			count++
		}
	}
	return count
}

// Quantile gives the time to the answer that a share q (0 to 1) of the records which satisfy a condition did not exceed, and
// how many of those there are.
func (h *History) Quantile(q float64, holds func(*Attempt) bool) (time.Duration, int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var times []time.Duration
	for i := range h.attempts {
		if holds(&h.attempts[i]) {
			times = append(times, h.attempts[i].Took)
		}
	}
	if len(times) == 0 {
		return 0, 0
	}
	slices.Sort(times)
	return times[min(len(times)-1, int(q*float64(len(times))))], len(times)
}

// partitionNumber is the number in names such as topic-0.
var partitionNumber = regexp.MustCompile(`-\d+(\s)`)

// Failures describes the answers other than success by status, code and message (without partition numbers), the most frequent
// first, at most so many.
func (h *History) Failures(most int) string {
	counts := make(map[string]int)
	slowest := make(map[string]time.Duration)
	for _, a := range h.Attempts() {
		if a.Verdict == Persisted || a.Cut {
			continue
		}
		message := partitionNumber.ReplaceAllString(a.Message, "-N$1")
		text := fmt.Sprintf("%s, status %d, error_code %d, retry %q: %s", a.Verdict, a.Status, a.Code, a.Retry, message)
		counts[text]++
		slowest[text] = max(slowest[text], a.Took)
	}
	kinds := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(counts[b]-counts[a], strings.Compare(a, b))
	})
	var text strings.Builder
	for _, kind := range kinds[:min(most, len(kinds))] {
		fmt.Fprintf(&text, "%7d within %6s: %s\n", counts[kind], slowest[kind].Round(time.Millisecond), kind)
	}
	if more := len(kinds) - most; more > 0 {
		fmt.Fprintf(&text, "and %d kinds more\n", more)
	}
	return text.String()
}

// WriteTo writes the history as JSON, one record a line, for a look at it afterwards.
func (h *History) WriteTo(w io.Writer) (int64, error) {
	var written int64
	for _, attempt := range h.Attempts() {
		line, err := json.Marshal(attempt)
		if err != nil {
			return written, fmt.Errorf("write the history: %w", err)
		}
		n, err := w.Write(append(line, '\n'))
		written += int64(n)
		if err != nil {
			return written, fmt.Errorf("write the history: %w", err)
		}
	}
	return written, nil
}
