package core_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/coretest"
	"github.com/weir-gateway/weir/core/internal/embedded"
)

// asked is an answer read to its end.
type asked struct {
	status int
	as     string
	body   string
}

func ask(t *testing.T, method, url, contentType, accept, body string) asked {
	t.Helper()
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	if accept != "" {
		request.Header.Set("Accept", accept)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return asked{response.StatusCode, response.Header.Get("Content-Type"), string(text)}
}

const (
	v1       = "application/vnd.kafka.v1+json"
	v1Binary = "application/vnd.kafka.binary.v1+json"
	// v1Accept is what the npm client kafka-rest sends.
	v1Accept = "application/vnd.kafka.v1+json, application/vnd.kafka+json; q=0.9, application/json; q=0.8"
)

// The requests of the npm client kafka-rest, in the order in which it sends them.
func TestTheV1Dialect(t *testing.T) {
	t.Parallel()
	gateway := coretest.Start(t, coretest.Options{Broker: embedded.Options{Topics: []embedded.Topic{{Name: "orders", Partitions: 2}, {Name: "other", Partitions: 1}}}})
	at := func(path string) string { return gateway.URL + path }

	for _, path := range []string{"/brokers", "/topics", "/topics/orders", "/topics/orders/partitions", "/topics/orders/partitions/1"} {
		if got := ask(t, http.MethodGet, at(path), "", v1Accept, ""); got.status != http.StatusOK || got.as != v1 {
			t.Errorf("GET %s: %+v", path, got)
		}
	}
	got := ask(t, http.MethodPost, at("/topics/orders"), v1, v1Accept, `{"records":[{"value":"b25l","key":null,"partition":0},{"value":"dHdv","key":"aw==","partition":null}]}`)
	if got.status != http.StatusOK || got.as != v1 || strings.Contains(got.body, `"offset":null`) {
		t.Fatalf("produce: %+v", got)
	}
	if got := ask(t, http.MethodPost, at("/topics/orders"), "application/vnd.kafka.avro.v1+json", v1Accept, `{"records":[{"value":1}]}`); got.status != http.StatusUnprocessableEntity || got.as != v1 {
		t.Errorf("produce Avro: %+v", got)
	}

	got = ask(t, http.MethodPost, at("/consumers/old"), v1, v1Accept, `{"id":"a","auto.offset.reset":"smallest","auto.commit.enable":"false"}`)
	var made struct {
		BaseURI string `json:"base_uri"`
	}
	if err := json.Unmarshal([]byte(got.body), &made); err != nil || got.status != http.StatusOK || got.as != v1 || made.BaseURI == "" {
		t.Fatalf("join: %+v", got)
	}
	var records []struct {
		Value     string
		Partition int32
		Offset    int64
	}
	for range 3 {
		got = ask(t, http.MethodGet, made.BaseURI+"/topics/orders", "", v1Binary, "")
		if got.status != http.StatusOK || got.as != v1Binary {
			t.Fatalf("read: %+v", got)
		}
		if err := json.Unmarshal([]byte(got.body), &records); err != nil {
			t.Fatal(err)
		}
		if len(records) == 2 {
			break
		}
	}
	if len(records) != 2 {
		t.Errorf("read %+v", records)
	}
	if got := ask(t, http.MethodGet, made.BaseURI+"/topics/other", "", v1Binary, ""); got.status != http.StatusConflict || !strings.Contains(got.body, "40903") || got.as != v1Binary {
		t.Errorf("another topic: %+v", got)
	}
	if got := ask(t, http.MethodGet, made.BaseURI+"/topics/nowhere", "", v1Binary, ""); got.status != http.StatusNotFound {
		t.Errorf("a topic that is not there: %+v", got)
	}
	if got := ask(t, http.MethodPost, made.BaseURI+"/offsets", v1, v1Accept, ""); got.status != http.StatusOK || got.body != "[]" {
		t.Errorf("commit: %+v", got)
	}
	if got := ask(t, http.MethodDelete, made.BaseURI, "", v1Accept, ""); got.status != http.StatusNoContent {
		t.Errorf("shutdown: %+v", got)
	}

	got = ask(t, http.MethodGet, at("/topics/orders/partitions/0/messages?offset=0&count=1"), "", v1Binary, "")
	if err := json.Unmarshal([]byte(got.body), &records); err != nil || got.status != http.StatusOK || len(records) != 1 || records[0].Offset != 0 {
		t.Errorf("messages: %+v %v", got, err)
	}
	for _, query := range []string{"", "?offset=0&count=0", "?offset=0&count=x", "?offset=-1"} {
		if got := ask(t, http.MethodGet, at("/topics/orders/partitions/0/messages"+query), "", v1Binary, ""); got.status != http.StatusBadRequest {
			t.Errorf("messages%s: %+v", query, got)
		}
	}
	// v2 takes none of the old words.
	if got := ask(t, http.MethodPost, at("/consumers/old"), "application/vnd.kafka.v2+json", "", `{"auto.offset.reset":"smallest"}`); got.status != http.StatusUnprocessableEntity {
		t.Errorf("smallest in v2: %+v", got)
	}
}

func TestTheV1DialectCanBeTurnedOff(t *testing.T) {
	t.Parallel()
	gateway := coretest.Start(t, coretest.Options{Settings: func(c *config.Config) { c.API.V1 = false }})
	if got := ask(t, http.MethodGet, gateway.URL+"/topics", "", v1, ""); got.status != http.StatusNotAcceptable {
		t.Errorf("%+v", got)
	}
	if got := ask(t, http.MethodGet, gateway.URL+"/topics/a/partitions/0/messages?offset=0", "", v1Binary, ""); got.status != http.StatusNotFound {
		t.Errorf("%+v", got)
	}
}
