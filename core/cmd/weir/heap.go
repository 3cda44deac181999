package main

import (
	"os"
	"runtime"
	"runtime/debug"
)

// heapFloor is memory that is taken and never touched, so the system never gives it: it only makes Go's collector wait until as much
// again has become garbage. The gateway's own heap is a few megabytes, and without the floor the collector would look through it dozens of
// times in a second.
const heapFloor = 32 << 20

// holdHeapFloor takes the floor, until release is called. An operator who tunes the collector (GOGC), or gives so little memory (GOMEMLIMIT)
// that the floor would be felt, goes without.
func holdHeapFloor() (release func()) {
	const roomy = 8 * heapFloor
	if os.Getenv("GOGC") != "" || debug.SetMemoryLimit(-1) < roomy {
		return func() {}
	}
	floor := make([]byte, heapFloor)
	return func() { runtime.KeepAlive(floor) }
}
