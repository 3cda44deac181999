package core_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/weir-gateway/weir/core/coretest"
	"github.com/weir-gateway/weir/core/internal/embedded"
)

// instance is a consumer instance as its client knows it.
type instance struct {
	path string // of base_uri
	id   string
}

// balanced sends each request to the next gateway, as a balancer without stickiness does.
type balanced struct {
	t     *testing.T
	peers []*coretest.Peer
	next  int
}

func (b *balanced) do(method, path, body string) (int, string) {
	b.t.Helper()
	b.next++
	r, err := http.NewRequest(method, b.peers[b.next%len(b.peers)].URL+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/vnd.kafka.v2+json")
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func (b *balanced) want(status int, method, path, body string) string {
	b.t.Helper()
	got, text := b.do(method, path, body)
	if got != status {
		b.t.Fatalf("%s %s: %d %s, want %d", method, path, got, text, status)
	}
	return text
}

func (b *balanced) create(group, name string) instance {
	b.t.Helper()
	body := `{"format":"json","auto.offset.reset":"earliest"}`
	if name != "" {
		body = fmt.Sprintf(`{"name":%q,"format":"json","auto.offset.reset":"earliest"}`, name)
	}
	var made struct {
		InstanceID string `json:"instance_id"`
		BaseURI    string `json:"base_uri"`
	}
	if err := json.Unmarshal([]byte(b.want(http.StatusOK, http.MethodPost, "/consumers/"+group, body)), &made); err != nil {
		b.t.Fatal(err)
	}
	asked := b.peers[b.next%len(b.peers)].URL
	path, found := strings.CutPrefix(made.BaseURI, asked)
	if !found || name != "" && made.InstanceID != name {
		b.t.Errorf("asked %s for %q, got %+v", asked, name, made)
	}
	return instance{path, made.InstanceID}
}

// Behind a balancer that sends each call to another gateway, every call of an instance's life succeeds; and when a gateway dies, its
// instances are gone and new ones work at once.
func TestAnyGatewayServesAnyInstance(t *testing.T) {
	t.Parallel()
	peers := coretest.StartPeers(t, 3, coretest.Options{Broker: embedded.Options{Topics: []embedded.Topic{{Name: "t", Partitions: 1}}}})
	all := &balanced{t: t, peers: peers}
	var instances []instance
	for i := range 60 {
		name := ""
		if i%2 == 1 {
			name = fmt.Sprintf("mine-%d", i)
		}
		instances = append(instances, all.create("g", name))
	}
	for i, one := range instances {
		path := one.path
		if i%4 == 3 { // a client that puts its URLs together by itself
			path = "/consumers/g/instances/" + one.id
		}
		all.want(http.StatusNoContent, http.MethodPost, path+"/assignments", `{"partitions":[{"topic":"t","partition":0}]}`)
		if text := all.want(http.StatusOK, http.MethodGet, path+"/assignments", ""); !strings.Contains(text, `"topic":"t"`) {
			t.Errorf("%s: assignments %s", path, text)
		}
		all.want(http.StatusNoContent, http.MethodPost, path+"/positions/beginning", `{"partitions":[{"topic":"t","partition":0}]}`)
		if i%2 == 1 {
			all.want(http.StatusConflict, http.MethodPost, "/consumers/g", fmt.Sprintf(`{"name":%q}`, one.id))
		}
	}
	peers[2].Kill()
	some := &balanced{t: t, peers: peers[:2]}
	lost := 0
	for _, one := range instances {
		switch status, text := some.do(http.MethodGet, one.path+"/assignments", ""); status {
		case http.StatusOK:
		case http.StatusNotFound:
			lost++
			if !strings.Contains(text, "40403") {
				t.Errorf("%s: %s", one.path, text)
			}
		default:
			t.Errorf("%s: %d %s", one.path, status, text)
		}
	}
	if lost < 10 || lost > 40 {
		t.Errorf("%d of 60 instances were on one of three gateways", lost)
	}
	again := map[string]bool{}
	for i := 1; i < 60; i += 2 { // names of the dead gateway are free again, the others are taken
		status, text := some.do(http.MethodPost, "/consumers/g", fmt.Sprintf(`{"name":%q}`, instances[i].id))
		if again[instances[i].id] = status == http.StatusOK; status != http.StatusOK && status != http.StatusConflict {
			t.Errorf("%s again: %d %s", instances[i].id, status, text)
		}
	}
	peers[2].Start()
	for i := 1; i < 60; i += 2 {
		all.want(http.StatusOK, http.MethodGet, "/consumers/g/instances/"+instances[i].id+"/subscription", "")
		all.want(http.StatusNoContent, http.MethodDelete, "/consumers/g/instances/"+instances[i].id, "")
		all.want(http.StatusNotFound, http.MethodDelete, "/consumers/g/instances/"+instances[i].id, "")
	}
}
