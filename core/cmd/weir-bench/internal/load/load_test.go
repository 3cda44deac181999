package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestHistogramQuantiles(t *testing.T) {
	t.Parallel()
	var h, other Histogram
	for i := 1; i <= 100_000; i++ {
		part := &h
		if i%2 == 0 {
			part = &other
		}
		part.Add(time.Duration(i) * 10 * time.Microsecond)
	}
	h.Merge(&other)
	for _, c := range []struct {
		q    float64
		want time.Duration
	}{{0, 10 * time.Microsecond}, {.5, 500 * time.Millisecond}, {.99, 990 * time.Millisecond}, {.999, 999 * time.Millisecond}, {1, time.Second}} {
		got := h.Quantile(c.q)
		if diff := max(got-c.want, c.want-got); diff > c.want/32+time.Microsecond {
			t.Errorf("quantile %v is %v, want %v within 1/32", c.q, got, c.want)
		}
	}
	h.Add(1000 * time.Hour)
	h.Add(-time.Second)
	if got := h.Count(); got != 100_002 {
		t.Errorf("count %d, want 100002", got)
	}
	if got := new(Histogram).Quantile(.5); got != 0 {
		t.Errorf("median of nothing is %v", got)
	}
}

func TestEveryBucketHoldsItsMiddle(t *testing.T) {
	t.Parallel()
	for i := range buckets {
		if got := bucket(uint64(middle(i))); got != i {
			t.Fatalf("middle of bucket %d, %v µs, is in bucket %d", i, middle(i), got)
		}
	}
}

func TestValuesAreJSONOfTheAskedSize(t *testing.T) {
	t.Parallel()
	for _, size := range []int{640, 1024, 5000} {
		seen := map[string]bool{}
		for _, v := range Values(50, size) {
			var decoded any
			if err := json.Unmarshal(v, &decoded); err != nil {
				t.Fatalf("%s: %v", v, err)
			}
			if len(v) != size || seen[string(v)] {
				t.Fatalf("a value of %d bytes, seen before: %v; want %d new ones", len(v), seen[string(v)], size)
			}
			seen[string(v)] = true
		}
	}
}

// window is long enough to answer some requests and short enough for a test that measures nothing.
var window = Window{WarmUp: 10 * time.Millisecond, Measure: 50 * time.Millisecond}

func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// answerEntries answers as many good entries as the body has records.
func answerEntries(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Records []struct{ Value json.RawMessage }
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	w.Write([]byte(strings.Repeat(`{"error_code":null}`, len(body.Records))))
}

func TestRequests(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		rate    float64
		want    string // in the error; empty: none
	}{
		"closed loop": {handler: answerEntries},
		"open loop":   {handler: answerEntries, rate: 500},
		"chunked answer": {handler: func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.Write([]byte(`{"error_code":null}{"error_`))
			http.NewResponseController(w).Flush()
			w.Write([]byte(`code":null}`))
		}},
		"large answer": {handler: func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Length", fmt.Sprint(200_000+38))
			w.Write([]byte(strings.Repeat(`{"error_code":null}`, 2) + strings.Repeat(" ", 200_000)))
		}},
		"error status": {handler: func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			http.Error(w, "no such topic", http.StatusNotFound)
		}, want: "no such topic"},
		"failed record": {handler: func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.Write([]byte(`{"error_code":null}{"error_code":50003}`))
		}, want: "1 of 2 records were acknowledged"},
		"cut": {handler: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, want: "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := serve(t, test.handler)
			var order []string
			w := window
			w.Begin = func() error { order = append(order, "begin"); return nil }
			w.End = func() error { order = append(order, "end"); return nil }
			const connections = 4
			result, err := Drive(t.Context(), &Requests{
				Address: address, Connections: connections, Records: 2, Rate: test.rate,
				Bytes: V2Requests(address, "t", Values(4, 640), 2, 3),
			}, w)
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Fatalf("got %v, want an error with %q", err, test.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if result.Requests == 0 || result.Records != 2*result.Requests || result.Elapsed < w.Measure || result.Latency.Quantile(.5) <= 0 {
				t.Errorf("got %d requests, %d records in %v, median %v", result.Requests, result.Records, result.Elapsed, result.Latency.Quantile(.5))
			}
			// Some requests straddle an end of the window.
			if n := int64(result.Latency.Count()); n < result.Requests-connections || n > result.Requests+connections {
				t.Errorf("%d latencies for %d requests", n, result.Requests)
			}
			if strings.Join(order, " ") != "begin end" {
				t.Errorf("called back: %v", order)
			}
		})
	}
}

// A server that stalls once delays every request that was due meanwhile, and all of that is latency.
func TestOpenLoopCountsFromWhenARequestWasDue(t *testing.T) {
	t.Parallel()
	const stall = 100 * time.Millisecond
	var requests atomic.Int64
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) == 20 {
			timer := time.NewTimer(stall)
			<-timer.C
		}
		answerEntries(w, r)
	})
	result, err := Drive(t.Context(), &Requests{
		Address: address, Connections: 1, Records: 1, Rate: 400, Bytes: V2Requests(address, "t", Values(1, 640), 1, 1),
	}, Window{Measure: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	// Of the forty due during the stall at least a tenth of all waited for half of it.
	if got := result.Latency.Quantile(.9); got < stall/2 {
		t.Errorf("nine of ten within %v: the stall of %v was not counted for those that waited behind it", got, stall)
	}
}

func TestStreams(t *testing.T) {
	t.Parallel()
	receipts := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			control := http.NewResponseController(w)
			control.EnableFullDuplex()
			control.Flush()
			buffer := make([]byte, 4096)
			for {
				n, err := r.Body.Read(buffer)
				for range bytes.Count(buffer[:n], []byte{'\n'}) {
					w.Write([]byte(text))
				}
				control.Flush()
				if err != nil {
					return
				}
			}
		}
	}
	for name, test := range map[string]struct{ receipt, want string }{
		"good": {receipt: `{"error_code":200,"offset":1}` + "\r\n"},
		"bad":  {receipt: `{"error_code":40401}` + "\r\n", want: "receipts are good"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := serve(t, receipts(test.receipt))
			head, chunks := V3Stream(address, "c", "t", Values(5, 640))
			result, err := Drive(t.Context(), &Streams{Address: address, Connections: 3, Head: head, Chunks: chunks, Window: 7}, window)
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Fatalf("got %v, want an error with %q", err, test.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if result.Records == 0 || result.Latency.Count() == 0 {
				t.Errorf("got %d records, %d latencies", result.Records, result.Latency.Count())
			}
		})
	}
}

func TestDriveEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	var once atomic.Bool
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if once.CompareAndSwap(false, true) {
			cancel(why)
		}
		answerEntries(w, r)
	})
	_, err := Drive(ctx, &Requests{Address: address, Connections: 2, Records: 1, Bytes: V2Requests(address, "t", Values(1, 640), 1, 1)}, Window{Measure: time.Hour})
	if !errors.Is(err, why) {
		t.Errorf("got %v, want %v", err, why)
	}
}
