package load

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// shelf serves consumer instances of a topic of two partitions with values of 640 bytes.
type shelf struct {
	ends   [2]int64
	format string
	spoil  func(answer []byte) []byte

	mu        sync.Mutex
	positions map[string]*[2]int64
	seeks     int
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	path := strings.Split(r.URL.Path, "/") // "", consumers, group, instances, name, …
	group := path[2]
	switch {
	case len(path) == 3:
		if want := fmt.Sprintf(`{"name":"reader","format":%q,"auto.offset.reset":"earliest"}`, s.format); string(body) != want || s.positions[group] != nil {
			http.Error(w, "want "+want+" once", http.StatusConflict)
			return
		}
		s.positions[group] = new([2]int64)
		w.Write([]byte(`{"instance_id":"reader"}`))
	case path[5] == "subscription":
		w.WriteHeader(http.StatusNoContent)
	case path[5] == "positions":
		var seek struct{ Partitions []struct{ Partition int } }
		if err := json.Unmarshal(body, &seek); err != nil {
			panic(err)
		}
		for _, p := range seek.Partitions {
			s.positions[group][p.Partition] = 0
		}
		s.seeks++
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Write(s.spoil(s.read(s.positions[group])))
	}
}

// read takes three records of each partition, if there are so many.
func (s *shelf) read(positions *[2]int64) []byte {
	var records []string
	for partition := range positions {
		for range 3 {
			offset := positions[partition]
			if offset == s.ends[partition] {
				break
			}
			value := Values(1, 640)[0]
			text := string(value)
			if s.format == "binary" {
				text = `"` + base64.StdEncoding.EncodeToString(value) + `"`
			}
			records = append(records, fmt.Sprintf(`{"topic":"t","key":null,"value":%s,"partition":%d,"offset":%d}`, text, partition, offset))
			positions[partition]++
		}
	}
	return []byte("[" + strings.Join(records, ",") + "]")
}

func TestReads(t *testing.T) {
	t.Parallel()
	replace := func(old, by string) func([]byte) []byte {
		return func(b []byte) []byte { return bytes.Replace(b, []byte(old), []byte(by), 1) }
	}
	same := func(b []byte) []byte { return b }
	for name, test := range map[string]struct {
		format string
		spoil  func([]byte) []byte
		want   string // in the error; empty: none
	}{
		"json":             {format: "json", spoil: same},
		"binary":           {format: "binary", spoil: same},
		"lost":             {format: "json", spoil: replace(`"offset":1}`, `"offset":2}`), want: "partition 0: got offset 2, want 1"},
		"twice":            {format: "json", spoil: replace(`"offset":1}`, `"offset":0}`), want: "partition 0: got offset 0, want 1"},
		"short value":      {format: "json", spoil: replace(`"express":`, `"expres":`), want: "does not end after its value"},
		"another topic":    {format: "json", spoil: replace(`"topic":"t"`, `"topic":"u"`), want: "record 0 of an answer begins"},
		"no array":         {format: "json", spoil: func([]byte) []byte { return []byte("{}") }, want: "not an array"},
		"unknown":          {format: "json", spoil: replace(`"partition":1`, `"partition":2`), want: "does not end after its value"},
		"no comma":         {format: "json", spoil: replace(`},{"topic"`, `};{"topic"`), want: "after record 1"},
		"envelope instead": {format: "json", spoil: replace(`"value":{`, `"value":{"undecodable":`), want: "does not end after its value"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &shelf{ends: [2]int64{7, 30}, format: test.format, spoil: test.spoil, positions: map[string]*[2]int64{}}
			address := serve(t, s.ServeHTTP)
			result, err := Drive(t.Context(), &Reads{
				Address: address, Connections: 2, Group: "g", Topic: "t", Format: test.format, ValueBytes: 640, MaxBytes: 1 << 20, Ends: s.ends[:],
			}, window)
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Fatalf("got %v, want an error with %q", err, test.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if result.Requests == 0 || result.Records <= result.Requests || result.Latency.Count() == 0 {
				t.Errorf("got %d requests, %d records, %d latencies", result.Requests, result.Records, result.Latency.Count())
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.seeks == 0 {
				t.Error("a partition that was read to its end was not read again")
			}
		})
	}
}

func TestAnswerIsWhatReadsTakes(t *testing.T) {
	t.Parallel()
	const partitions, records = 3, 8
	for _, format := range []string{"json", "binary"} {
		body := Answer("t", format, Values(5, 640), partitions, records)
		var decoded []struct {
			Topic     string
			Value     json.RawMessage
			Partition int
			Offset    int64
		}
		if err := json.Unmarshal(body, &decoded); err != nil {
			t.Fatal(err)
		}
		a := newAnswers(&Reads{Topic: "t", Format: format, ValueBytes: 640, Ends: make([]int64, partitions)})
		if n, err := a.take(body); n != records || err != nil || len(decoded) != records {
			t.Errorf("%s: took %d of %d records, %v", format, n, records, err)
		}
		if diff := cmp.Diff([]int64{3, 3, 2}, a.positions); diff != "" {
			t.Errorf("%s: positions (-want +got):\n%s", format, diff)
		}
	}
}
