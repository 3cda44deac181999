//go:build unix

package main

import (
	"bufio"
	"context"
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
	values := load.Values(8, 640)
	server := httptest.NewServer(echo(batch, load.Answer(readTopic, "json", values, partitions, 20)))
	defer server.Close()
	address := server.Listener.Addr().String()
	head, chunks := load.V3Stream(address, "c", topic, values)
	for name, work := range map[string]load.Work{
		"requests": &load.Requests{Address: address, Connections: 2, Records: batch, Bytes: load.V2Requests(address, topic, values, batch, 2)},
		"streams":  &load.Streams{Address: address, Connections: 2, Window: 5, Head: head, Chunks: chunks},
		"reads": &load.Reads{
			Address: address, Connections: 2, Group: "g", Topic: readTopic, Format: "json", ValueBytes: 640, MaxBytes: 1 << 20, Ends: make([]int64, partitions), Repeats: true,
		},
	} {
		result, err := load.Drive(t.Context(), work, load.Window{Measure: 50 * time.Millisecond})
		if err != nil || result.Records == 0 {
			t.Errorf("%s: %d records, %v", name, result.Records, err)
		}
	}
}

// talk runs a bare program and gives what asks it, and what it ends with.
func talk(t *testing.T, run func(context.Context, io.Reader, io.Writer) error) (ask func(line string) tally, ended <-chan error) {
	t.Helper()
	in, tell := io.Pipe()
	answers, out := io.Pipe()
	result := make(chan error, 1)
	go func() {
		err := run(t.Context(), in, out)
		result <- err
		out.CloseWithError(err)
	}()
	lines := bufio.NewScanner(answers)
	if !lines.Scan() || lines.Text() != "up" {
		t.Fatalf("got %q, %v", lines.Text(), lines.Err())
	}
	return func(line string) (answer tally) {
		t.Helper()
		fmt.Fprintln(tell, line)
		if !lines.Scan() {
			t.Fatal(lines.Err())
		}
		if err := json.Unmarshal(lines.Bytes(), &answer); err != nil {
			t.Fatal(err)
		}
		return answer
	}, result
}

func TestProducerSendsAndTells(t *testing.T) {
	t.Parallel()
	broker, err := embedded.Start(embedded.Options{Topics: []embedded.Topic{{Name: topic, Partitions: partitions}}})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	p := bareProducer{address: broker.Addresses()[0], callers: 2, batch: 10, valueSize: 640}
	ask, ended := talk(t, p.run)
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
	if int64(len(stored)) != p.work.records.Load() || len(spread) != partitions {
		t.Errorf("%d records in %d partitions are stored, %d were acknowledged", len(stored), len(spread), p.work.records.Load())
	}
}

func TestReaderReadsAllOfItAgainAndAgain(t *testing.T) {
	t.Parallel()
	broker, err := embedded.Start(embedded.Options{Topics: []embedded.Topic{{Name: readTopic, Partitions: partitions}}})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	address := broker.Addresses()[0]
	records, err := fill(t.Context(), address, readTopic, load.Values(7, 640), 300_000, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := broker.Records(readTopic)
	if err != nil {
		t.Fatal(err)
	}
	if n := int64(len(stored)); n != records*partitions || n*640 < 300_000 {
		t.Fatalf("%d records are stored; %d in each partition were reported, and 300,000 bytes were asked for", n, records)
	}
	r := bareReader{address: address, callers: 2, fetchBytes: 100_000, records: records}
	ask, ended := talk(t, r.run)
	ask("begin")
	deadline := time.Now().Add(20 * time.Second)
	for ask("count").Records < 5*int64(len(stored)) { // there is no more than this, unless it begins anew
		if time.Now().After(deadline) {
			t.Fatal("the topic was not read five times in 20 s")
		}
	}
	last := ask("end")
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if last.P50 <= 0 || last.Requests <= 0 || last.Requests >= last.Records {
		t.Errorf("tally %+v", last)
	}
	one := bareInstance{}
	if one.broker, err = openBroker(address); err != nil {
		t.Fatal(err)
	}
	defer one.broker.Close()
	n, err := r.read(&one)
	if err != nil || n == 0 || len(one.buffer) != n*640 {
		t.Errorf("one fetch: %d records, %d bytes copied, %v", n, len(one.buffer), err)
	}
}

func TestReaderTellsWhatKafkaRefuses(t *testing.T) {
	t.Parallel()
	broker, err := embedded.Start(embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	one := bareInstance{}
	if one.broker, err = openBroker(broker.Addresses()[0]); err != nil {
		t.Fatal(err)
	}
	defer one.broker.Close()
	r := bareReader{fetchBytes: 1000, records: 1}
	if n, err := r.read(&one); err == nil {
		t.Errorf("%d records of a topic that is not there were read", n)
	}
}
