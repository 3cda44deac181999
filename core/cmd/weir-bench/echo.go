//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/weir-gateway/weir/core/cmd/weir-bench/internal/load"
)

// newEchoCommand is the bare HTTP server: net/http with its defaults, a handler that reads the body and throws it away, and
// an answer that is as long as the gateway's. What is read from it lies ready, and goes out in one piece.
func newEchoCommand() *cobra.Command {
	var records, valueSize int
	var format string
	command := &cobra.Command{
		Use: "echo", Hidden: true, Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			server := &http.Server{Handler: echo(records, load.Answer(readTopic, format, load.Values(min(records, 512), valueSize), partitions, records))} //nolint:gosec // bare is the point
			failed := make(chan error, 1)
			go func() { failed <- server.Serve(listener) }()
			fmt.Fprintln(command.OutOrStdout(), listener.Addr())
			select {
			case err := <-failed:
				return err
			case <-command.Context().Done():
				return server.Close()
			}
		},
	}
	command.Flags().IntVar(&records, "records", 1, "records of each request, or of each answer")
	command.Flags().StringVar(&format, "format", "json", "format of what is read")
	command.Flags().IntVar(&valueSize, "value-bytes", 1024, "size of a value that is read")
	return command
}

// echo acknowledges as many records, and gives the same answer to each read.
func echo(records int, read []byte) http.Handler {
	answer := v2Answer(records)
	length, readLength := strconv.Itoa(len(answer)), strconv.Itoa(len(read))
	mux := http.NewServeMux()
	mux.HandleFunc("POST /consumers/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /consumers/{group}/instances/{instance}/records", func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = []string{"application/vnd.kafka.json.v2+json"}
		w.Header()["Content-Length"] = []string{readLength}
		w.Write(read) //nolint:errcheck // a client that has gone
	})
	mux.HandleFunc("POST /topics/{topic}", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		w.Header()["Content-Type"] = []string{"application/vnd.kafka.v2+json"}
		w.Header()["Content-Length"] = []string{length}
		w.Write(answer) //nolint:errcheck // a client that has gone
	})
	mux.HandleFunc("POST /v3/clusters/{cluster}/topics/{topic}/records", echoStream)
	return mux
}

// echoStream answers each line with a receipt, and flushes whenever it has answered all that had come.
func echoStream(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	if errors.Join(control.EnableFullDuplex(), control.Flush()) != nil {
		return
	}
	receipt := []byte(v3Receipt)
	buffer := make([]byte, 32<<10)
	var out []byte
	for {
		n, err := r.Body.Read(buffer)
		out = out[:0]
		for range bytes.Count(buffer[:n], []byte{'\n'}) {
			out = append(out, receipt...)
		}
		if len(out) > 0 {
			if _, err := w.Write(out); err != nil {
				return
			}
			if control.Flush() != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// v2Answer is the gateway's answer to a request of so many records.
func v2Answer(records int) []byte {
	b := []byte(`{"offsets":[`)
	for i := range records {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"partition":%d,"offset":%d,"error_code":null,"error":null}`, i%partitions, 1_000_000+i)
	}
	return append(b, `],"key_schema_id":null,"value_schema_id":null}`...)
}

const v3Receipt = `{"error_code":200,"cluster_id":"WeirEmbeddedCluster-00","topic_name":"bench","partition_id":3,"offset":1000000,` +
	`"timestamp":"2026-01-02T03:04:05.678Z","value":{"type":"JSON","size":1024}}` + "\r\n"
