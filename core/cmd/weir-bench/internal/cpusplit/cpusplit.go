// Package cpusplit says what a gateway spent its CPU time on, from a CPU profile of it.
//
// A profile's samples are stacks. Each is given to the part of the gateway whose code is innermost in it, so that memory
// allocated by the JSON reader or a write done by the Kafka client is theirs, while what no part's code stands in – the
// garbage collector's and the scheduler's own work – stays the runtime's. The parts are named by import paths here and
// nowhere else.
package cpusplit

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/google/pprof/profile"
)

// Part is one part of the gateway with its share.
type Part struct {
	Name  string  `json:"part"`
	Share float64 `json:"share"` // of all CPU time, 0 to 1
}

// The parts.
const (
	http      = "HTTP server (net/http)"
	chain     = "request chain and answers (rest)"
	json      = "JSON and record decoding"
	producer  = "producer (ours)"
	reader    = "reader and instances (ours)"
	sarama    = "Kafka client (sarama)"
	log       = "access log and metrics"
	collector = "garbage collector, its own goroutines"
	scheduler = "scheduler and network poller"
	rest      = "rest of the runtime"
)

// ours begins the import paths of this module's packages.
const ours = "github.com/weir-gateway/weir/core/"

// rule gives functions whose names begin with a prefix to a part.
type rule struct{ prefix, part string }

// code are the rules for the gateway's parts, tried in order on each function of a stack from the innermost out; the first that
// fits decides.
var code = []rule{
	{ours + "internal/rest.(*Handler).logAccess", log},
	{ours + "internal/telemetry.", log},
	{"log/slog", log},
	{"github.com/prometheus/", log},

	{ours + "internal/rawjson.", json},
	{ours + "internal/format.", json},
	{ours + "internal/rest/v2.(*decoder)", json},
	{ours + "internal/rest/v3.(*decoder)", json},
	{"github.com/go-json-experiment/json", json},
	{"encoding/base64.", json},

	// The connections that watch answers stand between sarama and the socket: the system calls are sarama's.
	{ours + "internal/kafka/producer.(*wireConn).Read", sarama},
	{ours + "internal/kafka/producer.(*wireConn).Write", sarama},
	{ours + "internal/kafka.(*guardedConn)", sarama},
	{ours + "internal/kafka.(*countedConn)", sarama},
	{ours + "internal/kafka/reader.", reader},
	{ours + "internal/kafka/consumer.", reader},
	{ours + "internal/kafka.(*FetchPool)", reader},
	{ours + "internal/kafka", producer},
	{"github.com/IBM/sarama", sarama},

	{ours + "internal/rest", chain},
	{ours, chain},
	{"net/http", http},
	{"net/textproto.", http},
	{"golang.org/x/net/", http},
}

// ownWork are the rules for stacks in which no part's code stands.
var ownWork = []rule{
	{"runtime.gcBgMarkWorker", collector},
	{"runtime.bgsweep", collector},
	{"runtime.bgscavenge", collector},
	{"runtime.schedule", scheduler},
	{"runtime.findRunnable", scheduler},
	{"runtime.mcall", scheduler},
	{"runtime.mstart", scheduler},
	{"runtime.netpoll", scheduler},
}

// Function is a function with its own share: time in it and in nothing that it called.
type Function struct {
	Name  string  `json:"function"`
	Share float64 `json:"share"`
}

// Split is a profile taken apart.
type Split struct {
	// Parts are all parts with a share, the largest first.
	Parts []Part `json:"parts"`
	// Hot are the functions with the largest shares of their own.
	Hot []Function `json:"hot"`
}

// Read takes a CPU profile apart and names the hot functions, as many as asked for.
func Read(from io.Reader, hot int) (Split, error) {
	p, err := profile.Parse(from)
	if err != nil {
		return Split{}, fmt.Errorf("CPU profile: %w", err)
	}
	value := len(p.SampleType) - 1 // CPU time; the one before it counts samples
	if value < 0 || p.SampleType[value].Type != "cpu" {
		return Split{}, fmt.Errorf("not a CPU profile: %v", p.SampleType)
	}
	total := int64(0)
	parts, functions := map[string]int64{}, map[string]int64{}
	for _, sample := range p.Sample {
		stack := names(sample)
		if len(stack) == 0 {
			continue
		}
		total += sample.Value[value]
		parts[partOf(stack)] += sample.Value[value]
		functions[stack[0]] += sample.Value[value]
	}
	if total == 0 {
		return Split{}, fmt.Errorf("the CPU profile has no samples")
	}
	var split Split
	for name, n := range parts {
		split.Parts = append(split.Parts, Part{name, float64(n) / float64(total)})
	}
	slices.SortFunc(split.Parts, func(a, b Part) int { return cmp.Or(cmp.Compare(b.Share, a.Share), cmp.Compare(a.Name, b.Name)) })
	for name, n := range functions {
		split.Hot = append(split.Hot, Function{name, float64(n) / float64(total)})
	}
	slices.SortFunc(split.Hot, func(a, b Function) int { return cmp.Or(cmp.Compare(b.Share, a.Share), cmp.Compare(a.Name, b.Name)) })
	split.Hot = split.Hot[:min(hot, len(split.Hot))]
	return split, nil
}

// names gives a sample's functions, the innermost first, inlined ones too.
func names(sample *profile.Sample) []string {
	var stack []string
	for _, location := range sample.Location {
		for _, line := range location.Line {
			if line.Function != nil {
				stack = append(stack, line.Function.Name)
			}
		}
	}
	return stack
}

func partOf(stack []string) string {
	for _, rules := range [][]rule{code, ownWork} {
		for _, function := range stack {
			for _, rule := range rules {
				if strings.HasPrefix(function, rule.prefix) {
					return rule.part
				}
			}
		}
	}
	return rest
}
