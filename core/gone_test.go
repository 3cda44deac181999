package core_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/weir-gateway/weir/core/coretest"
	"github.com/weir-gateway/weir/core/internal/embedded"
)

// A client that leaves a long poll is no failure of the gateway, and must not look like one to whoever watches it.
func TestAClientThatLeavesIsNotCountedAsAFailure(t *testing.T) {
	t.Parallel()
	gateway := coretest.Start(t, coretest.Options{Broker: embedded.Options{Topics: []embedded.Topic{{Name: "a", Partitions: 1}}}})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, gateway.URL+"/topics/a/partitions/0/records?timeout=60000", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if response, err := http.DefaultClient.Do(request); err == nil {
		response.Body.Close()
		t.Fatal("the poll was answered")
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) { // a poll with a deadline
		w := httptest.NewRecorder()
		gateway.Core.Management().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))
		text, _ := io.ReadAll(w.Body)
		if strings.Contains(string(text), `weir_http_requests_total{code="499",operation="weir.v2.partitions.read-binary"} 1`) {
			return
		}
		if time.Now().After(deadline) || strings.Contains(string(text), `code="503"`) {
			t.Fatalf("not counted as 499:\n%s", text)
		}
	}
}
