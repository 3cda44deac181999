//go:build unix

package main

import (
	"fmt"
	"slices"
	"strings"
)

// shape is how records are brought.
type shape string

const (
	closedLoop shape = "closed loop" // v2 requests, one outstanding on each connection
	openLoop   shape = "open loop"   // v2 requests at a fixed rate
	streaming  shape = "v3 streams"  // batch is the number of records of a stream that are without a receipt
)

// scenario is one kind of load.
type scenario struct {
	Name        string `json:"name"`
	Shape       shape  `json:"shape"`
	Connections int    `json:"connections"`
	Batch       int    `json:"batch"`
	profiled    bool   // its CPU time is taken apart
}

const manyConnections = 64

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
}

var quickScenarios = []string{"batch-1", "batch-10", "batch-100", "stream-10", "low-1-batch-1"}

func scenarioNames() string {
	names := make([]string, 0, len(scenarios))
	for _, s := range scenarios {
		names = append(names, s.Name)
	}
	return strings.Join(names, ",")
}

// chosenScenarios gives those that were named, or all.
func chosenScenarios(names []string) ([]scenario, error) {
	if len(names) == 0 {
		return scenarios, nil
	}
	chosen := make([]scenario, 0, len(names))
	for _, name := range names {
		i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("--scenario %s: there is %s", name, scenarioNames())
		}
		chosen = append(chosen, scenarios[i])
	}
	return chosen, nil
}

// describe says in words what the load is.
func (s scenario) describe() string {
	switch s.Shape {
	case streaming:
		return fmt.Sprintf("%d v3 streams, %d records outstanding on each", s.Connections, s.Batch)
	case openLoop:
		return fmt.Sprintf("fixed rate over %d connections, %d records a request", s.Connections, s.Batch)
	default:
		return fmt.Sprintf("%d connections, %d records a request", s.Connections, s.Batch)
	}
}

// subject is a program that is measured.
type subject string

const (
	gatewaySubject  subject = "gateway"
	echoSubject     subject = "bare net/http"
	producerSubject subject = "bare sarama"
)

// subjects are the programs of a scenario in the order of each round. The producer has no request to be sent at a rate.
func (s scenario) subjects() []subject {
	if s.Shape == openLoop {
		return []subject{gatewaySubject, echoSubject}
	}
	return []subject{gatewaySubject, echoSubject, producerSubject}
}
