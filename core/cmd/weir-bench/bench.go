//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/weir-gateway/weir/core/cmd/weir-bench/internal/cpusplit"
	"github.com/weir-gateway/weir/core/cmd/weir-bench/internal/load"
	"github.com/weir-gateway/weir/core/cmd/weir-bench/internal/usage"
)

// bench is one run of everything.
type bench struct {
	settings  settings
	progress  io.Writer
	directory string
	broker    *broker
	values    [][]byte
	stored    int64          // records of each partition of what is read
	given     map[string]int // by scenario: records of an answer, as the gateway gave them on average
}

// measurement is what one program did in one window.
type measurement struct {
	RequestsPerSecond float64 `json:"requests_per_second"` // of streams: records
	RecordsPerSecond  float64 `json:"records_per_second"`
	P50               float64 `json:"p50_ms"`
	P99               float64 `json:"p99_ms"`
	P999              float64 `json:"p999_ms"`
	CPURequest        float64 `json:"cpu_us_per_request"`
	CPURecord         float64 `json:"cpu_us_per_record"`
	CPU               float64 `json:"cpu_cores"` // how many cores the program kept busy
	RSS               float64 `json:"rss_mib"`   // at the window's end
	PeakRSS           float64 `json:"peak_rss_mib"`
	Generator         float64 `json:"generator_cpu_cores"`
	Strangers         float64 `json:"strangers_share"` // of all cores, 0 to 1
	Stolen            float64 `json:"stolen_share"`
}

// measure runs all rounds, and then the profiles.
func measure(ctx context.Context, s settings, progress io.Writer) (results report, err error) {
	chosen, err := chosenScenarios(s.Scenarios, s.Broker)
	if err != nil {
		return report{}, err
	}
	b := &bench{settings: s, progress: progress, directory: s.keep, values: load.Values(512, s.ValueSize), given: map[string]int{}}
	if b.directory == "" {
		if b.directory, err = os.MkdirTemp("", "weir-bench-"); err != nil {
			return report{}, fmt.Errorf("a directory for the gateway's log: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(b.directory)) }()
	} else if err := os.MkdirAll(b.directory, 0o755); err != nil {
		return report{}, fmt.Errorf("--keep: %w", err)
	}
	fmt.Fprintln(progress, "Starting the broker…")
	if b.broker, err = startBroker(ctx, s.Broker); err != nil {
		return report{}, err
	}
	defer func() { err = errors.Join(err, b.broker.close()) }()
	machine, err := describeMachine(ctx, b.broker.software, s.gateway)
	if err != nil {
		return report{}, err
	}
	if slices.ContainsFunc(chosen, scenario.reads) {
		if err := b.broker.createReadTopic(ctx); err != nil {
			return report{}, err
		}
		if b.stored, err = fill(ctx, b.broker.address, readTopic, b.values, readBytes, progress); err != nil {
			return report{}, err
		}
	}
	results = report{Machine: machine, Settings: s, When: time.Now().UTC().Truncate(time.Second)}
	for _, one := range chosen {
		results.Results = append(results.Results, result{scenario: one, Runs: map[subject][]measurement{}})
	}
	for round := range s.Rounds {
		for i := range results.Results {
			r := &results.Results[i]
			for _, what := range r.subjects() {
				m, err := b.once(ctx, r.scenario, what)
				if err != nil {
					return report{}, fmt.Errorf("%s, %s: %w", r.Name, what, err)
				}
				r.Runs[what] = append(r.Runs[what], m)
				if r.reads() && what == gatewaySubject {
					b.given[r.Name] = max(1, int(m.RecordsPerSecond/m.RequestsPerSecond+.5))
				}
				fmt.Fprintf(progress, "round %d/%d  %-16s %-14s %9.0f rec/s  %7.2f µs/rec  %8.2f µs/req  p50 %8.3f ms  p99 %8.3f ms  RSS %4.0f MiB  strangers %2.0f %%\n",
					round+1, s.Rounds, r.Name, what, m.RecordsPerSecond, m.CPURecord, m.CPURequest, m.P50, m.P99, m.RSS, 100*m.Strangers)
			}
		}
	}
	if s.profile {
		return results, b.profileAll(ctx, results.Results)
	}
	return results, nil
}

// once measures one program once.
func (b *bench) once(ctx context.Context, s scenario, what subject, extra ...string) (m measurement, err error) {
	p, err := b.start(ctx, s, what, extra...)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	var before, after usage.Reading
	window := load.Window{WarmUp: b.settings.WarmUp, Measure: b.settings.Measure}
	window.Begin = func() (err error) {
		before, err = usage.Read(p.pid)
		return err
	}
	window.End = func() (err error) {
		if after, err = usage.Read(p.pid); err != nil {
			return err
		}
		now, peak, err := usage.Memory(p.pid)
		m.RSS, m.PeakRSS = float64(now)/(1<<20), float64(peak)/(1<<20)
		return err
	}
	r, err := p.drive(ctx, window)
	if err != nil {
		return m, err
	}
	if r.Requests == 0 {
		return m, errors.New("not one request was answered in the window")
	}
	latencies := tally{P50: r.Latency.Quantile(.5), P99: r.Latency.Quantile(.99), P999: r.Latency.Quantile(.999)}
	if p.latencies != nil {
		latencies = p.latencies()
	}
	used := after.Since(before)
	seconds := r.Elapsed.Seconds()
	m.RequestsPerSecond, m.RecordsPerSecond = float64(r.Requests)/seconds, float64(r.Records)/seconds
	m.P50, m.P99, m.P999 = milliseconds(latencies.P50), milliseconds(latencies.P99), milliseconds(latencies.P999)
	m.CPURequest = float64(used.Process.Microseconds()) / float64(r.Requests)
	m.CPURecord = float64(used.Process.Microseconds()) / float64(r.Records)
	m.CPU, m.Generator = used.Process.Seconds()/seconds, used.Generator.Seconds()/seconds
	m.Strangers, m.Stolen = used.Strangers, used.Stolen
	return m, nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// hotFunctions is how many functions a profile names.
const hotFunctions = 20

// profileAll runs the gateway once more for each profiled scenario, with a profile, which costs a little itself.
func (b *bench) profileAll(ctx context.Context, results []result) error {
	for i := range results {
		r := &results[i]
		if !r.profiled {
			continue
		}
		fmt.Fprintf(b.progress, "profile    %s\n", r.Name)
		file := filepath.Join(b.directory, r.Name+".cpu.pprof")
		extra := []string{"--cpu-profile", file}
		if b.settings.keep != "" {
			extra = append(extra, "--memory-profile", filepath.Join(b.directory, r.Name+".memory.pprof"))
		}
		if _, err := b.once(ctx, r.scenario, gatewaySubject, extra...); err != nil {
			return fmt.Errorf("profile of %s: %w", r.Name, err)
		}
		written, err := os.Open(file)
		if err != nil {
			return err
		}
		split, err := cpusplit.Read(written, hotFunctions)
		written.Close()
		if err != nil {
			return fmt.Errorf("profile of %s: %w", r.Name, err)
		}
		r.Split = &split
	}
	return nil
}
