package core_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/coretest"
	"github.com/weir-gateway/weir/core/internal/embedded"
)

// do sends a request and gives its status, header and body.
func do(t *testing.T, method, url, contentType, body string, header ...string) (int, http.Header, string) {
	t.Helper()
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(read)
}

const jsonV2 = "application/vnd.kafka.json.v2+json"

// A slow body is told so within its own bound, and the connection is not used again.
func TestBodyThatComesTooSlowly(t *testing.T) {
	t.Parallel()
	g := startWith(t, func(c *config.Config) { c.Limits.BodyTimeout = 100 * time.Millisecond })
	conn, in := dialRaw(t, g)
	fmt.Fprintf(conn, "POST /topics/t HTTP/1.1\r\nHost: h\r\nContent-Type: %s\r\nContent-Length: 100\r\n\r\n{", jsonV2)
	answer, err := io.ReadAll(in)
	if err != nil {
		t.Fatalf("the connection was not closed: %v", err)
	}
	if text := string(answer); !strings.HasPrefix(text, "HTTP/1.1 408") || !strings.Contains(text, `{"error_code":408,"message":"Timeout while reading from inputStream"}`) {
		t.Fatalf("answer %q", text)
	}
}

// A body that nobody reads, since the request is wrong anyway, must not hold the answer back.
func TestBodyThatNobodyReads(t *testing.T) {
	t.Parallel()
	g := startWith(t, nil)
	for line, status := range map[string]string{"POST /nowhere": "404", "DELETE /topics/t": "405", "POST /topics//t": "404", "GET /topics": "200"} {
		conn, in := dialRaw(t, g)
		began := time.Now()
		fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{", line)
		answer, err := io.ReadAll(in)
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 "+status) || time.Since(began) > 10*time.Second {
			t.Errorf("%s: %q, %v", line, answer, err)
		}
	}
}

// Clients that only promise bytes take none from others.
func TestBodiesThatAreOnlyPromised(t *testing.T) {
	t.Parallel()
	g := startWith(t, func(c *config.Config) { c.Limits.BufferedBytes = c.Limits.BodyBytes })
	for range 20 {
		conn, _ := dialRaw(t, g)
		fmt.Fprintf(conn, "POST /topics/t HTTP/1.1\r\nHost: h\r\nContent-Type: %s\r\nContent-Length: 67108864\r\nExpect: 100-continue\r\n\r\n", jsonV2)
	}
	waitFor(t, "the promises", func() bool { return strings.Contains(metrics(g), "weir_in_flight_requests 20") })
	if status, _, body := do(t, http.MethodPost, g.URL+"/topics/t", jsonV2, `{"records":[{"value":1}]}`); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
}

// A body that could never be held is too large; "try again later" would be a lie.
func TestABodyLargerThanTheBuffersIsTooLarge(t *testing.T) {
	t.Parallel()
	g := startWith(t, func(c *config.Config) { c.Limits.BufferedBytes = 5000 })
	status, _, body := do(t, http.MethodPost, g.URL+"/topics/t", jsonV2, `{"records":[{"value":"`+strings.Repeat("x", 6000)+`"}]}`)
	if status != http.StatusRequestEntityTooLarge {
		t.Errorf("%d %s", status, body)
	}
}

// What clients send never gets into the log, also not with their mistakes.
func TestTheLogHoldsNoData(t *testing.T) {
	t.Parallel()
	var logged bytes.Buffer
	var mu sync.Mutex
	g := coretest.Start(t, coretest.Options{Broker: oneTopic, Logger: slog.New(slog.NewJSONHandler(lockedWriter{&mu, &logged}, nil))})
	const canary = "4111111111111111"
	do(t, http.MethodPost, g.URL+"/topics/t", "application/vnd.kafka.binary.v2+json", `{"records":[{"value":"card=`+canary+`"}]}`)
	do(t, http.MethodPost, g.URL+"/topics/t", jsonV2, `{"records":[{"value":"`+canary+`",}]}`)
	do(t, http.MethodPost, g.URL+"/topics/t", jsonV2, `{"records":[{"`+canary+`":1}]}`)
	do(t, http.MethodPost, recordsURL(g), "application/json", `{"value":{"type":"STRING","data":`+canary+`}}`)
	do(t, http.MethodPost, g.URL+"/topics/t", jsonV2, `{"records":[{"value":"`+canary+`"}]}`, "Authorization", canary)
	mu.Lock()
	defer mu.Unlock()
	if text := logged.String(); strings.Contains(text, canary) || strings.Count(text, `"msg":"request"`) != 5 {
		t.Errorf("the log:\n%s", text)
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func TestBoundsOfTheGatewayAreAnsweredWithRetryAfter(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*config.Config){
		"bytes of bodies":  func(c *config.Config) { c.Limits.BufferedBytes = 5000 },
		"bytes of records": func(c *config.Config) { c.Produce.BufferBytes = 10 },
	} {
		g := startWith(t, change)
		if name == "bytes of bodies" { // another client's body takes them
			conn, _ := dialRaw(t, g)
			fmt.Fprintf(conn, "POST /topics/t HTTP/1.1\r\nHost: h\r\nContent-Type: %s\r\nContent-Length: 4999\r\n\r\n%s", jsonV2, strings.Repeat(" ", 4998))
			waitFor(t, "the other body", func() bool { return strings.Contains(metrics(g), "weir_request_buffer_bytes 4999") })
		}
		status, header, body := do(t, http.MethodPost, g.URL+"/topics/t", jsonV2, `{"records":[{"value":"a long enough value"}]}`)
		if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" || !strings.Contains(body, `"error_code":503`) {
			t.Errorf("%s: %d %v %s", name, status, header, body)
		}
	}
}

func TestRequestsBeyondTheInFlightBoundAreRefused(t *testing.T) {
	t.Parallel()
	g := startWith(t, func(c *config.Config) { c.Limits.InFlight = 1 })
	in, answer := openStream(t, &http.Client{Transport: &http.Transport{}}, recordsURL(g))
	receipts := answer() // one is in flight
	status, header, body := do(t, http.MethodGet, g.URL+"/topics", "", "")
	if status != http.StatusServiceUnavailable || header.Get("Retry-After") != "1" {
		t.Fatalf("%d %v %s", status, header, body)
	}
	in.Close()
	if _, err := io.ReadAll(receipts); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for status != http.StatusOK && time.Now().Before(deadline) {
		status, _, _ = do(t, http.MethodGet, g.URL+"/topics", "", "")
	}
	if status != http.StatusOK {
		t.Fatalf("still %d after the stream has ended", status)
	}
}

func TestAListThatNamesNoOperationIsRefused(t *testing.T) {
	t.Parallel()
	settings := config.Default()
	cluster := config.DefaultCluster()
	cluster.Name, cluster.BootstrapServers = "c", []string{"127.0.0.1:1"}
	settings.Clusters = []config.Cluster{cluster}
	settings.API.Blocklist = []string{"api.v3.topic.delete"}
	if err := newCore(t, settings); err == nil || !strings.Contains(err.Error(), "api.v3.topic.delete") {
		t.Fatalf("got %v", err)
	}
}

// With no broker the gateway starts, says why it is not ready, answers 503 and does not hang; when the broker comes it recovers
// by itself.
func TestBrokerThatIsDownAtStart(t *testing.T) {
	t.Parallel()
	probe, err := embedded.Start(embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	address := probe.Addresses()[0]
	probe.Close()
	g := startDown(t, address)
	for _, target := range []string{"/topics", "/brokers", "/v3/clusters", "/v3/clusters/x", "/v3/clusters/x/topics"} {
		if status, header, body := do(t, http.MethodGet, g.url+target, "", ""); status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
			t.Errorf("GET %s: %d %s", target, status, body)
		}
	}
	if status, _, body := do(t, http.MethodPost, g.url+"/topics/t", jsonV2, `{"records":[{"value":1}]}`); status != http.StatusServiceUnavailable || !strings.Contains(body, `"error_code":50302`) {
		t.Errorf("produce: %d %s", status, body)
	}
	ready := g.core.Ready()
	if ready.Ready || !strings.Contains(fmt.Sprint(ready.Checks), address) {
		t.Errorf("readiness: %+v", ready)
	}
	var port int
	fmt.Sscanf(address[strings.LastIndexByte(address, ':')+1:], "%d", &port)
	broker, err := embedded.Start(embedded.Options{Ports: []int{port}, Topics: oneTopic.Topics})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	deadline := time.Now().Add(20 * time.Second)
	for !g.core.Ready().Ready {
		if time.Now().After(deadline) {
			t.Fatalf("not ready after the broker came: %+v", g.core.Ready())
		}
		time.Sleep(10 * time.Millisecond) // polls, with a deadline
	}
	if status, _, body := do(t, http.MethodPost, g.url+"/topics/t", jsonV2, `{"records":[{"value":1}]}`); status != http.StatusOK || strings.Contains(body, `"offset":null`) {
		t.Errorf("produce after recovery: %d %s", status, body)
	}
}

// metrics is what the management listener tells now.
func metrics(g *coretest.Gateway) string {
	answer := httptest.NewRecorder()
	g.Core.Management().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return answer.Body.String()
}

// waitFor polls until ok, with a deadline.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("not seen within 10 s: %s", what)
		}
		<-time.After(time.Millisecond)
	}
}
