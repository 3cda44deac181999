//go:build acceptance

package acceptance

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weir-gateway/weir/core/internal/apachekafka"
	"github.com/weir-gateway/weir/core/internal/history"
)

// SIGTERM while clients stream: each gets the receipt of every record that was accepted and a proper end, none a reset, and the
// process ends well within its time. What was told is what is in the log.
func TestSIGTERMWhileClientsStream(t *testing.T) {
	cluster := startKafka(t, apachekafka.Options{})
	if err := cluster.CreateTopic(context.Background(), "drained", 3, 1, nil); err != nil {
		t.Fatal(err)
	}
	w := serveKafka(t, cluster, "")
	path := "/v3/clusters/" + w.clusterID(t) + "/topics/drained/records"
	const clients = 8
	var receipts sync.Map
	var running sync.WaitGroup
	for i := range clients {
		running.Go(func() {
			n, err := streamUntilTheEnd(strings.TrimPrefix(w.url, "http://"), path, time.Duration(i%2)*time.Millisecond) // every second one reads slowly
			if err != nil {
				t.Errorf("client %d, after %d receipts: %v", i, n, err)
			}
			receipts.Store(i, n)
		})
	}
	<-time.After(2 * time.Second) // of streaming
	if err := syscall.Kill(w.process.PID(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	running.Wait()
	began := time.Now()
	select {
	case <-w.process.Done():
		t.Logf("the process ended %s after the last client, with code %d", time.Since(began).Round(time.Millisecond), w.process.ExitCode())
	case <-time.After(10 * time.Second):
		t.Fatal("the process goes on")
	}
	if code := w.process.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	log, err := history.ReadLog(context.Background(), cluster.BootstrapServers(), "drained")
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	receipts.Range(func(_, n any) bool { told += n.(int); return true })
	if told != len(log) || told == 0 {
		t.Errorf("%d receipts for %d records", told, len(log))
	}
	t.Logf("%d receipts for %d records", told, len(log))
}

// streamUntilTheEnd streams records on one connection until the gateway ends the answer, and gives how many good receipts came.
func streamUntilTheEnd(address, path string, pause time.Duration) (int, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n", path)
	go func() {
		record := `{"value":{"type":"STRING","data":"` + strings.Repeat("x", 200) + `"}}`
		chunk := fmt.Sprintf("%x\r\n%s\r\n", len(record), record)
		for {
			if _, err := io.WriteString(conn, chunk); err != nil {
				return // the answer has ended, which the reader sees
			}
		}
	}()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, err
	}
	good := 0
	lines := bufio.NewReaderSize(response.Body, 4096)
	for {
		line, err := lines.ReadString('\n')
		if err == io.EOF && line == "" {
			return good, nil
		}
		if err != nil {
			return good, err
		}
		if !strings.Contains(line, `"error_code":200`) {
			return good, fmt.Errorf("receipt %q", line)
		}
		good++
		if pause > 0 && good%100 == 0 {
			time.Sleep(pause)
		}
	}
}
