package load

import (
	"math/bits"
	"time"
)

// Histogram counts durations with an error of at most 1/32 of each, from a microsecond to two hours. The zero value is
// empty. It is not safe for concurrent use: each connection has its own, and they are added in the end.
type Histogram struct {
	counts [buckets]uint64
	total  uint64
}

const (
	precision = 5 // bits of a duration that are kept, beside the leading one
	buckets   = (33 - precision + 1) << precision
)

// Add counts a duration. One beyond the range is counted at the range's end.
func (h *Histogram) Add(d time.Duration) {
	micros := uint64(max(0, d.Microseconds()))
	h.counts[bucket(min(micros, 1<<33-1))]++
	h.total++
}

// bucket numbers the values of each power of two with precision bits; small values have a bucket each.
func bucket(micros uint64) int {
	shift := max(0, bits.Len64(micros)-precision-1)
	return shift<<precision + int(micros>>shift)
}

// middle is the middle of a bucket, in microseconds.
func middle(bucket int) float64 {
	shift := max(0, bucket>>precision-1)
	low := uint64(bucket-shift<<precision) << shift
	return float64(low) + float64(uint64(1)<<shift-1)/2
}

// Merge adds another histogram's counts.
func (h *Histogram) Merge(other *Histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
}

// Count is how many durations were added.
func (h *Histogram) Count() uint64 { return h.total }

// Quantile gives the duration that the share q (0 to 1) of all durations does not exceed; 0 when there are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	rank := min(h.total-1, uint64(q*float64(h.total)))
	var seen uint64
	for i, n := range h.counts {
		if seen += n; seen > rank {
			return time.Duration(middle(i) * float64(time.Microsecond))
		}
	}
	return 0
}
