//go:build acceptance

package acceptance

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/weir-gateway/weir/core/internal/apachekafka"
)

// The connection of a reading client breaks after a random number of bytes of the answer, header included, again and again. With ack it
// loses nothing, gets nothing out of order and nothing twice: what it received whole is the log.
func TestAnswersCutAnywhereLoseNothing(t *testing.T) {
	cluster := startKafka(t, apachekafka.Options{})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	const topic, partitions = "cut", 3
	if err := cluster.CreateTopic(ctx, topic, partitions, 1, nil); err != nil {
		t.Fatal(err)
	}
	w := serveKafka(t, cluster, "")
	cuts := scaled(300, 1000)
	count := cuts * 25
	ends := writeRecords(ctx, t, cluster, topic, count, 200, 0)
	client := newConsumerClient(w.url)
	in, err := client.create("cut", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := in.subscribe(topic); err != nil {
		t.Fatal(err)
	}

	next := map[int32]int64{}
	received, done, redelivered, headless := 0, 0, 0, 0
	ack := ""
	for attempt := 0; received < count; attempt++ {
		if ctx.Err() != nil || attempt > 20*cuts {
			t.Fatalf("%d of %d records after %d attempts", received, count, attempt)
		}
		limit := -1
		if done < cuts && attempt%3 != 2 { // every third answer is let through
			limit = rand.IntN(9000)
			done++
		}
		token, again, records, whole, bytes := readCut(t, w.url, in.path, ack, limit)
		if !whole {
			if bytes < 300 {
				headless++
			}
			continue
		}
		if again {
			redelivered++
		}
		for _, r := range records {
			if r.Offset != next[r.Partition] {
				t.Fatalf("partition %d: offset %d came where %d was due", r.Partition, r.Offset, next[r.Partition])
			}
			next[r.Partition]++
			received++
		}
		if token != "" {
			ack = token
		}
	}
	for partition, end := range ends {
		if next[partition] != end {
			t.Errorf("partition %d: received up to %d of %d", partition, next[partition], end)
		}
	}
	t.Logf("%d answers cut (%d within the first 300 bytes), %d delivered again; %d records received, each once and in order", done, headless, redelivered, received)
	if done < cuts || redelivered == 0 {
		t.Errorf("only %d of %d answers were cut, %d delivered again", done, cuts, redelivered)
	}
	// The last acknowledgement is what is committed.
	if _, _, err := in.poll("?timeout=100&ack=" + url.QueryEscape(ack)); err != nil {
		t.Error(err)
	}
	if err := in.remove(); err != nil {
		t.Error(err)
	}
	committed, err := client.create("cut", nil)
	if err != nil {
		t.Fatal(err)
	}
	for partition, end := range ends {
		answer, err := client.expect(http.StatusOK, http.MethodGet, fmt.Sprintf("%s/offsets?partition=%s:%d", committed.path, topic, partition), nil)
		if err != nil || !strings.Contains(string(answer.body), fmt.Sprintf(`"offset":%d`, end)) {
			t.Errorf("committed of partition %d: %s, want %d (%v)", partition, answer.body, end, err)
		}
	}
}

// readCut reads with ack on a connection of its own and breaks it after limit bytes of the answer; -1: never. whole says that the answer
// was received to its end.
func readCut(t *testing.T, base, path, ack string, limit int) (token string, again bool, records []consumed, whole bool, bytes int) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprintf(conn, "GET %s/records?timeout=1000&max_bytes=8000&ack=%s HTTP/1.1\r\nHost: h\r\nAccept: %s\r\nConnection: close\r\n\r\n", path, url.QueryEscape(ack), jsonType)
	var source io.Reader = conn
	if limit >= 0 {
		source = io.LimitReader(conn, int64(limit))
	}
	counted := &counter{from: source}
	response, err := http.ReadResponse(bufio.NewReader(counted), nil)
	if err != nil {
		return "", false, nil, false, counted.n
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", false, nil, false, counted.n
	}
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", response.StatusCode, body)
	}
	if err := json.Unmarshal(body, &records); err != nil {
		t.Fatalf("%v in %q", err, body[:min(len(body), 200)])
	}
	return response.Header.Get("Weir-Batch"), response.Header.Get("Weir-Batch-Redelivered") == "true", records, true, counted.n
}

type counter struct {
	from io.Reader
	n    int
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n += n
	return n, err
}
