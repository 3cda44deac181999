package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// Mode is a way of sending records.
type Mode string

// The modes.
const (
	// Single sends one record in each v2 request.
	Single Mode = "v2-single"
	// List sends up to 20 records in each v2 request, several of them with the same key.
	List Mode = "v2-list"
	// Batch sends up to 10 records in each v3 records:batch.
	Batch Mode = "v3-batch"
	// Stream sends up to 300 records on each v3 stream over HTTP/1.1, up to 50 of them ahead of their receipts.
	Stream Mode = "v3-stream"
	// StreamHTTP2 does so over HTTP/2 without TLS.
	StreamHTTP2 Mode = "v3-stream-h2c"
	// PingPong sends the next record on a v3 stream over HTTP/1.1 when the previous one's receipt has come.
	PingPong Mode = "v3-ping-pong"
)

// Modes lists every mode.
func Modes() []Mode { return []Mode{Single, List, Batch, Stream, StreamHTTP2, PingPong} }

// Load says what to send.
type Load struct {
	// URL is the gateway's base URL, without a trailing slash.
	URL string
	// ClusterID is the cluster's id in v3 paths. Empty: the first that GET /v3/clusters lists.
	ClusterID string
	// Topics get the records, in equal shares. A key belongs to one topic.
	Topics []string
	// Workers is how many clients send at once in each mode. Keys belong to one worker, so a key never has two senders.
	Workers map[Mode]int
	// Keys is how many keys a worker has in each topic. Zero: 8. A fifth of the records has no key.
	Keys int
	// Padding is the size of the ballast in each value, in bytes.
	Padding int
	// Records ends the load when so many were sent and Cuts connections were cut. Zero: it goes on until the context ends.
	Records, Cuts int
	// CutShare is the share of the exchanges (requests, streams), 0 to 1, that the client cuts in the middle.
	CutShare float64
	// Rate is how many records are begun in a second, over all workers. Zero: as many as the answers let through.
	Rate float64
	// Timeout is how long a client waits for an exchange before it gives it up as unanswered. Zero: one minute.
	Timeout time.Duration
	// Prefix begins the ids and keys, so that several loads can share a topic. Letters and digits.
	Prefix string
	// Seed makes two runs choose alike.
	Seed uint64
}

// Run sends until the load is complete or the context ends; then it begins nothing further, waits for the answers to what
// is under way, and returns. Everything sent is in the history. An error means that the load could not begin.
func (l Load) Run(ctx context.Context, history *History) error {
	if _, err := url.Parse(l.URL); err != nil || l.URL == "" {
		return fmt.Errorf("gateway URL %q: %w", l.URL, errors.Join(err, errors.New("want a base URL")))
	}
	if len(l.Topics) == 0 {
		return errors.New("a load without topics")
	}
	if l.Keys == 0 {
		l.Keys = 8
	}
	if l.Timeout == 0 {
		l.Timeout = time.Minute
	}
	if l.ClusterID == "" {
		id, err := clusterID(ctx, l.URL)
		if err != nil {
			return err
		}
		l.ClusterID = id
	}
	running := &run{load: l, history: history, pacer: pacer{rate: l.Rate}}
	var workers sync.WaitGroup
	number := 0
	for _, mode := range Modes() {
		for range l.Workers[mode] {
			worker := running.newWorker(number, mode)
			number++
			workers.Go(func() { worker.work(ctx) })
		}
	}
	workers.Wait()
	return nil
}

func clusterID(ctx context.Context, base string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/v3/clusters", nil)
	if err != nil {
		return "", fmt.Errorf("ask for the cluster's id: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", fmt.Errorf("ask for the cluster's id: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return "", fmt.Errorf("ask for the cluster's id: %w", err)
	}
	var list struct {
		Data []struct {
			ID string `json:"cluster_id"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &list); err != nil || len(list.Data) == 0 || list.Data[0].ID == "" {
		return "", fmt.Errorf("GET /v3/clusters answered %s without a cluster id: %s", response.Status, body)
	}
	return list.Data[0].ID, nil
}

// run is what the workers of a load share.
type run struct {
	load    Load
	history *History
	pacer   pacer
	sent    atomic.Int64
}

// over reports whether the load is complete or was ended.
func (r *run) over(ctx context.Context) bool {
	if ctx.Err() != nil {
		return true
	}
	return r.load.Records > 0 && r.sent.Load() >= int64(r.load.Records) && r.history.Cuts() >= r.load.Cuts
}

// worker is one client: its keys, its connections, its choices.
type worker struct {
	run      *run
	name     string
	mode     Mode
	random   *rand.Rand
	client   *http.Client
	scissors *scissors
	sent     int       // records begun, for their ids
	next     [][]int64 // of each topic and key, the next sequence number
}

func (r *run) newWorker(number int, mode Mode) *worker {
	random := rand.New(rand.NewPCG(r.load.Seed, uint64(number)))
	cut := &scissors{random: rand.New(rand.NewPCG(r.load.Seed, ^uint64(number)))}
	next := make([][]int64, len(r.load.Topics))
	for topic := range next {
		next[topic] = make([]int64, r.load.Keys)
	}
	return &worker{
		run: r, name: fmt.Sprintf("%sw%d", r.load.Prefix, number), mode: mode, random: random, scissors: cut,
		next:   next,
		client: newClient(mode, cut),
	}
}

// newClient makes an HTTP client without connections yet, whose connections the scissors can cut.
func newClient(mode Mode, cut *scissors) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(mode != StreamHTTP2)
	protocols.SetUnencryptedHTTP2(mode == StreamHTTP2)
	return &http.Client{
		Transport: &http.Transport{DialContext: cut.dial, Protocols: protocols, DisableCompression: true},
		// A redirected POST would be a record sent twice.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (w *worker) work(ctx context.Context) {
	defer func() { w.client.CloseIdleConnections() }()
	for !w.run.over(ctx) {
		trouble := false
		switch w.mode {
		case Single:
			trouble = w.list(ctx, 1)
		case List:
			trouble = w.list(ctx, 1+w.random.IntN(20))
		case Batch:
			trouble = w.batch(ctx, 1+w.random.IntN(10))
		case Stream, StreamHTTP2:
			trouble = w.stream(ctx, 1+w.random.IntN(300), 50)
		case PingPong:
			trouble = w.stream(ctx, 1+w.random.IntN(50), 1)
		}
		if trouble { // a gateway that is gone or refuses is not asked again at full speed
			pause(ctx, 20*time.Millisecond)
		}
	}
}

// begin makes the next record for a topic, given by its index. A worker's records of one key are made, and sent, in the
// order of their sequence numbers; a key keeps to one topic.
func (w *worker) begin(topic int) *Attempt {
	attempt := &Attempt{
		ID: fmt.Sprintf("%s-%d", w.name, w.sent), Topic: w.run.load.Topics[topic], Padding: w.run.load.Padding, Mode: w.mode,
		Sent: w.run.history.Elapsed(), Verdict: Unanswered,
	}
	w.sent++
	w.run.sent.Add(1)
	if w.random.IntN(5) == 0 {
		return attempt
	}
	key := w.random.IntN(w.run.load.Keys)
	attempt.Key = fmt.Sprintf("%st%dk%d", w.name, topic, key)
	attempt.Sequence = w.next[topic][key]
	w.next[topic][key]++
	return attempt
}

// beginAll makes count records for one topic.
func (w *worker) beginAll(count int) []*Attempt {
	topic := w.random.IntN(len(w.run.load.Topics))
	attempts := make([]*Attempt, 0, count)
	for range count {
		attempts = append(attempts, w.begin(topic))
	}
	return attempts
}

// pacer spaces the beginnings of records.
type pacer struct {
	rate float64 // a second; zero: no limit

	mu   sync.Mutex
	next time.Time
}

// wait waits until count records may begin.
func (p *pacer) wait(ctx context.Context, count int) {
	if p.rate <= 0 {
		return
	}
	p.mu.Lock()
	now := time.Now()
	if p.next.Before(now.Add(-time.Second)) {
		p.next = now.Add(-time.Second) // what was missed longer ago is not made up for
	}
	until := p.next
	p.next = p.next.Add(time.Duration(float64(count) / p.rate * float64(time.Second)))
	p.mu.Unlock()
	pause(ctx, time.Until(until))
}

func pause(ctx context.Context, duration time.Duration) {
	if duration <= 0 {
		return
	}
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
