//go:build unix

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-gateway/weir/core/cmd/weir-bench/internal/cpusplit"
)

func TestSample(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sample   sample
		decimals int
		want     string
	}{
		{nil, 1, "–"},
		{sample{1234567.8}, 0, "1,234,568"},
		{sample{3, 1, 2}, 1, "2.0 [1.0–3.0]"},
		{sample{1, 2, 4, 3}, 2, "2.50 [1.00–4.00]"},
		{sample{123}, 2, "123.00"},
		{sample{6, 9}.over(sample{2, 3, 5}), 0, "3 [3–3]"},
		{sample{6, 9}.plus(sample{2, 3}), 0, "10 [8–12]"},
	} {
		if got := c.sample.text(c.decimals); got != c.want {
			t.Errorf("%v: got %q, want %q", c.sample, got, c.want)
		}
	}
}

// example is a report in which the gateway takes three times an echo's CPU at batch 1.
func example() report {
	run := func(cpu, rate float64) []measurement {
		return []measurement{{CPURequest: cpu, CPURecord: cpu, RecordsPerSecond: rate}}
	}
	batch1, batch100 := scenarios[0], scenarios[2]
	return report{Results: []result{
		{scenario: batch1, Runs: map[subject][]measurement{gatewaySubject: run(60, 20_000), echoSubject: run(20, 60_000), saramaSubject: run(10, 40_000)},
			Split: &cpusplit.Split{Parts: []cpusplit.Part{{Name: "HTTP", Share: .25}, {Name: "JSON", Share: .75}}}},
		{scenario: batch100, Runs: map[subject][]measurement{gatewaySubject: run(9, 1), echoSubject: run(1, 1), saramaSubject: run(3, 1)}},
	}}
}

func TestTargets(t *testing.T) {
	t.Parallel()
	r := example()
	var got []string
	for _, row := range r.targets().rows {
		got = append(got, row[1]+" "+row[2])
	}
	want := []string{"3.00 × met, not the goal", "3.00 × **missed**", "5.70 × (20,000 records/s); this computer's bare echo takes 20.0 µs of CPU, the peer's 16.1 met"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
}

func TestReportTable(t *testing.T) {
	t.Parallel()
	r := example()
	want := `| part | batch-1 % | µs/record |
|------|----------:|----------:|
| HTTP |      25.0 |     15.00 |
| JSON |      75.0 |     45.00 |
`
	if diff := cmp.Diff(want, r.splits().String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

func TestResultsComeBackFromTheirFile(t *testing.T) {
	t.Parallel()
	r := example()
	file := filepath.Join(t.TempDir(), "r.json")
	if err := r.write(file); err != nil {
		t.Fatal(err)
	}
	read, err := readReport(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r.text(), read.text()); diff != "" {
		t.Errorf("the report read back (-want +got):\n%s", diff)
	}
	if err := os.WriteFile(file, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readReport(file); err == nil {
		t.Error("a file that is no report was read")
	}
}

func TestTablesStandBetweenTheMarks(t *testing.T) {
	t.Parallel()
	r := example()
	begin, end := marks("Producing")
	readBegin, readEnd := marks("Reading")
	file := filepath.Join(t.TempDir(), "page.md")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# Before\n" + begin + "old\n" + end + "Between\n" + readBegin + "kept\n" + readEnd + "After\n")
	for range 2 { // the second time over the first's
		if err := r.writeInto(file); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if want := "# Before\n" + begin + "\n" + r.text() + "\n" + end + "Between\n" + readBegin + "kept\n" + readEnd + "After\n"; string(got) != want {
			t.Errorf("the page (-want +got):\n%s", cmp.Diff(want, string(got)))
		}
	}
	r.Results = append(r.Results, exampleOfReading())
	for _, page := range []string{"no marks", begin + end, readBegin + readEnd} {
		write(page)
		if err := r.writeInto(file); err == nil || !strings.Contains(err.Error(), "has no lines") {
			t.Errorf("%q: got %v, want an error that names the marks", page, err)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != page {
			t.Errorf("a page without all marks was changed to %q, %v", got, err)
		}
	}
}

// exampleOfReading is a result in which the gateway takes twice sarama's CPU and gives 500 records an answer.
func exampleOfReading() result {
	one := scenarios[slices.IndexFunc(scenarios, func(s scenario) bool { return s.Name == "read-json" })]
	run := func(cpu float64) []measurement {
		return []measurement{{CPURequest: 500 * cpu, CPURecord: cpu, RecordsPerSecond: 100_000, RequestsPerSecond: 200}}
	}
	return result{scenario: one, Runs: map[subject][]measurement{gatewaySubject: run(2), echoSubject: run(.5), saramaSubject: run(1)}}
}

func TestReportOfReading(t *testing.T) {
	t.Parallel()
	r := report{Settings: settings{ValueSize: 1000}, Results: []result{exampleOfReading()}}
	want := `
| scenario                                                                                | program       | records/s | MB/s | records/answer | CPU µs/answer | CPU µs/record | ÷ sarama's | cores busy | generator's cores |
|-----------------------------------------------------------------------------------------|---------------|----------:|-----:|---------------:|--------------:|--------------:|-----------:|-----------:|------------------:|
| **read-json** 8 json instances, each of all partitions, at most 1,000 records an answer | gateway       |   100,000 |  100 |          500.0 |       1,000.0 |          2.00 |       2.00 |       0.00 |              0.00 |
|                                                                                         | bare net/http |   100,000 |  100 |          500.0 |         250.0 |          0.50 |       0.50 |       0.00 |              0.00 |
|                                                                                         | bare sarama   |   100,000 |  100 |          500.0 |         500.0 |          1.00 |          – |       0.00 |              0.00 |
`
	if diff := cmp.Diff(want, "\n"+r.readings().String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	if rows := r.targets().rows; len(rows) != 1 || rows[0][1] != "2.00 ×" || rows[0][2] != "met" {
		t.Errorf("targets %q", rows)
	}
	for what, table := range map[string]table{"costs": r.costs(), "ratios": r.ratios()} {
		if len(table.rows) > 0 {
			t.Errorf("%s has what was read", what)
		}
	}
}

func TestChosenScenarios(t *testing.T) {
	t.Parallel()
	chosen, err := chosenScenarios([]string{"batch-100", "batch-1"}, "kafka")
	if err != nil || len(chosen) != 2 || chosen[0].Name != "batch-100" || chosen[1].Batch != 1 {
		t.Errorf("got %v, %v", chosen, err)
	}
	for _, broker := range []string{"kafka", "embedded"} {
		if _, err := chosenScenarios(quickScenarios(broker), broker); err != nil {
			t.Error(err)
		}
	}
	if _, err := chosenScenarios([]string{"batch-2"}, "kafka"); err == nil {
		t.Error("an unknown scenario was taken")
	}
	if _, err := chosenScenarios([]string{"read-json"}, "embedded"); err == nil {
		t.Error("reading from a broker that keeps nothing was taken")
	}
	if all, err := chosenScenarios(nil, "embedded"); err != nil || slices.ContainsFunc(all, scenario.reads) || len(all) == 0 {
		t.Errorf("for a broker that keeps nothing: %v, %v", all, err)
	}
}
