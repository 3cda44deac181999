//go:build unix

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/weir-gateway/weir/core/cmd/weir-bench/internal/cpusplit"
)

// report is all that was found out. It is what --json writes and --from reads.
type report struct {
	When     time.Time `json:"when"`
	Machine  machine   `json:"machine"`
	Settings settings  `json:"settings"`
	Results  []result  `json:"results"`
}

// result is one scenario's.
type result struct {
	scenario
	Runs  map[subject][]measurement `json:"runs"` // by round
	Split *cpusplit.Split           `json:"gateway_cpu_split,omitempty"`
}

func readReport(file string) (report, error) {
	var r report
	text, err := os.ReadFile(file)
	if err != nil {
		return r, fmt.Errorf("--from: %w", err)
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("--from: %s is not what --json writes: %w", file, err)
	}
	return r, nil
}

func (r *report) write(file string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("--json: %w", err)
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// parts are what a report consists of: what brings records and what takes them out are written and read apart.
var parts = []struct {
	reading bool
	title   string
}{{false, "Producing"}, {true, "Reading"}}

// marks are the lines between which a Markdown file has the tables of a part.
func marks(title string) (begin, end string) {
	return "<!-- weir-bench, " + title + ": what follows is written by weir-bench --markdown -->\n", "<!-- weir-bench, " + title + ": end -->\n"
}

// only is the report of one part.
func (r *report) only(reading bool) report {
	part := *r
	part.Results = slices.DeleteFunc(slices.Clone(r.Results), func(one result) bool { return one.reads() != reading })
	return part
}

// writeInto replaces what a Markdown file has between the marks of the parts that were measured.
func (r *report) writeInto(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("--markdown: %w", err)
	}
	page := string(text)
	for _, part := range parts {
		measured := r.only(part.reading)
		if len(measured.Results) == 0 {
			continue
		}
		begin, end := marks(part.title)
		before, rest, found := strings.Cut(page, begin)
		_, after, ended := strings.Cut(rest, end)
		if !found || !ended {
			return fmt.Errorf("--markdown: %s has no lines %q and %q for the tables to stand between", file, strings.TrimSpace(begin), strings.TrimSpace(end))
		}
		page = before + begin + "\n" + measured.text() + "\n" + end + after
	}
	return os.WriteFile(file, []byte(page), 0o644)
}

// print shows the tables and what is only for whoever is looking into it: the hot functions.
func (r *report) print(to io.Writer) error {
	var failed []error
	for _, part := range parts {
		if measured := r.only(part.reading); len(measured.Results) > 0 {
			_, err := io.WriteString(to, "\n## "+part.title+"\n\n"+measured.text())
			failed = append(failed, err)
		}
	}
	for _, one := range r.Results {
		if one.Split == nil {
			continue
		}
		t := table{head: []string{"%", "own time in " + one.Name}, left: 2}
		for _, f := range one.Split.Hot {
			t.add(fmt.Sprintf("%.1f", 100*f.Share), "`"+f.Name+"`")
		}
		_, err := io.WriteString(to, "\n"+t.String())
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// text is the report of one part in Markdown.
func (r *report) text() string {
	var b strings.Builder
	m := r.Machine
	java, revision := "", ""
	if m.Java != "" {
		java = ", " + m.Java
	}
	if m.Revision != "" {
		revision = " Gateway: " + m.Revision + "."
	}
	fmt.Fprintf(&b, "%s. %s, %d cores, %s of memory, Linux %s, %s. Broker: %s%s.%s\n",
		r.When.Format("2 January 2006"), m.CPU, m.Cores, m.Memory, m.Kernel, m.Go, m.Broker, java, revision)
	more := fmt.Sprintf("open loop at %.0f requests/s", r.Settings.Rate)
	if slices.ContainsFunc(r.Results, func(one result) bool { return one.reads() }) {
		more = fmt.Sprintf("%d records in a batch", batchRecords)
	}
	fmt.Fprintf(&b, "%d rounds of %s after %s of warm-up; JSON values of %d bytes, no keys, %d partitions; %s.\n",
		r.Settings.Rounds, r.Settings.Measure, r.Settings.WarmUp, r.Settings.ValueSize, partitions, more)
	fmt.Fprintf(&b, "%s\n", r.noise())
	for _, section := range []struct {
		title string
		table table
	}{
		{"Targets", r.targets()},
		{"Cost", r.costs()},
		{"What reading costs", r.readings()},
		{"Beside the bare programs", r.ratios()},
		{"Latency and memory", r.latencies()},
		{"Where the gateway's CPU time goes", r.splits()},
	} {
		if len(section.table.rows) > 0 {
			fmt.Fprintf(&b, "\n#### %s\n\n%s", section.title, section.table.String())
		}
	}
	return b.String()
}

// noise says how quiet the computer was.
func (r *report) noise() string {
	var strangers, stolen sample
	for _, one := range r.Results {
		for _, runs := range one.Runs {
			for _, m := range runs {
				strangers = append(strangers, 100*m.Strangers)
				stolen = append(stolen, 100*m.Stolen)
			}
		}
	}
	return fmt.Sprintf("Other programs used %s %% of the cores meanwhile, the hypervisor took %s %%. Values are medians of the rounds [least–most].",
		strangers.text(1), stolen.text(1))
}

// of gives one figure of every round.
func (r *result) of(what subject, figure func(measurement) float64) sample {
	var s sample
	for _, m := range r.Runs[what] {
		s = append(s, figure(m))
	}
	return s
}

// per gives, for every round, the gateway's figure divided by another program's.
func (r *result) per(by subject, figure func(measurement) float64) sample {
	return r.of(gatewaySubject, figure).over(r.of(by, figure))
}

func cpuRequest(m measurement) float64 { return m.CPURequest }
func cpuRecord(m measurement) float64  { return m.CPURecord }
func perSecond(m measurement) float64  { return m.RecordsPerSecond }

func (r *report) costs() table {
	t := table{head: []string{"scenario", "program", "records/s", "CPU µs/request", "CPU µs/record", "cores busy", "generator's cores"}, left: 2}
	for _, one := range r.Results {
		if one.reads() {
			continue // see readings
		}
		for i, what := range one.subjects() {
			name := ""
			if i == 0 {
				name = fmt.Sprintf("**%s** %s", one.Name, one.describe())
			}
			perRequest := one.of(what, cpuRequest).text(1)
			if one.Shape == streaming {
				perRequest = "–"
			}
			t.add(name, string(what), one.of(what, perSecond).text(0), perRequest, one.of(what, cpuRecord).text(2),
				one.of(what, func(m measurement) float64 { return m.CPU }).median(2), one.of(what, func(m measurement) float64 { return m.Generator }).median(2))
		}
	}
	return t
}

func (r *report) ratios() table {
	t := table{head: []string{"scenario", "gateway ÷ net/http, CPU a request", "gateway ÷ sarama, CPU a record", "gateway ÷ (net/http + sarama)", "gateway ÷ sarama, records/s"}, left: 1}
	for _, one := range r.Results {
		if one.reads() {
			continue
		}
		both := one.of(echoSubject, cpuRecord).plus(one.of(saramaSubject, cpuRecord))
		t.add(one.Name, one.per(echoSubject, cpuRequest).text(2), one.per(saramaSubject, cpuRecord).text(2),
			one.of(gatewaySubject, cpuRecord).over(both).text(2), one.per(saramaSubject, perSecond).text(2))
	}
	return t
}

func (r *report) latencies() table {
	t := table{head: []string{"scenario", "program", "p50 ms", "p99 ms", "p99.9 ms", "RSS MiB", "peak RSS MiB"}, left: 2}
	for _, one := range r.Results {
		for i, what := range one.subjects() {
			name := ""
			if i == 0 {
				name = one.Name
			}
			t.add(name, string(what),
				one.of(what, func(m measurement) float64 { return m.P50 }).text(2),
				one.of(what, func(m measurement) float64 { return m.P99 }).text(2),
				one.of(what, func(m measurement) float64 { return m.P999 }).text(2),
				one.of(what, func(m measurement) float64 { return m.RSS }).median(0),
				one.of(what, func(m measurement) float64 { return m.PeakRSS }).median(0))
		}
	}
	return t
}

// readings has what reading costs and how that compares, from fetch to answer.
func (r *report) readings() table {
	t := table{head: []string{"scenario", "program", "records/s", "MB/s", "records/answer", "CPU µs/answer", "CPU µs/record", "÷ sarama's", "cores busy", "generator's cores"}, left: 2}
	for _, one := range r.Results {
		if !one.reads() {
			continue
		}
		for i, what := range one.subjects() {
			name := ""
			if i == 0 {
				name = fmt.Sprintf("**%s** %s", one.Name, one.describe())
			}
			ratio := one.of(what, cpuRecord).over(one.of(saramaSubject, cpuRecord))
			if what == saramaSubject {
				ratio = nil
			}
			t.add(name, string(what), one.of(what, perSecond).text(0),
				one.of(what, func(m measurement) float64 { return m.RecordsPerSecond * float64(r.Settings.ValueSize) / 1e6 }).median(0),
				one.of(what, func(m measurement) float64 { return m.RecordsPerSecond / m.RequestsPerSecond }).median(1),
				one.of(what, cpuRequest).text(1), one.of(what, cpuRecord).text(2), ratio.text(2),
				one.of(what, func(m measurement) float64 { return m.CPU }).median(2), one.of(what, func(m measurement) float64 { return m.Generator }).median(2))
		}
	}
	return t
}

// splits has a column for each profiled scenario: the share, and what it is of the CPU time of a record as the rounds had it.
func (r *report) splits() table {
	t := table{head: []string{"part"}, left: 1}
	var profiled []result
	var names []string
	for _, one := range r.Results {
		if one.Split == nil {
			continue
		}
		profiled = append(profiled, one)
		t.head = append(t.head, one.Name+" %", "µs/record")
		for _, part := range one.Split.Parts {
			if !slices.Contains(names, part.Name) {
				names = append(names, part.Name)
			}
		}
	}
	for _, name := range names {
		row := []string{name}
		for _, one := range profiled {
			share := 0.0
			for _, part := range one.Split.Parts {
				if part.Name == name {
					share = part.Share
				}
			}
			row = append(row, fmt.Sprintf("%.1f", 100*share), fmt.Sprintf("%.2f", share*one.of(gatewaySubject, cpuRecord).middle()))
		}
		t.add(row...)
	}
	return t
}
