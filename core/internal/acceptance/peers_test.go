//go:build acceptance

package acceptance

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/weir-gateway/weir/core/internal/apachekafka"
)

// Three gateways behind a balancer that sends every call to the next of them, two hundred instances, half of them with names that clients
// chose: every call succeeds with at most one hop between gateways. A killed gateway's instances are not found; new ones, also under the same
// names, work at once.
func TestAnyGatewayServesAnyInstance(t *testing.T) {
	cluster := startKafka(t, apachekafka.Options{})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	const topic, instances = "everywhere", 200
	if err := cluster.CreateTopic(ctx, topic, 4, 1, nil); err != nil {
		t.Fatal(err)
	}
	writeRecords(ctx, t, cluster, topic, 100, 100, 0)
	nodes, urls := servePeers(t, cluster, 3, "")
	client := newConsumerClient(urls...)

	calls := 0
	var mu sync.Mutex
	made := make([]*instance, instances)
	each := func(what string, do func(i int, in *instance) (int, error)) {
		t.Helper()
		var running sync.WaitGroup
		slots := make(chan struct{}, 32)
		for i := range instances {
			running.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				n, err := do(i, made[i])
				mu.Lock()
				calls += n
				mu.Unlock()
				if err != nil {
					t.Errorf("%s of instance %d: %v", what, i, err)
				}
			})
		}
		running.Wait()
	}
	create := func(i int) (*instance, error) {
		options := map[string]any{}
		if i%2 == 0 {
			options["name"] = fmt.Sprintf("chosen-%d", i)
		}
		return client.create(fmt.Sprintf("everywhere-%d", i), options)
	}
	each("create", func(i int, _ *instance) (n int, err error) {
		made[i], err = create(i)
		return 1, err
	})
	if t.Failed() {
		return
	}
	each("use", func(i int, in *instance) (int, error) {
		if err := in.subscribe(topic); err != nil {
			return 1, err
		}
		got := 0
		n := 1
		for deadline := time.Now().Add(20 * time.Second); got < 100; {
			if time.Now().After(deadline) {
				return n, fmt.Errorf("only %d records", got)
			}
			records, _, err := in.poll("?timeout=1000")
			if n++; err != nil {
				return n, err
			}
			got += len(records)
		}
		for _, call := range []struct {
			status       int
			method, path string
			body         any
		}{
			{200, http.MethodGet, "/subscription", nil}, {200, http.MethodGet, "/assignments", nil}, {200, http.MethodPost, "/offsets", nil},
			{200, http.MethodGet, "/offsets?partition=" + topic + ":0", nil},
			{204, http.MethodPost, "/positions/beginning", map[string]any{"partitions": []map[string]any{{"topic": topic, "partition": 0}}}},
			{204, http.MethodPost, "/positions/end", map[string]any{"partitions": []map[string]any{{"topic": topic, "partition": 0}}}},
		} {
			n++
			if _, err := client.expect(call.status, call.method, in.path+call.path, call.body); err != nil {
				return n, err
			}
		}
		return n, nil
	})
	if t.Failed() {
		return
	}
	t.Logf("%d calls on %d instances through 3 gateways in turn, all as they should be", calls, instances)
	// With a chosen name, the path of base_uri and the plain name mean the same instance.
	for i := 0; i < instances; i += 20 {
		if _, err := client.expect(200, http.MethodGet, fmt.Sprintf("/consumers/everywhere-%d/instances/chosen-%d/subscription", i, i), nil); err != nil {
			t.Error(err)
		}
	}
	held := make([]float64, len(nodes))
	for i, node := range nodes {
		held[i] = node.metric(t, "weir_consumer_instances")
	}
	t.Logf("instances held: %v", held)

	if err := nodes[2].process.Kill(); err != nil {
		t.Fatal(err)
	}
	client.gateways = urls[:2]
	gone := 0
	each("call after a kill", func(i int, in *instance) (int, error) {
		answer, err := client.call(http.MethodGet, in.path+"/subscription", nil)
		switch {
		case err != nil:
			return 1, err
		case answer.status == http.StatusOK:
			return 1, nil
		case answer.status != http.StatusNotFound || errorCode(answer.body) != 40403:
			return 1, fmt.Errorf("%d %s", answer.status, answer.body)
		}
		mu.Lock()
		gone++
		mu.Unlock()
		made[i], err = create(i)
		if err == nil {
			err = made[i].subscribe(topic)
		}
		if err == nil {
			_, _, err = made[i].poll("?timeout=100")
		}
		return 4, err
	})
	if float64(gone) != held[2] || gone == 0 {
		t.Errorf("%d instances were not found after the kill of a gateway that held %v", gone, held[2])
	}
	each("call after that", func(i int, in *instance) (int, error) {
		_, err := client.expect(200, http.MethodGet, in.path+"/subscription", nil)
		return 1, err
	})
	each("delete", func(_ int, in *instance) (int, error) { return 1, in.remove() })
	t.Logf("%d instances were gone with their gateway and made again at once", gone)
}
