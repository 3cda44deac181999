//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/weir-gateway/weir/core/cmd/weir-bench/internal/load"
	"github.com/weir-gateway/weir/core/internal/apachekafka"
	"github.com/weir-gateway/weir/core/internal/child"
)

// program is a subject that runs, fresh for every measurement so that its memory is its own.
type program struct {
	pid  int
	stop func() error
	// drive puts it under load for a window.
	drive func(ctx context.Context, window load.Window) (load.Result, error)
	// latencies are known to the program itself, not to drive; nil: drive's are right.
	latencies func() tally
}

// start starts a subject for a scenario.
func (b *bench) start(ctx context.Context, s scenario, what subject, extra ...string) (*program, error) {
	switch what {
	case gatewaySubject:
		return b.startGateway(ctx, s, extra...)
	case echoSubject:
		p, err := startSelf(b.echoArguments(s)...)
		if err != nil {
			return nil, err
		}
		return &program{pid: p.PID(), stop: p.stop, drive: b.driver(s, p.ready, true)}, nil
	default:
		return b.startSarama(s)
	}
}

// echoArguments make the bare server answer what the gateway answers.
func (b *bench) echoArguments(s scenario) []string {
	if !s.reads() {
		return []string{"echo", "--records", strconv.Itoa(s.Batch)}
	}
	return []string{"echo", "--records", strconv.Itoa(b.given[s.Name]), "--format", s.format(), "--value-bytes", strconv.Itoa(b.settings.ValueSize)}
}

// driver gives the load of a scenario against a server. A bare one gives the same records each time.
func (b *bench) driver(s scenario, address string, bare bool) func(context.Context, load.Window) (load.Result, error) {
	return func(ctx context.Context, window load.Window) (load.Result, error) {
		if s.reads() {
			return load.Drive(ctx, &load.Reads{
				Address: address, Connections: s.Connections, Group: "bench-" + strconv.FormatInt(time.Now().UnixNano(), 36), Topic: readTopic, Format: s.format(),
				ValueBytes: b.settings.ValueSize, MaxBytes: s.maxBytes(b.settings.ValueSize), Ends: slices.Repeat([]int64{b.stored}, partitions), Repeats: bare,
			}, window)
		}
		if s.Shape == streaming {
			head, chunks := load.V3Stream(address, b.broker.clusterID, topic, b.values)
			return load.Drive(ctx, &load.Streams{Address: address, Connections: s.Connections, Head: head, Chunks: chunks, Window: s.Batch}, window)
		}
		const different = 16 // requests
		work := &load.Requests{
			Address: address, Connections: s.Connections, Records: s.Batch,
			Bytes: load.V2Requests(address, topic, b.values, s.Batch, different),
		}
		if s.Shape == openLoop {
			work.Rate = b.settings.Rate
		}
		return load.Drive(ctx, work, window)
	}
}

// startGateway starts weir serve as an operator would, access log and metrics on.
func (b *bench) startGateway(ctx context.Context, s scenario, extra ...string) (*program, error) {
	ports, err := apachekafka.FreePorts(2)
	if err != nil {
		return nil, err
	}
	address, management := fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])
	file := filepath.Join(b.directory, "weir.yaml")
	text := fmt.Sprintf("listen:\n  address: %s\nmanagement:\n  address: %s\nclusters:\n  - name: bench\n    bootstrap_servers: [%q]\n", address, management, b.broker.address)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("the gateway's configuration: %w", err)
	}
	logFile, err := os.Create(filepath.Join(b.directory, "gateway.log"))
	if err != nil {
		return nil, fmt.Errorf("the gateway's log: %w", err)
	}
	defer logFile.Close()                                                                                 // the child has its own copy
	command := exec.Command(b.settings.gateway, append([]string{"serve", "--config", file}, extra...)...) //nolint:noctx,gosec // stop ends it, in order
	command.Stderr = logFile
	p, err := child.Start(command)
	if err != nil {
		return nil, err
	}
	stop := func() error {
		if err := stopProcess(p); err != nil {
			return err
		}
		if code := p.ExitCode(); code != 0 {
			return fmt.Errorf("the gateway ended with exit code %d; its log ends:\n%s", code, b.logTail())
		}
		return nil
	}
	err = poll(ctx, p, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+management+"/readyz", http.NoBody)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("/readyz: %s", response.Status)
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the gateway did not become ready: %w; its log ends:\n%s", err, b.logTail()), stopProcess(p))
	}
	return &program{pid: p.PID(), stop: stop, drive: b.driver(s, address, false)}, nil
}

// logTail is the end of the gateway's log.
func (b *bench) logTail() string {
	text, err := os.ReadFile(filepath.Join(b.directory, "gateway.log"))
	if err != nil {
		return err.Error()
	}
	const enough = 2000
	return string(text[max(0, len(text)-enough):])
}

// startSarama starts sarama alone: a producer with as many records on their way as the scenario's clients have, or as many readers as it
// has instances, which ask for as many bytes at once.
func (b *bench) startSarama(s scenario) (*program, error) {
	arguments := []string{"producer", "--batch", strconv.Itoa(s.Batch), "--value-bytes", strconv.Itoa(b.settings.ValueSize)}
	if s.reads() {
		arguments = []string{"reader", "--fetch-bytes", strconv.Itoa(s.maxBytes(b.settings.ValueSize)), "--records", strconv.FormatInt(b.stored, 10)}
	}
	p, err := startSelf(append(arguments, "--address", b.broker.address, "--callers", strconv.Itoa(s.Connections))...)
	if err != nil {
		return nil, err
	}
	var last tally
	ask := func(line string, answer *tally) error {
		text, err := p.tell(line)
		if err != nil {
			return fmt.Errorf("bare sarama: %w", err)
		}
		return json.Unmarshal([]byte(text), answer)
	}
	drive := func(ctx context.Context, window load.Window) (load.Result, error) {
		var first tally
		var began time.Time
		var result load.Result
		begin, end := window.Begin, window.End
		window.Begin = func() error {
			err := errors.Join(begin(), ask("begin", &first))
			began = time.Now()
			return err
		}
		window.End = func() error {
			var count tally
			err := ask("count", &count)
			result.Elapsed = time.Since(began)
			result.Records = count.Records - first.Records
			result.Requests = count.Requests - first.Requests
			return errors.Join(err, end(), ask("end", &last))
		}
		_, err := load.Drive(ctx, load.Nothing{}, window)
		return result, err
	}
	return &program{pid: p.PID(), stop: p.stop, drive: drive, latencies: func() tally { return last }}, nil
}
