package peer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka/consumer"
	"github.com/weir-gateway/weir/core/internal/rest"
	"github.com/weir-gateway/weir/core/internal/rest/peer"
	"github.com/weir-gateway/weir/core/internal/telemetry"
)

const secret = "a secret that all nodes of a test share"

// testNode is a gateway with nothing but instances in a map.
type testNode struct {
	t           *testing.T
	id          string
	settings    *config.Config
	url         string // for clients
	internalURL string

	peers     *peer.Peers
	chain     *rest.Handler
	servers   []*http.Server
	serving   sync.WaitGroup
	forwarded atomic.Int64 // calls that came from peers
	log       *lines

	mu        sync.Mutex
	instances map[consumer.Key]bool

	streams chan *stream  // handlers of /stream that run
	ended   chan struct{} // handlers of /wait whose client has gone
	waiting chan struct{} // handlers of /wait that have begun
}

// stream is one answer of /stream, written as the test says.
type stream struct {
	write chan []byte // closed: the end
}

// lines is a log to look into.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// start starts n nodes as peers. change may alter a node's settings.
func start(t *testing.T, n int, change func(i int, settings *config.Config)) []*testNode {
	t.Helper()
	nodes, urls := make([]*testNode, n), map[string]string{}
	clients, internal := make([]net.Listener, n), make([]net.Listener, n)
	for i := range nodes {
		clients[i], internal[i] = listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
		nodes[i] = &testNode{t: t, id: "n" + strconv.Itoa(i), url: "http://" + clients[i].Addr().String(), internalURL: "http://" + internal[i].Addr().String()}
		urls[nodes[i].id] = nodes[i].internalURL
	}
	for i, node := range nodes {
		settings := config.Default()
		settings.Peers = config.Peers{NodeID: node.id, Address: internal[i].Addr().String(), Secret: secret, Nodes: urls}
		if change != nil {
			change(i, &settings)
		}
		node.settings = &settings
		node.serve(clients[i], internal[i])
		t.Cleanup(node.kill)
	}
	for _, node := range nodes {
		for _, other := range nodes {
			if other != node {
				eventually(t, func() bool { return node.sees(other) })
			}
		}
	}
	return nodes
}

// eventually polls with a deadline.
func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatal("it never came to be")
		}
		time.Sleep(time.Millisecond)
	}
}

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	var listener net.Listener
	var err error
	eventually(t, func() bool {
		listener, err = net.Listen("tcp", address)
		return err == nil
	})
	return listener
}

func (n *testNode) serve(clients, internal net.Listener) {
	n.t.Helper()
	n.instances, n.log = map[consumer.Key]bool{}, &lines{}
	n.streams, n.ended, n.waiting = make(chan *stream, 10), make(chan struct{}, 10), make(chan struct{}, 10)
	metrics, logger := telemetry.NewMetrics(), slog.New(slog.NewJSONHandler(n.log, nil))
	var err error
	if n.peers, err = peer.New(n.settings, logger, metrics); err != nil {
		n.t.Fatal(err)
	}
	n.chain = rest.NewHandler(n.settings, rest.Dependencies{Routes: n.routes(), Logger: logger, Metrics: metrics, Peers: n.peers})
	handler := n.peers.Handler(func(w http.ResponseWriter, r *http.Request, call rest.Call) {
		n.forwarded.Add(1)
		n.chain.ServeForwarded(w, r, call)
	})
	n.servers = []*http.Server{{Handler: n.chain}, {Handler: handler}}
	n.serving.Go(func() { n.servers[1].Serve(internal) })
	n.serving.Go(func() { n.servers[0].Serve(clients) })
}

// kill cuts all connections.
func (n *testNode) kill() {
	if n.servers == nil {
		return
	}
	for _, server := range n.servers {
		server.Close()
	}
	n.serving.Wait()
	n.peers.Close()
	n.servers = nil
}

func (n *testNode) restart() {
	n.serve(listen(n.t, n.url[len("http://"):]), listen(n.t, n.internalURL[len("http://"):]))
}

// sees reports whether n would pass a call on to other, as its log says.
func (n *testNode) sees(other *testNode) bool {
	up := strings.LastIndex(n.log.String(), fmt.Sprintf(`"msg":"peer is up","node":%q`, other.id))
	down := strings.LastIndex(n.log.String(), fmt.Sprintf(`"msg":"peer is down","node":%q`, other.id))
	return up > down
}

// answer is what the routes of a testNode say.
type answer struct {
	Node       string `json:"node"`
	Name       string `json:"name"`
	Principal  string `json:"principal"`
	InstanceID string `json:"instance_id"`
	BaseURI    string `json:"base_uri"`
	Body       string `json:"body"`
	Query      string `json:"query"`
	Remote     string `json:"remote"`
	Headers    string `json:"headers"`
	Code       int    `json:"error_code"`
	Message    string `json:"message"`
}

var api = &rest.API{Name: "v2", ErrorType: rest.KafkaV2JSON}

func (n *testNode) routes() []*rest.Route {
	const instance = "/consumers/{group}/instances/{instance}"
	route := func(id, method, pattern string, bind func(*rest.Request) (rest.Operation, rest.Serve, error)) *rest.Route {
		return &rest.Route{ID: id, Method: method, Pattern: pattern, API: api, Produces: []rest.MediaType{rest.KafkaV2JSON}, Bind: bind}
	}
	onInstance := func(serve func(context.Context, http.ResponseWriter, *rest.Request) error) func(r *rest.Request) (rest.Operation, rest.Serve, error) {
		return func(r *rest.Request) (rest.Operation, rest.Serve, error) {
			return rest.Operation{}, func(ctx context.Context, w http.ResponseWriter, _ *rest.Grant) error {
				if !n.holds(r.InstanceKey(r.PathValue("group"), r.PathValue("instance"))) {
					return rest.InstanceNotFound()
				}
				return serve(ctx, w, r)
			}, nil
		}
	}
	waits := route("test.wait", http.MethodGet, instance+"/wait", onInstance(n.wait))
	waits.Waits = true
	return []*rest.Route{
		route("test.create", http.MethodPost, "/consumers/{group}", n.create),
		route("test.get", http.MethodGet, instance, onInstance(n.tell)),
		route("test.delete", http.MethodDelete, instance, onInstance(n.remove)),
		route("test.echo", http.MethodPost, instance+"/echo", onInstance(n.echo)),
		route("test.refuse", http.MethodPost, instance+"/refuse", onInstance(func(context.Context, http.ResponseWriter, *rest.Request) error {
			return fault.New(fault.RecordTooLarge, "the body was not read")
		})),
		route("test.stream", http.MethodGet, instance+"/stream", onInstance(n.stream)),
		waits,
	}
}

func (n *testNode) holds(key consumer.Key) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.instances[key]
}

func say(w http.ResponseWriter, a answer) error {
	body, err := json.Marshal(a)
	if err == nil {
		rest.WriteJSON(w, http.StatusOK, rest.KafkaV2JSON, body)
	}
	return err
}

func (n *testNode) create(r *rest.Request) (rest.Operation, rest.Serve, error) {
	body, err := r.Body()
	if err != nil {
		return rest.Operation{}, nil, err
	}
	group, name := r.PathValue("group"), string(body)
	chosen := name != ""
	if chosen {
		if name, err = r.PlaceInstance(group, name); err != nil {
			return rest.Operation{}, nil, err
		}
	} else {
		name = "generated-" + r.Node() + "-" + rest.UUID()
	}
	return rest.Operation{}, func(ctx context.Context, w http.ResponseWriter, _ *rest.Grant) error {
		key := r.InstanceKey(group, name)
		n.mu.Lock()
		taken := n.instances[key]
		n.instances[key] = true
		n.mu.Unlock()
		if taken {
			return fault.New(fault.InstanceExists, "it exists")
		}
		id := r.Hinted(group, name)
		base := r.BaseURL + "/consumers/" + group + "/instances/" + id
		if chosen {
			id = string(body)
			r.ClaimInstance(ctx, group, name)
		}
		return say(w, answer{Node: n.id, Name: name, InstanceID: id, BaseURI: base, Principal: r.Principal.ID})
	}, nil
}

func (n *testNode) tell(_ context.Context, w http.ResponseWriter, r *rest.Request) error {
	var headers []string
	for _, name := range []string{"Weir-Identity", "Weir-Forwarded", "X-Mine", "Accept-Encoding"} {
		if values := r.Header.Values(name); len(values) > 0 {
			headers = append(headers, name+"="+strings.Join(values, ","))
		}
	}
	return say(w, answer{Node: n.id, Name: r.PathValue("instance"), Principal: r.Principal.ID, Query: r.URL.RawQuery, Remote: r.RemoteAddr, BaseURI: r.BaseURL, Headers: strings.Join(headers, " ")})
}

func (n *testNode) remove(ctx context.Context, w http.ResponseWriter, r *rest.Request) error {
	group := r.PathValue("group")
	n.mu.Lock()
	delete(n.instances, r.InstanceKey(group, r.PathValue("instance")))
	n.mu.Unlock()
	r.ReleaseInstance(ctx, group, r.PathValue("instance"))
	return say(w, answer{Node: n.id, Name: r.PathValue("instance")})
}

func (n *testNode) echo(_ context.Context, w http.ResponseWriter, r *rest.Request) error {
	body, err := r.Body()
	if err != nil {
		return err
	}
	return say(w, answer{Node: n.id, Name: r.PathValue("instance"), Body: string(body)})
}

func (n *testNode) stream(_ context.Context, w http.ResponseWriter, _ *rest.Request) error {
	s := &stream{write: make(chan []byte)}
	n.streams <- s
	for piece := range s.write {
		if _, err := w.Write(piece); err != nil {
			return err
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return err
		}
	}
	return nil
}

func (n *testNode) wait(ctx context.Context, _ http.ResponseWriter, _ *rest.Request) error {
	n.waiting <- struct{}{}
	<-ctx.Done()
	n.ended <- struct{}{}
	return ctx.Err()
}

// client has connections of its own, so that none is left when the test ends.
func client(t *testing.T) *http.Client {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}
}

// do sends a request and gives status and answer.
func do(t *testing.T, c *http.Client, method, url, body string, headers ...string) (int, answer) {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	response, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if ids := response.Header.Values("Weir-Request-Id"); len(ids) != 1 {
		t.Errorf("%s %s: request ids %q", method, url, ids)
	}
	var a answer
	if err := json.Unmarshal(text, &a); err != nil {
		t.Fatalf("%s %s: %s %q", method, url, response.Status, text)
	}
	return response.StatusCode, a
}

func newPeers(settings *config.Config) error {
	_, err := peer.New(settings, slog.New(slog.DiscardHandler), telemetry.NewMetrics())
	return err
}
