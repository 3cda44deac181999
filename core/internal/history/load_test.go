package history

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// gateway is a gateway without a Kafka: it appends to a log in memory and tells the truth, unless told otherwise.
type gateway struct {
	refuseAll bool
	lie       func(id string) (outcome, retry string, code int, store bool)

	mu  sync.Mutex
	log []Entry
}

func (g *gateway) start(t *testing.T) string {
	server := httptest.NewUnstartedServer(g.routes(t))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Config.ErrorLog = nil
	server.Start()
	t.Cleanup(server.Close)
	return server.URL
}

func (g *gateway) append(topic string, key, value []byte) map[string]any {
	g.mu.Lock()
	defer g.mu.Unlock()
	var content struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(value, &content); err != nil {
		panic(err)
	}
	offset := int64(0)
	for _, entry := range g.log {
		if entry.Topic == topic {
			offset = entry.Offset + 1
		}
	}
	answer := map[string]any{"outcome": "persisted", "retry": "none", "error_code": 200, "offset": offset}
	store := true
	if g.lie != nil {
		answer["outcome"], answer["retry"], answer["error_code"], store = g.lie(content.ID)
	}
	if store {
		g.log = append(g.log, Entry{topic, 0, offset, content.ID, sum(key, value)})
	}
	return answer
}

type v3Record struct {
	ID    string                          `json:"id"`
	Key   *struct{ Data json.RawMessage } `json:"key"`
	Value struct{ Data json.RawMessage }  `json:"value"`
}

func (r v3Record) key() []byte {
	if r.Key == nil {
		return nil
	}
	return r.Key.Data
}

func (g *gateway) routes(t *testing.T) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v3/clusters", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"data":[{"cluster_id":"c"}]}`)
	})
	mux.HandleFunc("POST /topics/{topic}", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Records []struct{ Key, Value json.RawMessage } `json:"records"`
		}
		if json.NewDecoder(r.Body).Decode(&body) != nil {
			return // the client cut it
		}
		var offsets []any
		for _, record := range body.Records {
			answer := g.append(r.PathValue("topic"), record.Key, record.Value)
			answer["partition"] = 0
			offsets = append(offsets, answer)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"offsets": offsets})
	})
	mux.HandleFunc("POST /v3/clusters/c/topics/{topic}/records", func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		if r.ProtoMajor == 1 {
			if err := control.EnableFullDuplex(); err != nil {
				t.Error(err)
			}
		}
		w.WriteHeader(http.StatusOK)
		_ = control.Flush()
		for decoder := json.NewDecoder(r.Body); ; {
			var record v3Record
			if decoder.Decode(&record) != nil {
				return
			}
			answer := g.append(r.PathValue("topic"), record.key(), record.Value.Data)
			answer["partition_id"] = 0
			if json.NewEncoder(w).Encode(answer) != nil || control.Flush() != nil {
				return
			}
		}
	})
	mux.HandleFunc("POST /v3/clusters/c/topics/{topic}/records:batch", func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Entries []v3Record }
		if json.NewDecoder(r.Body).Decode(&body) != nil {
			return
		}
		results := map[string][]any{}
		for _, record := range body.Entries {
			answer := g.append(r.PathValue("topic"), record.key(), record.Value.Data)
			answer["id"], answer["partition_id"] = record.ID, 0
			list := "failures"
			if answer["error_code"] == 200 {
				list = "successes"
			}
			results[list] = append(results[list], answer)
		}
		w.WriteHeader(http.StatusMultiStatus)
		_ = json.NewEncoder(w).Encode(results)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.refuseAll && r.Method == http.MethodPost {
			if r.ProtoMajor == 1 {
				// Or else the server waits for the rest of a stream whose client waits for the answer.
				if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
					t.Error(err)
				}
				w.Header().Set("Connection", "close")
			}
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, `{"error_code":50302,"message":"full"}`)
			return
		}
		if r.Method == http.MethodPost && r.Header.Get("Prefer") != "outcomes" {
			t.Errorf("%s %s does not ask for outcomes", r.Method, r.URL)
		}
		mux.ServeHTTP(w, r)
	})
}

func oneOfEach() map[Mode]int {
	workers := make(map[Mode]int)
	for _, mode := range Modes() {
		workers[mode] = 1
	}
	return workers
}

func runLoad(t *testing.T, load Load) *History {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	history := New()
	if err := load.Run(ctx, history); err != nil {
		t.Fatal(err)
	}
	if err := ctx.Err(); err != nil {
		t.Fatalf("the load did not end: %v, %d records, %d cuts", err, history.Len(), history.Cuts())
	}
	return history
}

func TestLoadOfATruthfulGatewayIsClean(t *testing.T) {
	t.Parallel()
	g := &gateway{}
	history := runLoad(t, Load{URL: g.start(t), Topics: []string{"t", "u"}, Workers: oneOfEach(), Records: 3000, Padding: 100})
	report := Check(history.Attempts(), g.log)
	if err := report.Err(); err != nil {
		t.Error(err)
	}
	if report.Told[Persisted] != history.Len() || history.Len() < 3000 || history.Cuts() != 0 {
		t.Errorf("got %d records, %d cuts, want at least 3000, all persisted, none cut:\n%s", history.Len(), history.Cuts(), report)
	}
	for _, mode := range Modes() {
		if quantile, count := history.Quantile(0.99, func(a *Attempt) bool { return a.Mode == mode }); count == 0 || quantile <= 0 {
			t.Errorf("%s: got %d records, p99 %v", mode, count, quantile)
		}
	}
}

func TestLoadCutsConnections(t *testing.T) {
	t.Parallel()
	g := &gateway{}
	history := runLoad(t, Load{URL: g.start(t), Topics: []string{"t"}, Workers: oneOfEach(), Cuts: 200, Records: 1, CutShare: 0.5})
	// What a handler had in hand when its client left may be appended a little later.
	deadline := time.Now().Add(5 * time.Second)
	for {
		pause(t.Context(), 10*time.Millisecond)
		g.mu.Lock()
		report := Check(history.Attempts(), g.log)
		g.mu.Unlock()
		cut := history.Count(func(a *Attempt) bool { return a.Cut })
		if report.Err() == nil && report.Silent == 0 && history.Cuts() >= 200 && cut > 50 && report.InLog[Unanswered] > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %d cuts, %d records cut off, want all and nothing else without an answer:\n%s", history.Cuts(), cut, report)
		}
	}
}

func TestLoadTakesTheGatewayAtItsWord(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		gateway *gateway
		verdict Verdict
		found   Anomaly
	}{
		"says persisted, drops": {&gateway{lie: func(string) (string, string, int, bool) { return "persisted", "none", 200, false }}, Persisted, Missing},
		"says not persisted, writes": {&gateway{lie: func(string) (string, string, int, bool) {
			return "not_persisted", "safe", 50003, true
		}}, NotPersisted, Denied},
		"says unknown": {&gateway{lie: func(string) (string, string, int, bool) { return "unknown", "duplicate_risk", 50003, true }}, Unknown, ""},
		"refuses":      {&gateway{refuseAll: true}, Refused, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			history := runLoad(t, Load{URL: test.gateway.start(t), Topics: []string{"t"}, Workers: oneOfEach(), Records: 300})
			report := Check(history.Attempts(), test.gateway.log)
			if report.Told[test.verdict] != history.Len() {
				t.Errorf("want all %d records %s:\n%s", history.Len(), test.verdict, report)
			}
			want := map[Anomaly]int{}
			if test.found != "" {
				want[test.found] = history.Len()
			}
			described := 0
			for line := range strings.Lines(history.Failures(5)) {
				var count int
				if _, err := fmt.Sscanf(line, "%d within", &count); err != nil || !strings.Contains(line, string(test.verdict)) {
					t.Errorf("got failure %q, want one that is %s", line, test.verdict)
				}
				described += count
			}
			if want := history.Count(func(a *Attempt) bool { return a.Verdict != Persisted }); described != want {
				t.Errorf("%d failures are described, want %d", described, want)
			}
			if diff := cmp.Diff(want, report.Found); diff != "" {
				t.Errorf("anomalies (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoadAgainstNothing(t *testing.T) {
	t.Parallel()
	for name, load := range map[string]Load{
		"no URL":     {Topics: []string{"t"}},
		"no topics":  {URL: "http://127.0.0.1:1"},
		"no gateway": {URL: "http://127.0.0.1:1", Topics: []string{"t"}},
	} {
		if err := load.Run(t.Context(), New()); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	history := New()
	load := Load{URL: "http://127.0.0.1:1", ClusterID: "c", Topics: []string{"t"}, Workers: oneOfEach(), Records: 20}
	if err := load.Run(t.Context(), history); err != nil {
		t.Fatal(err)
	}
	report := Check(history.Attempts(), nil)
	if report.Silent == 0 || report.Silent != history.Len() {
		t.Errorf("want every record silent:\n%s", report)
	}
}

func TestPacer(t *testing.T) {
	t.Parallel()
	g := &gateway{}
	began := time.Now()
	runLoad(t, Load{URL: g.start(t), Topics: []string{"t"}, Workers: map[Mode]int{Single: 4}, Records: 1400, Rate: 1000})
	// Up to a second's worth may be made up for, and 1,400 records take the rest.
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("1400 records at 1000/s took %v", took)
	}
}

func TestHistoryOnDisk(t *testing.T) {
	t.Parallel()
	history := New()
	a, _ := record("a0", "a", 0, 1, 2)
	history.add(a)
	var text bytes.Buffer
	if _, err := history.WriteTo(&text); err != nil {
		t.Fatal(err)
	}
	var back Attempt
	if err := json.NewDecoder(strings.NewReader(text.String())).Decode(&back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a, back); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}
