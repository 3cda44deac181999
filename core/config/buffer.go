package config

import (
	"math"
	"runtime/debug"
)

// DefaultBuffer is what produce.buffer_bytes and limits.buffered_bytes mean by zero, in bytes: a quarter of the memory limit
// (GOMEMLIMIT), or 256 MiB without one.
func DefaultBuffer() int64 {
	if limit := debug.SetMemoryLimit(-1); limit > 0 && limit < math.MaxInt64 {
		return limit / 4
	}
	return 256 << 20
}
