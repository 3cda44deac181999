//go:build acceptance

package acceptance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-gateway/weir/core/internal/apachekafka"
)

const (
	v2Type   = "application/vnd.kafka.v2+json"
	jsonType = "application/vnd.kafka.json.v2+json"
)

// consumerClient makes calls on consumer instances, each call through the next of its gateways: a balancer without stickiness.
type consumerClient struct {
	gateways []string
	http     *http.Client

	mu   sync.Mutex
	next int
}

func newConsumerClient(gateways ...string) *consumerClient {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost, transport.MaxIdleConns = 500, 2000
	return &consumerClient{gateways: gateways, http: &http.Client{Timeout: time.Minute, Transport: transport}}
}

func (c *consumerClient) gateway() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	return c.gateways[c.next%len(c.gateways)]
}

// reply is an answer to a call.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// call makes one request. path begins with a slash. body nil: none.
func (c *consumerClient) call(method, path string, body any) (reply, error) {
	return c.callAt(c.gateway(), method, path, body)
}

func (c *consumerClient) callAt(gateway, method, path string, body any) (reply, error) {
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return reply{}, err
		}
		reader = bytes.NewReader(text)
	}
	request, err := http.NewRequest(method, gateway+path, reader)
	if err != nil {
		return reply{}, err
	}
	if body != nil {
		request.Header.Set("Content-Type", v2Type)
	}
	if strings.Contains(path, "/records") {
		request.Header.Set("Accept", jsonType)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	return reply{response.StatusCode, response.Header, read}, err
}

// expect is call for a status; anything else is an error that shows the answer.
func (c *consumerClient) expect(status int, method, path string, body any) (reply, error) {
	answer, err := c.call(method, path, body)
	if err == nil && answer.status != status {
		err = fmt.Errorf("%s %s: %d %s, want %d", method, path, answer.status, answer.body, status)
	}
	return answer, err
}

// instance is a consumer instance as its client knows it.
type instance struct {
	client *consumerClient
	path   string // /consumers/GROUP/instances/NAME
}

// create makes an instance of JSON format. options are further fields.
func (c *consumerClient) create(group string, options map[string]any) (*instance, error) {
	body := map[string]any{"format": "json", "auto.offset.reset": "earliest"}
	for name, value := range options {
		body[name] = value
	}
	answer, err := c.expect(http.StatusOK, http.MethodPost, "/consumers/"+group, body)
	if err != nil {
		return nil, err
	}
	var made struct {
		BaseURI string `json:"base_uri"`
	}
	if err := json.Unmarshal(answer.body, &made); err != nil {
		return nil, err
	}
	base, err := url.Parse(made.BaseURI)
	if err != nil || base.Path == "" {
		return nil, fmt.Errorf("base_uri %q: %v", made.BaseURI, err)
	}
	return &instance{client: c, path: base.Path}, nil
}

func (i *instance) subscribe(topics ...string) error {
	_, err := i.client.expect(http.StatusNoContent, http.MethodPost, i.path+"/subscription", map[string]any{"topics": topics})
	return err
}

func (i *instance) remove() error {
	_, err := i.client.expect(http.StatusNoContent, http.MethodDelete, i.path, nil)
	return err
}

// consumed is a record of an answer.
type consumed struct {
	Topic     string          `json:"topic"`
	Key       json.RawMessage `json:"key"`
	Value     json.RawMessage `json:"value"`
	Partition int32           `json:"partition"`
	Offset    int64           `json:"offset"`
}

// poll reads once. query is appended to the path.
func (i *instance) poll(query string) ([]consumed, reply, error) {
	answer, err := i.client.expect(http.StatusOK, http.MethodGet, i.path+"/records"+query, nil)
	if err != nil {
		return nil, answer, err
	}
	var records []consumed
	if err := json.Unmarshal(answer.body, &records); err != nil {
		return nil, answer, fmt.Errorf("%w in %q", err, answer.body[:min(200, len(answer.body))])
	}
	return records, answer, nil
}

// assigned gives how many partitions the instance holds.
func (i *instance) assigned() (int, error) {
	answer, err := i.client.expect(http.StatusOK, http.MethodGet, i.path+"/assignments", nil)
	if err != nil {
		return 0, err
	}
	var body struct {
		Partitions []struct{} `json:"partitions"`
	}
	err = json.Unmarshal(answer.body, &body)
	return len(body.Partitions), err
}

// writeRecords writes count JSON records of a size to a topic, at most rate of them in a second (0: as fast as it goes), and gives how
// many each partition has.
func writeRecords(ctx context.Context, t *testing.T, cluster *apachekafka.Cluster, topic string, count, size, rate int) map[int32]int64 {
	t.Helper()
	return writeCompressed(ctx, t, cluster, topic, count, size, rate, kgo.NoCompression())
}

func writeCompressed(ctx context.Context, t *testing.T, cluster *apachekafka.Cluster, topic string, count, size, rate int, compression kgo.CompressionCodec) map[int32]int64 {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.BootstrapServers()...), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()),
		kgo.MaxBufferedRecords(50_000), kgo.ProducerBatchCompression(compression))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	padding := strings.Repeat("x", max(0, size-40))
	var mu sync.Mutex
	written := map[int32]int64{}
	var failed error
	began := time.Now()
	for n := range count {
		if rate > 0 && n%100 == 0 {
			if err := wait(ctx, time.Until(began.Add(time.Duration(n)*time.Second/time.Duration(rate)))); err != nil {
				t.Error(err)
				return nil
			}
		}
		client.Produce(ctx, &kgo.Record{Value: fmt.Appendf(nil, `{"n":%d,"padding":"%s"}`, n, padding)}, func(r *kgo.Record, err error) {
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
				return
			}
			written[r.Partition] = max(written[r.Partition], r.Offset+1)
		})
	}
	if err := client.Flush(ctx); err != nil {
		failed = err
	}
	mu.Lock()
	defer mu.Unlock()
	if failed != nil {
		t.Error(failed)
	}
	return written
}

// peersConfiguration is the configuration of gateways that are peers of each other.
type peersConfiguration struct {
	nodes     []string // ids
	addresses []string
}

func newPeers(t *testing.T, count int) *peersConfiguration {
	t.Helper()
	ports, err := apachekafka.FreePorts(count)
	if err != nil {
		t.Fatal(err)
	}
	p := &peersConfiguration{}
	for i, port := range ports {
		p.nodes = append(p.nodes, fmt.Sprintf("n%d", i+1))
		p.addresses = append(p.addresses, fmt.Sprintf("127.0.0.1:%d", port))
	}
	return p
}

func (p *peersConfiguration) of(i int) string {
	text := fmt.Sprintf("peers:\n  node_id: %s\n  address: %q\n  secret: %s\n  nodes:\n", p.nodes[i], p.addresses[i], strings.Repeat("s3cret-of-the-peers!", 2))
	for j := range p.nodes {
		text += fmt.Sprintf("    %s: http://%s\n", p.nodes[j], p.addresses[j])
	}
	return text
}

// servePeers starts gateways that are peers in front of a cluster, and gives them with their URLs.
func servePeers(t *testing.T, cluster *apachekafka.Cluster, count int, extra string) ([]*weirProcess, []string) {
	t.Helper()
	peers := newPeers(t, count)
	var nodes []*weirProcess
	var urls []string
	for i := range count {
		nodes = append(nodes, startWeir(t, clusterConfiguration("main", cluster.BootstrapServers())+extra+peers.of(i)))
		urls = append(urls, nodes[i].url)
	}
	for _, node := range nodes {
		node.waitReady(t, 30*time.Second)
	}
	return nodes, urls
}

// metric reads the sum of a metric's series from a gateway.
func (w *weirProcess) metric(t *testing.T, name string) float64 {
	t.Helper()
	status, body, err := get(w.management + "/metrics")
	if err != nil || status != http.StatusOK {
		t.Fatalf("/metrics: %d %v", status, err)
	}
	sum, found := 0.0, false
	for line := range strings.Lines(body) {
		rest, has := strings.CutPrefix(line, name)
		if !has || rest == "" || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		var value float64
		if _, err := fmt.Sscan(rest[strings.LastIndexByte(strings.TrimSpace(rest), ' ')+1:], &value); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		sum, found = sum+value, true
	}
	if !found {
		t.Fatalf("no metric %s", name)
	}
	return sum
}
