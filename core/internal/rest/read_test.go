package rest

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/format"
	"github.com/weir-gateway/weir/core/internal/kafka/reader"
	"github.com/weir-gateway/weir/core/internal/rawjson"
	"github.com/weir-gateway/weir/core/internal/record"
	"github.com/weir-gateway/weir/core/internal/telemetry"
)

// log is a partition: its records have the offsets from start on, and a reader that gives two of them at a time.
type log struct {
	made     int64 // when the topic was made
	fails    int   // from this fetch on; 0: never
	start    int64
	values   []string
	fetches  int
	released int
	grow     func(*log) // before each fetch that waits
}

func (l *log) Fetch(_ context.Context, positions []record.Position, options reader.Options) ([]reader.Result, func(), error) {
	l.fetches++
	if l.fails > 0 && l.fetches >= l.fails {
		return nil, func() { l.released++ }, fault.New(fault.Overloaded, "no room")
	}
	if options.Wait > 0 && l.grow != nil {
		l.grow(l)
	}
	at := positions[0].Offset
	end := l.start + int64(len(l.values))
	r := reader.Result{Range: record.Range{TopicPartition: record.TopicPartition{Topic: "t", Partition: 3}, Start: at, End: at}, LogStart: l.start, HighWatermark: end, Readable: end}
	release := func() { l.released++ }
	if at < l.start || at > end {
		r.Err = fault.New(fault.OffsetOutOfRange, "out of range")
		return []reader.Result{r}, release, nil
	}
	for ; r.End < end && len(r.Records) < 2; r.End++ {
		r.Records = append(r.Records, record.Stored{Offset: r.End, Timestamp: 1_700_000_000_123 + l.made, Value: []byte(l.values[r.End-l.start])})
	}
	return []reader.Result{r}, release, nil
}

func (l *log) Offsets(_ context.Context, questions []reader.At, _ bool) ([]reader.Offset, error) {
	end := l.start + int64(len(l.values))
	switch at := questions[0].At; at {
	case reader.Earliest:
		return []reader.Offset{{Offset: l.start}}, nil
	case reader.Latest:
		return []reader.Offset{{Offset: end}}, nil
	default: // a record for each millisecond
		if at >= end {
			return []reader.Offset{{Offset: -1}}, nil
		}
		return []reader.Offset{{Offset: max(at, l.start)}}, nil
	}
}

// readOnce binds a query and reads, the way both APIs do.
func readOnce(t *testing.T, l *log, query string, header http.Header) (*Reading, *PartitionRead, error) {
	t.Helper()
	settings := config.Default()
	r := &Request{Request: httptest.NewRequest(http.MethodGet, "/topics/t/partitions/3/records?"+query, http.NoBody), Settings: &settings, draining: t.Context()}
	r.SetPathValue("topic", "t")
	r.SetPathValue("partition", "3")
	for name, values := range header {
		r.Header[name] = values
	}
	read, err := BindRead(r)
	if err != nil {
		return nil, nil, err
	}
	cluster := NewCluster("c", func() (string, bool) { return "id", true }, nil, nil, nil).WithReading(l, nil)
	grant := &Grant{tally: &tally{metrics: telemetry.NewMetrics()}}
	decoder := format.JSON{Known: rawjson.NewKnown(r.JSONLimits(), 0)}
	a, err := read.Fetch(t.Context(), r, grant, cluster, &Sides{Key: decoder, Value: decoder, Undecodable: read.Query.Undecodable}, "json", false)
	return a, read, err
}

func TestReadOfAPartition(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		query      string
		start, end int64
		records    int
		closed     bool
	}{
		{"", 5, 10, 5, false},
		{"offset=earliest", 5, 10, 5, false},
		{"offset=latest", 10, 10, 0, false},
		{"offset=7", 7, 10, 3, false},
		{"offset=10", 10, 10, 0, false},
		{"offset=5&end_offset=8", 5, 8, 3, true},
		{"offset=5&end_offset=10", 5, 10, 5, true},
		{"offset=5&end_offset=99", 5, 10, 5, false},
		{"offset=7&end_offset=7&timeout=60000", 7, 7, 0, true}, // where a walk of bounded reads ends
		{"offset=5&max_bytes=9", 5, 7, 2, true},                // records of four bytes: the third would make twelve
		{"offset=5&max_bytes=12", 5, 7, 2, true},               // reaching the bound is refused, as in the REST Proxy
		{"offset=5&max_bytes=13", 5, 8, 3, true},
		{"offset=6&max_bytes=1", 6, 7, 1, true}, // the first comes whatever its size
		{"timestamp=7", 7, 10, 3, false},
		{"timestamp=1970-01-01T00:00:00.0075Z", 8, 10, 2, false},
		{"timestamp=99", 10, 10, 0, false},
	} {
		l := &log{start: 5, values: []string{`"aa"`, `"bb"`, `"cc"`, `"dd"`, `"ee"`}}
		a, _, err := readOnce(t, l, c.query, nil)
		if err != nil {
			t.Errorf("%s: %v", c.query, err)
			continue
		}
		if a.Start != c.start || a.End != c.end || len(a.Records) != c.records || a.closed != c.closed {
			t.Errorf("%s: %d to %d, %d records, closed %t; want %+v", c.query, a.Start, a.End, len(a.Records), a.closed, c)
		}
		a.Release()
		if l.released != l.fetches {
			t.Errorf("%s: %d fetches, %d released", c.query, l.fetches, l.released)
		}
	}
}

func TestReadOfAPartitionRefuses(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]fault.Code{
		"offset=4": fault.OffsetOutOfRange, "offset=11": fault.OffsetOutOfRange, "offset=-1": fault.InvalidRequest, "offset=x": fault.InvalidRequest,
		"offset=5&timestamp=1": fault.InvalidRequest, "timestamp=yesterday": fault.InvalidRequest, "offset=5&end_offset=4": fault.InvalidRequest,
		"max_bytes=many": fault.InvalidRequest, "timeout=1s": fault.InvalidRequest, "include=keys": fault.InvalidRequest, "undecodable=hide": fault.InvalidRequest,
		"offset=6&undecodable=error": fault.Undecodable,
	} {
		l := &log{start: 5, values: []string{`"aa"`, `not JSON`, `"cc"`, `"dd"`, `"ee"`}}
		_, _, err := readOnce(t, l, query, nil)
		if f := fault.From(err); f == nil || f.Code != want {
			t.Errorf("%s: %v, want %v", query, err, want)
		}
		if l.released != l.fetches {
			t.Errorf("%s: %d fetches, %d released", query, l.fetches, l.released)
		}
	}
	l := &log{start: 5, values: []string{`"aa"`, `not JSON`, `"cc"`}}
	a, _, err := readOnce(t, l, "offset=5&undecodable=error", nil)
	if err != nil || len(a.Records) != 1 || a.End != 6 {
		t.Errorf("what comes before an undecodable record: %+v, %v", a, err)
	}
	_, _, err = readOnce(t, l, "offset=99", nil)
	if text := fault.From(err).Message; !strings.Contains(text, "from 5 up to, but not including, 8") {
		t.Errorf("the refusal does not say what there is: %s", text)
	}
}

// An answer that the client has is told by its tag, after waiting for something new.
func TestReadOfAPartitionWaitsForWhatIsNew(t *testing.T) {
	t.Parallel()
	l := &log{values: []string{`1`, `2`}}
	first, _, err := readOnce(t, l, "offset=0", nil)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	if first.NotModified(w, nil) || w.Header().Get("Cache-Control") != "private, no-cache" || w.Header().Get("Weir-Next-Offset") != "2" {
		t.Errorf("%v", w.Header())
	}
	tag := w.Header().Get("Etag")
	same, _, err := readOnce(t, l, "offset=0", http.Header{"If-None-Match": {`"other", W/` + tag}})
	if err != nil {
		t.Fatal(err)
	}
	if w := httptest.NewRecorder(); !same.NotModified(w, nil) || w.Code != http.StatusNotModified || w.Body.Len() > 0 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if l.fetches > 3 {
		t.Errorf("%d fetches for two reads that do not wait", l.fetches)
	}
	before := l.fetches
	l.grow = func(l *log) {
		l.grow = nil
		l.values = append(l.values, `3`)
	}
	more, _, err := readOnce(t, l, "offset=0&timeout=5000", http.Header{"If-None-Match": {tag}})
	if err != nil {
		t.Fatal(err)
	}
	if w := httptest.NewRecorder(); more.NotModified(w, nil) || len(more.Records) != 3 {
		t.Errorf("%d records, %d", len(more.Records), w.Code)
	}
	if l.fetches > before+3 {
		t.Errorf("%d fetches for a read that waits once", l.fetches-before)
	}
	// The same offsets of a topic that was made anew are other records.
	anew, _, err := readOnce(t, &log{made: 1, values: []string{`1`, `2`}}, "offset=0", http.Header{"If-None-Match": {tag}})
	if err != nil {
		t.Fatal(err)
	}
	if w := httptest.NewRecorder(); anew.NotModified(w, nil) {
		t.Errorf("a topic that was made anew has the tag of the old one: %s", w.Header().Get("Etag"))
	}
	closed, _, err := readOnce(t, l, "offset=0&end_offset=2", nil)
	if err != nil {
		t.Fatal(err)
	}
	w = httptest.NewRecorder()
	if closed.NotModified(w, nil) || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") {
		t.Errorf("a closed range: %v", w.Header())
	}
}

// What has been read is given, also when the next fetch is refused; and a wait ends when the gateway shuts down.
func TestReadOfAPartitionKeepsWhatItHas(t *testing.T) {
	t.Parallel()
	l := &log{fails: 2, values: []string{`1`, `2`, `3`}}
	a, _, err := readOnce(t, l, "offset=0", nil)
	if err != nil || len(a.Records) != 2 || a.closed {
		t.Errorf("%+v, %v", a, err)
	}
	a.Release()
	if l.released != l.fetches {
		t.Errorf("%d fetches, %d released", l.fetches, l.released)
	}
	if _, _, err := readOnce(t, &log{fails: 1}, "offset=0", nil); fault.From(err).Code != fault.Overloaded {
		t.Errorf("%v", err)
	}
}

// plain is the least that a shape can be.
type plain struct{}

func (plain) Begin(record.TopicPartition) {}
func (plain) Append(b []byte, r *record.Stored, sides *Sides) ([]byte, error) {
	b = strconv.AppendInt(b, r.Offset, 10)
	return sides.AppendValue(append(b, ':'), r)
}

func TestWriteRecords(t *testing.T) {
	t.Parallel()
	ranges := []record.Range{
		{Records: []record.Stored{{Offset: 0, Value: []byte(`{"a" : 1}`)}, {Offset: 1, Value: []byte("no")}, {Offset: 2}}},
		{},
		{Records: []record.Stored{{Offset: 7, Value: []byte{}}, {Offset: 8, Value: []byte(`2`)}}},
	}
	for undecodable, want := range map[Undecodable]string{
		Envelope: `0:{"a" : 1},1:{"undecodable":{"message":"…","base64":"bm8="}},2:null,7:{"undecodable":{"message":"…","base64":""}},8:2`,
		Skip:     `0:{"a" : 1},2:null,8:2`,
	} {
		settings := config.Default()
		w := httptest.NewRecorder()
		r := &Request{Request: httptest.NewRequest(http.MethodGet, "/", http.NoBody), Settings: &settings}
		out := NewPieces(w, r, ApplicationJSON)
		decoder := format.JSON{Known: rawjson.NewKnown(r.JSONLimits(), 0)}
		grant := &Grant{tally: &tally{metrics: telemetry.NewMetrics()}}
		if err := WriteRecords(out, grant, ranges, plain{}, &Sides{Key: decoder, Value: decoder, Undecodable: undecodable}); err != nil {
			t.Fatal(err)
		}
		if err := out.End(); err != nil {
			t.Fatal(err)
		}
		got := w.Body.String()
		for {
			before, rest, found := strings.Cut(got, `"message":"not JSON`)
			if !found {
				break
			}
			_, after, _ := strings.Cut(rest, `","base64`)
			got = before + `"message":"…","base64` + after
		}
		if got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", undecodable, got, want)
		}
	}
}

// broken takes a number of bytes and then fails, as a connection does whose other end has gone.
type broken struct {
	http.ResponseWriter
	left int
}

func (b *broken) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errors.New("broken pipe")
	}
	return len(p), nil
}

func TestPiecesTellWhetherTheAnswerWasTaken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		size, room int
		taken      bool
	}{{10, 100, true}, {10, 0, false}, {3 * pieceBytes, 4 * pieceBytes, true}, {3 * pieceBytes, 2 * pieceBytes, false}, {3 * pieceBytes, 0, false}} {
		settings := config.Default()
		r := &Request{Request: httptest.NewRequest(http.MethodGet, "/", http.NoBody), Settings: &settings}
		out := NewPieces(&broken{httptest.NewRecorder(), c.room}, r, ApplicationJSON)
		for range c.size {
			out.Bytes = append(out.Bytes, 'x')
			if out.Flow() != nil {
				break
			}
		}
		if err := out.End(); (err == nil) != c.taken {
			t.Errorf("%d bytes with room for %d: %v", c.size, c.room, err)
		}
	}
	// A client that has gone did not get what its socket still took.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	settings := config.Default()
	r := &Request{Request: httptest.NewRequestWithContext(ctx, http.MethodGet, "/", http.NoBody), Settings: &settings}
	if err := NewPieces(httptest.NewRecorder(), r, ApplicationJSON).End(); err == nil {
		t.Error("an answer to nobody counts as taken")
	}
}
