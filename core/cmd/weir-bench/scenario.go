//go:build unix

package main

import (
	"fmt"
	"slices"
	"strings"
)

// shape is how records are brought, or taken out.
type shape string

const (
	closedLoop shape = "closed loop"    // v2 requests, one outstanding on each connection
	openLoop   shape = "open loop"      // v2 requests at a fixed rate
	streaming  shape = "v3 streams"     // batch is the number of records of a stream that are without a receipt
	readJSON   shape = "json instances" // consumer instances, one on each connection; batch is the most records of an answer
	readBinary shape = "binary instances"
)

// scenario is one kind of load.
type scenario struct {
	Name        string `json:"name"`
	Shape       shape  `json:"shape"`
	Connections int    `json:"connections"`
	Batch       int    `json:"batch"`
	profiled    bool   // its CPU time is taken apart
}

const (
	manyConnections = 64
	manyReaders     = 8
)

var scenarios = []scenario{
	{"batch-1", closedLoop, manyConnections, 1, true},
	{"batch-10", closedLoop, manyConnections, 10, true},
	{"batch-100", closedLoop, manyConnections, 100, true},
	{"batch-500", closedLoop, manyConnections, 500, false},
	{"stream-1", streaming, manyConnections, 1, false},
	{"stream-10", streaming, manyConnections, 10, true},
	{"stream-100", streaming, manyConnections, 100, false},
	{"low-1-batch-1", closedLoop, 1, 1, false},
	{"low-8-batch-1", closedLoop, 8, 1, false},
	{"low-1-batch-100", closedLoop, 1, 100, false},
	{"low-8-batch-100", closedLoop, 8, 100, false},
	{"open-batch-1", openLoop, manyConnections, 1, false},
	{"read-json", readJSON, manyReaders, 1000, true},
	{"read-json-alone", readJSON, 1, 1000, true},
	{"read-binary", readBinary, manyReaders, 1000, false},
	{"read-small", readJSON, manyReaders, 10, true},
	{"read-1", readJSON, 1, 1, false},
}

// quickScenarios are the main ones that a kind of broker can serve.
func quickScenarios(broker string) []string {
	names := []string{"batch-1", "batch-10", "batch-100", "stream-10", "low-1-batch-1"}
	if broker != "embedded" {
		names = append(names, "read-json")
	}
	return names
}

func scenarioNames() string {
	names := make([]string, 0, len(scenarios))
	for _, s := range scenarios {
		names = append(names, s.Name)
	}
	return strings.Join(names, ",")
}

// chosenScenarios gives those that were named, or all that a kind of broker can serve.
func chosenScenarios(names []string, broker string) ([]scenario, error) {
	impossible := func(s scenario) bool { return s.reads() && broker == "embedded" }
	if len(names) == 0 {
		return slices.DeleteFunc(slices.Clone(scenarios), impossible), nil
	}
	chosen := make([]scenario, 0, len(names))
	for _, name := range names {
		i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("--scenario %s: there is %s", name, scenarioNames())
		}
		if impossible(scenarios[i]) {
			return nil, fmt.Errorf("--scenario %s: the embedded broker keeps no records to read. Take --broker kafka", name)
		}
		chosen = append(chosen, scenarios[i])
	}
	return chosen, nil
}

// reads reports whether records are taken out.
func (s scenario) reads() bool { return s.Shape == readJSON || s.Shape == readBinary }

// format is the embedded format of a scenario that reads.
func (s scenario) format() string {
	if s.Shape == readBinary {
		return "binary"
	}
	return "json"
}

// maxBytes is what a read asks for: a record that makes an answer as long as that is not in it any more.
func (s scenario) maxBytes(valueSize int) int { return s.Batch*valueSize + 1 }

// describe says in words what the load is.
func (s scenario) describe() string {
	switch s.Shape {
	case streaming:
		return fmt.Sprintf("%d v3 streams, %d records outstanding on each", s.Connections, s.Batch)
	case readJSON, readBinary:
		return fmt.Sprintf("%d %s, each of all partitions, at most %s records an answer", s.Connections, s.Shape, number(float64(s.Batch), 0))
	case openLoop:
		return fmt.Sprintf("fixed rate over %d connections, %d records a request", s.Connections, s.Batch)
	default:
		return fmt.Sprintf("%d connections, %d records a request", s.Connections, s.Batch)
	}
}

// subject is a program that is measured.
type subject string

const (
	gatewaySubject subject = "gateway"
	echoSubject    subject = "bare net/http"
	saramaSubject  subject = "bare sarama"
)

// subjects are the programs of a scenario in the order of each round. Bare sarama has no request to be sent at a rate.
func (s scenario) subjects() []subject {
	if s.Shape == openLoop {
		return []subject{gatewaySubject, echoSubject}
	}
	return []subject{gatewaySubject, echoSubject, saramaSubject}
}
