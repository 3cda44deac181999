//go:build unix

package main

import "fmt"

// What the gateway is to keep to. A peer is the faster of the REST bridges for Kafka that were measured on a computer of this
// kind, with a real Kafka and the load on its two cores, and the bare echo there tells how comparable this computer is.
const (
	echoLimit, echoGoal = 3.5, 2.5 // CPU of a request of one record, in echoes
	saramaLimit         = 2.0      // CPU of a record at 100 records a request, in bare producers
	readLimit           = 2.5      // CPU of a record that an instance reads as JSON, in sarama's fetch and copy
	peerLimit           = 3.0      // records/s, in the peer's
	peerEchoCPU         = 16.1     // µs a request of one record of a bare net/http echo there
)

// peerRates are the peer's records/s.
var peerRates = map[string]float64{"batch-1": 3511, "batch-10": 19087}

// targets says of each target whether it is met.
func (r *report) targets() table {
	t := table{head: []string{"target", "measured", ""}, left: 3}
	echo := 0.0
	for _, one := range r.Results {
		if one.Name == "batch-1" {
			echo = one.of(echoSubject, cpuRequest).middle()
			ratio := one.per(echoSubject, cpuRequest)
			t.add(fmt.Sprintf("CPU of a request of 1 record at most %.1f × the bare net/http's (goal %.1f ×)", echoLimit, echoGoal), ratio.text(2)+" ×",
				verdict(ratio.middle() <= echoLimit, ratio.middle() <= echoGoal))
		}
		if one.Name == "batch-100" {
			ratio := one.per(saramaSubject, cpuRecord)
			t.add(fmt.Sprintf("CPU of a record at 100 records a request at most %.1f × the bare sarama's", saramaLimit), ratio.text(2)+" ×",
				verdict(ratio.middle() <= saramaLimit, true))
		}
		if one.Name == "read-json" {
			ratio := one.per(saramaSubject, cpuRecord)
			t.add(fmt.Sprintf("CPU of a record that several instances read as JSON at most %.1f × the bare sarama's fetch and copy", readLimit), ratio.text(2)+" ×",
				verdict(ratio.middle() <= readLimit, true))
		}
		if one.Name == "read-json-alone" {
			ratio := one.per(saramaSubject, cpuRecord)
			t.add(fmt.Sprintf("the same for records that nobody else has read lately at most %.1f ×", readLimit), ratio.text(2)+" ×",
				verdict(ratio.middle() <= readLimit, true))
		}
	}
	for _, one := range r.Results {
		peer := peerRates[one.Name]
		if peer == 0 {
			continue
		}
		rate := one.of(gatewaySubject, perSecond)
		note := ""
		if echo > 0 {
			note = fmt.Sprintf("; this computer's bare echo takes %.1f µs of CPU, the peer's %.1f", echo, peerEchoCPU)
		}
		t.add(fmt.Sprintf("at least %.0f × the faster peer's %.0f records/s at %d records a request", peerLimit, peer, one.Batch),
			fmt.Sprintf("%.2f × (%s records/s)%s", rate.middle()/peer, rate.text(0), note), verdict(rate.middle() >= peerLimit*peer, true))
	}
	return t
}

func verdict(met, goal bool) string {
	switch {
	case !met:
		return "**missed**"
	case !goal:
		return "met, not the goal"
	default:
		return "met"
	}
}
