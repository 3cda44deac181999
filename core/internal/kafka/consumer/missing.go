package consumer

import (
	"encoding/binary"
	"strconv"

	"github.com/weir-gateway/weir/core/internal/record"
)

const (
	// missingRanges and missingBytes bound what an answer says of offsets that are gone: it has to fit into a header, as text.
	missingRanges = 32
	missingBytes  = 1900
	// runBytes is how much is kept of which offsets an answer had, all its partitions together.
	runBytes = 16 << 10
)

// run is offsets one after the other.
type run struct{ from, to int64 }

// runs are the offsets that records had, in order: pairs of how many offsets before each run had none and how many the run has. nil:
// not known, because there were too many.
type runs []byte

// runsOf gives the offsets of records that begin at start, if they fit into room bytes.
func runsOf(records []record.Stored, start int64, room int) runs {
	kept := runs{}
	for n := 0; n < len(records); {
		from := records[n].Offset
		next := from
		for ; n < len(records) && records[n].Offset == next; n++ {
			next++
		}
		kept = binary.AppendUvarint(kept, uint64(from-start))
		kept = binary.AppendUvarint(kept, uint64(next-from))
		if start = next; len(kept) > room {
			return nil
		}
	}
	return kept
}

// each calls f for every run of known runs.
func (r runs) each(start int64, f func(run)) {
	for len(r) > 0 {
		gap, n := binary.Uvarint(r)
		length, m := binary.Uvarint(r[n:])
		r = r[n+m:]
		start += int64(gap)
		f(run{start, start + int64(length)})
		start += int64(length)
	}
}

// missing gives the offsets up to next that the range had and has not any more; more than missingRanges become one range that covers them.
// Where it is not known which offsets it had, it is what lies between the records, if there are fewer than before.
func (a *repeated) missing() []record.Range {
	var gone []record.Range
	covering := false
	lack := func(from, to int64) {
		switch to = min(to, a.next); {
		case from >= to:
		case covering:
			gone[0].End = to
		case len(gone) == missingRanges:
			covering = true
			gone = []record.Range{{TopicPartition: a.p.TopicPartition, Start: gone[0].Start, End: to}}
		default:
			gone = append(gone, record.Range{TopicPartition: a.p.TopicPartition, Start: from, End: to})
		}
	}
	n := 0
	within := func(r run) {
		next := r.from
		for ; n < len(a.records) && a.records[n].Offset < r.to; n++ {
			lack(next, a.records[n].Offset)
			next = a.records[n].Offset + 1
		}
		lack(next, r.to)
	}
	switch {
	case a.runs != nil:
		a.runs.each(a.start, within)
	case a.next < a.end: // how many it had up to there is not known either
		for _, r := range a.lost {
			lack(r.from, r.to)
		}
	case len(a.records) != a.count:
		if within(run{a.start, a.end}); len(gone) > 1 {
			gone = []record.Range{{TopicPartition: a.p.TopicPartition, Start: gone[0].Start, End: gone[len(gone)-1].End}}
		}
	}
	return gone
}

// bounded makes ranges few enough for a header: if they are not, one that covers them for each partition, and only as many as fit. more is
// how many of those were left out.
func bounded(ranges []record.Range) (few []record.Range, more int) {
	if fitting(ranges) == len(ranges) {
		return ranges, 0
	}
	for _, r := range ranges {
		if n := len(few); n > 0 && few[n-1].TopicPartition == r.TopicPartition {
			few[n-1].End = r.End
			continue
		}
		few = append(few, r)
	}
	fit := fitting(few)
	return few[:fit], len(few) - fit
}

// fitting is how many of ranges fit into a header, written as topic:partition:from-to and parted by a comma and a space.
func fitting(ranges []record.Range) int {
	left := missingBytes
	for n := range min(len(ranges), missingRanges) {
		r := &ranges[n]
		left -= len(r.Topic) + len(strconv.Itoa(int(r.Partition))) + len(strconv.FormatInt(r.Start, 10)) + len(strconv.FormatInt(r.End, 10)) + len("::-, ")
		if left < 0 {
			return n
		}
	}
	return min(len(ranges), missingRanges)
}
