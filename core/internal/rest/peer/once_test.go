package peer

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// A read that reached a peer is not sent again when the connection ends without an answer: the records of the first would be skipped.
func TestAReadIsNeverSentTwice(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) == 1 { // keeps the connection, so that the next request finds one in use before
			w.Write([]byte("ok"))
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		conn.Close()
	}))
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for range 2 {
		request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, server.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		sendOnce(request)
		response, err := client.Do(request)
		if err == nil {
			var rest [8]byte
			for err == nil {
				_, err = response.Body.Read(rest[:])
			}
			response.Body.Close()
		}
	}
	if n := calls.Load(); n != 2 {
		t.Errorf("two requests were sent %d times", n)
	}
}
