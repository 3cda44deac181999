package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fakeServer answers just enough to tell a suite that works from one that does not.
func fakeServer(t *testing.T, kafka *fakeKafka) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, status int, contentType, body string) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Weir-Request-Id", "r-1")
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
	mux.HandleFunc("GET /v3/clusters", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, "application/json", `{"data":[{"cluster_id":"c-1"}]}`)
	})
	mux.HandleFunc("POST /topics/{t}", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		offset, err := kafka.produce(r.PathValue("t"), body)
		if err != nil {
			answer(w, 500, "application/json", `{"error_code":50002,"message":"no"}`)
			return
		}
		answer(w, 200, "application/vnd.kafka.v2+json; charset=utf-8", fmt.Sprintf(`{"offset":%d,"proto":%q}`, offset, r.Proto))
	})
	mux.HandleFunc("GET /bare", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") })
	mux.HandleFunc("GET /read/{t}", func(w http.ResponseWriter, r *http.Request) {
		records, from := []string{}, 0
		fmt.Sscan(r.URL.Query().Get("from"), &from)
		stored, _ := kafka.Records(r.Context(), r.PathValue("t"))
		for _, s := range stored[min(from, len(stored)):min(from+2, len(stored))] {
			records = append(records, fmt.Sprintf(`{"topic":"x","partition":0,"offset":%d,"value":%q}`, s.Offset, s.Value))
		}
		if len(records) > 0 {
			w.Header().Set("Next", fmt.Sprint(from+len(records)))
		}
		answer(w, 200, "application/json", "["+strings.Join(records, ",")+"]")
	})
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, "application/json", `[1,`)
		_ = http.NewResponseController(w).Flush()
		<-kafka.tidied
		io.WriteString(w, "2]")
	})
	mux.HandleFunc("DELETE /slow", func(w http.ResponseWriter, _ *http.Request) {
		kafka.tidy()
		answer(w, 204, "", "")
	})
	mux.HandleFunc("POST /stream", func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		_ = control.EnableFullDuplex()
		w.Header().Set("Trailer", "Total")
		w.Header().Set("Weir-Request-Id", "r-2")
		decoder, n := json.NewDecoder(r.Body), 0
		for {
			var value json.RawMessage
			if decoder.Decode(&value) != nil {
				break
			}
			n++
			fmt.Fprintf(w, "{\"n\":%d,\"got\":%s}\r\n", n, value)
			_ = control.Flush()
		}
		w.Header().Set("Total", fmt.Sprint(n))
	})
	server := httptest.NewUnstartedServer(mux)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server.Config.Protocols = protocols
	server.Start()
	t.Cleanup(server.Close)
	return server
}

// fakeKafka is an Env that holds bytes.
type fakeKafka struct {
	mu      sync.Mutex
	topics  map[string][]Record
	failing map[string]bool
	deleted []string
	tidied  chan struct{} // closed by tidy
	tidy    func()
}

var _ TopicDeleter = (*fakeKafka)(nil)

func newFakeKafka() *fakeKafka {
	tidied := make(chan struct{})
	return &fakeKafka{
		topics: map[string][]Record{}, failing: map[string]bool{}, tidied: tidied, tidy: sync.OnceFunc(func() { close(tidied) }),
	}
}

func (f *fakeKafka) produce(topic string, value []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.topics[topic]; !ok || f.failing[topic] {
		return 0, errors.New("no such topic, or a fault")
	}
	f.topics[topic] = append(f.topics[topic], Record{Offset: int64(len(f.topics[topic])), Value: value, Timestamp: time.UnixMilli(1700000000123)})
	return len(f.topics[topic]) - 1, nil
}

func (f *fakeKafka) MakeTopic(_ context.Context, name string, _ int, _ map[string]string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.topics[name] = []Record{}
	return nil
}

func (f *fakeKafka) DeleteTopic(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deleted = append(f.deleted, name)
	return nil
}

func (f *fakeKafka) Records(_ context.Context, topic string) ([]Record, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.topics[topic], nil
}

func (f *fakeKafka) Produce(_ context.Context, topic string, records []Record, _ ProduceOptions) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range records {
		r.Offset = int64(len(f.topics[topic]))
		f.topics[topic] = append(f.topics[topic], r)
	}
	return nil
}

func (f *fakeKafka) DeleteRecords(_ context.Context, topic string, _ int32, before int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.topics[topic] = slices.DeleteFunc(f.topics[topic], func(r Record) bool { return r.Offset < before })
	return nil
}

func (f *fakeKafka) Committed(_ context.Context, group string) ([]Committed, error) {
	if group != "g" {
		return nil, nil
	}
	return []Committed{{Topic: "a", Offset: 3}, {Topic: "a", Partition: 1, Offset: 9, Metadata: "m"}}, nil
}

func (f *fakeKafka) Inject(_ context.Context, fault Fault) (func(), error) {
	if fault.API != "Produce" {
		return nil, ErrNotSupported
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failing[fault.Topic] = true
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.failing, fault.Topic)
	}, nil
}

const runCases = `
suite: s
cases:
- name: good
  topics: {t: 1}
  send: {method: POST, path: "/topics/${t}", json: {z: 1.0, a: <b>}}
  want: {status: 200, type: v2, json: {offset: 0, proto: <re:^HTTP/(1.1|2.0)$>}}
  kafka_has: [{topic: "${t}", records: [{offset: 0, key: null, value: '{"z":1.0,"a":"<b>"}', timestamp: "2023-11-14T22:13:20.123Z"}]}]
- name: wrong-status
  topics: {t: null}
  http: [h1]
  send: {method: POST, path: "/topics/${t}", type: v2, body: "sent text"}
  want: {status: 200, json: {offset: 1}}
- name: wrong-record
  topics: {t: 1}
  http: [h1]
  send: {method: POST, path: "/topics/${t}", body: ""}
  want: {status: 200}
  kafka_has: [{topic: "${t}", records: [{value: null}]}]
- name: steps
  topics: {t: 1}
  http: [h2]
  steps:
  - send: {method: POST, path: "/topics/${t}", body: a}
    want: {status: 200}
    capture: {offset: $.offset}
  - send: {method: POST, path: "/topics/${t}", body: b, chunked: true}
    want: {status: 200, json: {offset: "${offset+1}", proto: HTTP/2.0}}
- name: alternative
  http: [h1]
  send: {method: POST, path: /topics/none}
  want: {status: 404}
  also: [{reason: some servers say so instead, want: {status: 500}}]
- name: differs
  http: [h1]
  send: {method: POST, path: /topics/none}
  want: {status: 404}
  on: {kfake: {reason: kfake is known to differ here, want: {status: 500}}}
- name: skipped
  http: [h1]
  on: {kfake: {reason: kfake cannot do it at all, skip: true}}
  send: {method: POST, path: /topics/none}
  want: {status: 404}
- name: fault
  topics: {t: 1}
  http: [h1]
  faults: [{api: Produce, error: TOPIC_AUTHORIZATION_FAILED, topic: "${t}"}]
  send: {method: POST, path: "/topics/${t}", body: a}
  want: {status: 500}
  kafka_has: [{topic: "${t}", records: []}]
- name: other-fault
  http: [h1]
  faults: [{api: Fetch, hang: true}]
  send: {method: GET, path: /bare}
  want: {status: 200}
- name: needs-more
  http: [h1]
  needs: [topic-admin]
  send: {method: GET, path: /bare}
  want: {status: 200}
- name: other-profile
  http: [h1]
  profile: tight
  send: {method: GET, path: /bare}
  want: {status: 200}
- name: no-request-id
  http: [h1]
  send: {method: GET, path: /bare}
  want: {status: 200}
- name: duplex
  stream: {method: POST, path: /stream}
  script:
  - write: '{"a"'
  - write: ':1}'
  - receipt: {n: 1, got: {a: 1}}
  - head: {status: 200}
  - write: '2'
  - write: ' '
  - receipt: {n: 2, got: 2}
  - close: true
  - end: {trailers: {Total: "2"}}
- name: duplex-wrong
  http: [h1]
  stream: {method: POST, path: /stream}
  script: [{write: "1 "}, {receipt: {n: 2, got: 1}}]
- name: receipts
  http: [h1]
  send: {method: POST, path: /stream, body: [{repeat: "[1]", times: 100}]}
  want: {status: 200, receipts: {<len>: 100, <each>: {n: <int>, got: [1]}}, trailers: {Total: "100"}}
- name: raw
  raw: {write: "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"}
  responses: [{status: 400}]
  closed: true
- name: raw-open
  raw: {write: "GET /bare HTTP/1.1\r\nHost: a\r\n\r\nGET /bare HTTP/1.1\r\nHost: a\r\n\r\n"}
  responses: [{status: 200}, {status: 200, body: "{}"}]
- name: gather
  topics: {t: 1}
  http: [h1]
  before:
  - kafka: {produce: {topic: "${t}", records: [{value: a, times: 4}, {value: b}], compression: gzip}}
  - kafka: {delete_records: {topic: "${t}", partition: 0, before: 1}}
  steps:
  - send: {method: GET, path: "/read/${t}"}
    want: {status: 200, took: {most: 20s}}
    capture: {from: header:Next}
  - send: {method: GET, path: "/read/${t}?from=${from}"}
    want: {status: 200, json: {<each>: {topic: x, "...": <any>}}}
    capture: {from: header:Next}
    gather: {count: 2, json: [{offset: 3, "...": <any>}, {offset: 4, value: b, "...": <any>}]}
    within: 10s
- name: gather-too-few
  topics: {t: 1}
  http: [h1]
  before: [{kafka: {produce: {topic: "${t}", records: [{value: a}]}}}]
  send: {method: GET, path: "/read/${t}?from=0"}
  want: {status: 200}
  gather: {count: 1, json: [{value: b, "...": <any>}]}
  within: 10s
- name: gather-twice
  topics: {t: 1}
  http: [h1]
  before: [{kafka: {produce: {topic: "${t}", records: [{value: a}]}}}]
  send: {method: GET, path: "/read/${t}?from=0"}
  want: {status: 200}
  gather: {count: 2}
  within: 10s
- name: committed
  http: [h1]
  kafka: {committed: {group: g, offsets: [{topic: a, partition: 0, offset: 3}, {topic: a, partition: 1, offset: 9, metadata: m}]}}
- name: committed-otherwise
  http: [h1]
  kafka: {committed: {group: g, offsets: [{topic: a, partition: 0, offset: 3, metadata: x}, {topic: a, partition: 1, offset: 9}]}}
- name: too-fast
  http: [h1]
  send: {method: GET, path: /v3/clusters}
  want: {status: 200, took: {least: 1m}}
- name: faults-that-end
  topics: {t: 1}
  http: [h1]
  steps:
  - faults: [{api: Produce, error: X, topic: "${t}"}]
  - send: {method: POST, path: "/topics/${t}", body: "${unique}"}
    want: {status: 500}
  - faults: []
  - send: {method: POST, path: "/topics/${t}", body: "${unique}"}
    want: {status: 200}
- name: a-read-that-is-open
  http: [h1]
  after: [{method: DELETE, path: "/${never}"}, {method: DELETE, path: /slow}]
  steps:
  - stream: {method: GET, path: /slow}
    script: [{head: {status: 200}}, {received: 2}, {meanwhile: {send: {method: DELETE, path: /slow}, want: {status: 204}}}, {receipt: [1, 2]}, {end: {}}]
  - {pause: 1ms}
- name: raw-one-too-many
  raw: {write: "GET /bare HTTP/1.1\r\nHost: a\r\n\r\nGET /bare HTTP/1.1\r\nHost: a\r\n\r\n"}
  responses: [{status: 200}]
`

func TestRun(t *testing.T) {
	t.Parallel()
	kafka := newFakeKafka()
	server := fakeServer(t, kafka)
	cases, err := Load(fstest.MapFS{"s.yaml": {Data: []byte(runCases)}})
	if err != nil {
		t.Fatal(err)
	}
	target := Target{
		Name: "fake", BaseURL: server.URL, Features: []Feature{V2, V3, H1, H2, Duplex, Raw, Weir, Faults}, Traits: []string{"kfake"},
		Known: []KnownFailure{{"s/duplex-wrong", "on purpose"}, {"s/receipts", "passes all the same"}, {"s/nothing", "matches nothing"}},
	}
	var progress int
	report, err := Run(t.Context(), target, kafka, Options{Cases: cases, Progress: func(CaseResult) { progress++ }})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Outcome{
		"s/good": Passed, "s/good@h2": Passed, "s/wrong-status": Failed, "s/wrong-record": Failed, "s/steps@h2": Passed,
		"s/alternative": Passed, "s/differs": Passed, "s/skipped": NotSupported, "s/fault": Passed, "s/other-fault": NotSupported,
		"s/needs-more": NotSupported, "s/other-profile": NotSupported, "s/no-request-id": Failed, "s/duplex": Passed,
		"s/duplex@h2": Passed, "s/duplex-wrong": KnownFailing, "s/receipts": UnexpectedPass, "s/raw": Passed, "s/raw-open": Passed,
		"s/raw-one-too-many": Failed,
		"s/gather":           Passed, "s/gather-too-few": Failed, "s/gather-twice": Failed, "s/committed": Passed, "s/committed-otherwise": Failed,
		"s/too-fast": Failed, "s/faults-that-end": Passed, "s/a-read-that-is-open": Passed,
	}
	got := map[string]Outcome{}
	results := map[string]CaseResult{}
	for _, c := range report.Cases {
		got[c.ID], results[c.ID] = c.Outcome, c
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	for id, c := range results {
		if want[id] == Passed && got[id] != Passed {
			t.Log(c.Message())
		}
	}
	counts := Counts{Total: 28, Passed: 14, Failed: 8, KnownFailing: 1, UnexpectedPass: 1, NotSupported: 4}
	if diff := cmp.Diff(counts, report.Counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"s/nothing"}, report.UnmatchedKnown); diff != "" || report.OK {
		t.Errorf("OK %t, unmatched (-want +got):\n%s", report.OK, diff)
	}
	if progress != len(report.Cases) {
		t.Errorf("progress was told %d times, want %d", progress, len(report.Cases))
	}
	if len(kafka.deleted) != 10 {
		t.Errorf("deleted %d topics, want 10: %q", len(kafka.deleted), kafka.deleted)
	}
	shown := results["s/wrong-status"]
	for _, part := range []string{
		"status: want 200, got 500", "$.offset: want 1, got no such key", "> POST /topics/conformance-", "> Content-Type: application/vnd.kafka.v2+json",
		"> sent text", "< HTTP/1.1 500", `< {"error_code":50002`, "s.yaml:",
	} {
		if message := shown.Message(); !strings.Contains(message, part) {
			t.Errorf("the message has no %q:\n%s", part, message)
		}
	}
	for id, part := range map[string]string{
		"s/wrong-record": `value: want null, got ""`, "s/gather-too-few": `$[0].value: want "b", got "a"`,
		"s/gather-twice": "x-0: offset 0 came after offset 0", "s/too-fast": "want at least 1m0s",
		"s/committed-otherwise": `want committed a-0@3 "x" a-1@9, got a-0@3 "" a-1@9 "m"`,
	} {
		if problems := strings.Join(results[id].Problems, "\n"); !strings.Contains(problems, part) {
			t.Errorf("%s: got %s, want %s", id, problems, part)
		}
	}
}

func TestReportIsStable(t *testing.T) {
	t.Parallel()
	report := newReport(&Target{Name: "n", BaseURL: "http://x", Profile: "default", Features: []Feature{V2}}, []CaseResult{
		{ID: "a/b", Suite: "a", Place: "a.yaml:1", Outcome: Passed, DurationMS: 3},
		{ID: "a/c", Suite: "a", Place: "a.yaml:2", Outcome: Failed, Problems: []string{"status"}, Exchange: "> x\n"},
		{ID: "b/c", Suite: "b", Place: "b.yaml:2", Outcome: NotSupported, Reason: "needs raw"},
	}, time.Now())
	report.Started, report.DurationMS = time.UnixMilli(0).UTC(), 7
	var text strings.Builder
	if err := report.WriteJSON(&text); err != nil {
		t.Fatal(err)
	}
	const want = `{"schema":"weir.conformance.report/1","target":"n","base_url":"http://x","profile":"default","traits":[],"features":["v2"],
"started":"1970-01-01T00:00:00Z","duration_ms":7,"ok":false,
"counts":{"total":3,"passed":1,"failed":1,"known_failing":0,"unexpected_pass":0,"not_supported":1},"unmatched_known":[],
"cases":[{"id":"a/b","suite":"a","place":"a.yaml:1","outcome":"passed","duration_ms":3},
{"id":"a/c","suite":"a","place":"a.yaml:2","outcome":"failed","duration_ms":0,"problems":["status"],"exchange":"> x\n"},
{"id":"b/c","suite":"b","place":"b.yaml:2","outcome":"not_supported","reason":"needs raw","duration_ms":0}]}`
	var wanted, got any
	if err := errors.Join(json.Unmarshal([]byte(want), &wanted), json.Unmarshal([]byte(text.String()), &got)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	text.Reset()
	if err := report.WriteTable(&text); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"not supported: 1: needs raw", "failed: a/c (a.yaml:2)", "all of n"} {
		if !strings.Contains(text.String(), part) {
			t.Errorf("the table has no %q:\n%s", part, text.String())
		}
	}
}

func TestRunTestsNamesCases(t *testing.T) {
	t.Parallel()
	kafka := newFakeKafka()
	server := fakeServer(t, kafka)
	cases, err := Load(fstest.MapFS{"s.yaml": {Data: []byte(runCases)}})
	if err != nil {
		t.Fatal(err)
	}
	report := RunTests(t, Target{Name: "fake", BaseURL: server.URL, Features: []Feature{V2, V3, H1, H2, Faults}}, kafka, Options{Cases: cases, Match: "s/good"})
	if report.Counts.Passed != 2 || report.Counts.Total != 2 {
		t.Errorf("got %+v, want the two cases of s/good", report.Counts)
	}
}

func TestKnownFailuresNeedReasons(t *testing.T) {
	t.Parallel()
	_, err := ParseKnownFailures("x.txt", strings.NewReader("# all\n\na/b # it is being mended\nc/d\n"))
	if err == nil || !strings.Contains(err.Error(), "x.txt:4") {
		t.Errorf("got error %v, want one of x.txt:4", err)
	}
	list, err := ParseKnownFailures("x.txt", strings.NewReader("a/*# it is being mended\n"))
	if diff := cmp.Diff([]KnownFailure{{"a/*", "it is being mended"}}, list); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if list, err := KnownFailures("no-such-target"); err != nil || len(list) != 0 {
		t.Errorf("got %v, %v for a target without a list", list, err)
	}
}

func TestRunRefuses(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "localhost:8082", "ftp://x", "http://"} {
		if _, err := Run(t.Context(), Target{BaseURL: url}, nil, Options{}); err == nil || !strings.Contains(err.Error(), "base URL") {
			t.Errorf("%q: got error %v", url, err)
		}
	}
	if _, err := Run(t.Context(), Target{BaseURL: "http://127.0.0.1:1"}, nil, Options{Match: "no/such/case"}); err == nil {
		t.Error("a pattern that matches nothing was taken")
	}
}
