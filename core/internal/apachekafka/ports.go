//go:build unix

package apachekafka

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports for brokers lie below the range from which systems take the local ports of outgoing connections (32768 and up on
// Linux): in it, a port that was free when it was looked at may be some client's a moment later.
const (
	firstPort = 12000
	lastPort  = 32000
)

// FreePorts picks count different loopback ports at random on which nothing listens, all below the range of ephemeral
// ports. They are not reserved: whoever binds one must be ready to find that another process was quicker.
func FreePorts(count int) ([]int, error) {
	picked := make(map[int]bool, count)
	ports := make([]int, 0, count)
	for range 50 * (count + 1) {
		if len(ports) == count {
			return ports, nil
		}
		port := firstPort + rand.IntN(lastPort-firstPort)
		if picked[port] || !free(port) {
			continue
		}
		picked[port] = true
		ports = append(ports, port)
	}
	if len(ports) == count {
		return ports, nil
	}
	return nil, fmt.Errorf("found only %d of %d free ports between %d and %d on 127.0.0.1", len(ports), count, firstPort, lastPort)
}

func free(port int) bool {
	for _, host := range []string{"127.0.0.1", ""} {
		listener, err := net.Listen("tcp4", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			return false
		}
		if listener.Close() != nil {
			return false
		}
	}
	return true
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
