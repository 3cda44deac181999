//go:build acceptance

package acceptance

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weir-gateway/weir/core/internal/apachekafka"
)

const jsonV2 = "application/vnd.kafka.json.v2+json"

// With a broker that is down at start the gateway starts, is not ready and says why, answers 503 within the deadline, and recovers
// by itself when the broker comes. The same when the broker goes away and comes back later.
func TestBrokerThatIsDownAtStart(t *testing.T) {
	cluster := startKafka(t, apachekafka.Options{})
	ctx := context.Background()
	if err := cluster.CreateTopic(ctx, "later", 3, 1, nil); err != nil {
		t.Fatal(err)
	}
	node := cluster.Nodes()[0]
	if err := node.Kill(); err != nil {
		t.Fatal(err)
	}
	const deadline = 3 * time.Second
	w := startWeir(t, strings.TrimSuffix(clusterConfiguration("main", cluster.BootstrapServers()), "\n")+"\n    admin_timeout: 2s\nproduce: {timeout: 2s, stall_timeout: 1s}\n")
	eventually(t, 5*time.Second, "the process answers", func() bool {
		status, _, err := get(w.management + "/livez")
		return err == nil && status == http.StatusOK
	})
	status, body, err := get(w.management + "/readyz")
	if err != nil || status != http.StatusServiceUnavailable || !strings.Contains(body, node.Address()) {
		t.Errorf("readiness must name the address and the cause: %d %s %v", status, body, err)
	}
	t.Logf("not ready: %s", strings.TrimSpace(body))
	for _, path := range []string{"/topics", "/topics/later", "/brokers", "/v3/clusters", "/v3/clusters/" + cluster.ID() + "/topics"} {
		began := time.Now()
		status, body, err := get(w.url + path)
		if err != nil || status != http.StatusServiceUnavailable || time.Since(began) > deadline {
			t.Errorf("GET %s: %d %s %v after %s", path, status, body, err, time.Since(began))
		}
	}
	began := time.Now()
	if status, body, err = post(w.url+"/topics/later", jsonV2, `{"records":[{"value":1}]}`); err != nil || status != http.StatusServiceUnavailable || time.Since(began) > deadline {
		t.Errorf("produce: %d %s %v after %s", status, body, err, time.Since(began))
	}
	for round := range 2 {
		restart, cancel := context.WithTimeout(ctx, time.Minute)
		err := node.Restart(restart)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		w.waitReady(t, 30*time.Second)
		eventually(t, 15*time.Second, "records are written again", func() bool {
			status, body, err := post(w.url+"/topics/later", jsonV2, `{"records":[{"value":1}]}`)
			return err == nil && status == http.StatusOK && strings.Contains(body, `"error_code":null`)
		})
		t.Logf("round %d: records again %s after the broker was back", round, time.Since(began).Round(10*time.Millisecond))
		if round == 0 {
			if err := node.Kill(); err != nil {
				t.Fatal(err)
			}
			eventually(t, 30*time.Second, "a lost broker is noticed", func() bool {
				status, _, err := get(w.management + "/readyz")
				return err == nil && status == http.StatusServiceUnavailable
			})
		}
	}
	w.terminate(t, 10*time.Second)
}
