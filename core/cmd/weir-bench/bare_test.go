//go:build unix

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/weir-gateway/weir/core/cmd/weir-bench/internal/load"
	"github.com/weir-gateway/weir/core/internal/embedded"
)

// The load generator takes the bare server's answers for the gateway's.
func TestEchoAnswersAsTheGatewayDoes(t *testing.T) {
	t.Parallel()
	const batch = 3
	server := httptest.NewServer(echo(batch))
	defer server.Close()
	address := server.Listener.Addr().String()
	values := load.Values(8, 640)
	head, chunks := load.V3Stream(address, "c", topic, values)
	for name, work := range map[string]load.Work{
		"requests": &load.Requests{Address: address, Connections: 2, Records: batch, Bytes: load.V2Requests(address, topic, values, batch, 2)},
		"streams":  &load.Streams{Address: address, Connections: 2, Window: 5, Head: head, Chunks: chunks},
	} {
		result, err := load.Drive(t.Context(), work, load.Window{Measure: 50 * time.Millisecond})
		if err != nil || result.Records == 0 {
			t.Errorf("%s: %d records, %v", name, result.Records, err)
		}
	}
}

func TestProducerSendsAndTells(t *testing.T) {
	t.Parallel()
	broker, err := embedded.Start(embedded.Options{Topics: []embedded.Topic{{Name: topic, Partitions: partitions}}})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	p := bareProducer{address: broker.Addresses()[0], callers: 2, batch: 10, valueSize: 640}
	in, tell := io.Pipe()
	answers, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- p.run(t.Context(), in, out) }()
	lines := bufio.NewScanner(answers)
	if !lines.Scan() || lines.Text() != "up" {
		t.Fatalf("got %q, %v", lines.Text(), lines.Err())
	}
	ask := func(line string) (answer tally) {
		t.Helper()
		fmt.Fprintln(tell, line)
		if !lines.Scan() {
			t.Fatal(lines.Err())
		}
		if err := json.Unmarshal(lines.Bytes(), &answer); err != nil {
			t.Fatal(err)
		}
		return answer
	}
	ask("begin")
	deadline := time.Now().Add(20 * time.Second)
	for ask("count").Records < 500 {
		if time.Now().After(deadline) {
			t.Fatal("500 records were not acknowledged in 20 s")
		}
	}
	last := ask("end")
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if last.P50 <= 0 || last.P999 < last.P50 {
		t.Errorf("latencies %+v", last)
	}
	stored, err := broker.Records(topic)
	if err != nil {
		t.Fatal(err)
	}
	spread := map[int32]int{}
	for _, s := range stored {
		spread[s.Partition]++
	}
	if int64(len(stored)) != p.records.Load() || len(spread) != partitions {
		t.Errorf("%d records in %d partitions are stored, %d were acknowledged", len(stored), len(spread), p.records.Load())
	}
}
