package reader

import (
	"github.com/weir-gateway/weir/core/internal/record"
)

// fewOf is of how many parts of a block the records must use less than one to be copied out of it: then it is garbage at once. A copy
// costs little beside what decompressing the block did.
const fewOf = 4

// keep notes what the records of a batch keep in memory: kept bytes are theirs, left ones those of others beside them.
func (t *taken) keep(records span, compressed bool, kept, left int64) {
	switch {
	case records.start == records.end:
	case !compressed:
		t.answerBytes += kept
		if t.inAnswer.end == 0 {
			t.inAnswer.start = records.start
		}
		t.inAnswer.end = records.end
	case kept*fewOf < kept+left:
		copyOut(t.records[records.start:records.end])
		t.held += kept
	default:
		t.held += kept + left
	}
}

// takenOf takes what an answer gave each of the ask's partitions; nothing for those that have an error, or none.
func takenOf(a *ask, committed bool) []taken {
	gave := make([]taken, len(a.parts))
	for i, p := range a.parts {
		if block := a.response.GetBlock(p.result.Topic, p.result.Partition); block != nil && block.Err == 0 {
			gave[i] = take(block, p.next, committed)
		}
	}
	return gave
}

// settleMemory gives how many bytes the records of an answer of a size keep: those that were not compressed keep all of it, or are
// copied out of it. whole is how many all of them would, and batch the same of the largest batch.
func settleMemory(gave []taken, size int) (held, whole, batch int64) {
	var inAnswer int64
	referred := false
	for i := range gave {
		t := &gave[i]
		held, whole, batch = held+t.held, whole+t.whole, max(batch, t.batch)
		inAnswer += t.answerBytes
		referred = referred || t.inAnswer.end > 0
	}
	switch {
	case !referred:
	case inAnswer*fewOf < int64(size):
		held += inAnswer
		for i := range gave {
			t := &gave[i]
			copyOut(t.records[t.inAnswer.start:t.inAnswer.end])
		}
	default:
		held += max(inAnswer, int64(size))
	}
	return held, whole, batch
}

// copyOut gives records bytes of their own.
func copyOut(records []record.Stored) {
	size := 0
	for i := range records {
		r := &records[i]
		size += len(r.Key) + len(r.Value)
		for j := range r.Headers {
			size += len(r.Headers[j].Value)
		}
	}
	room := make([]byte, 0, size)
	own := func(b []byte) []byte {
		if b == nil {
			return nil // is not the same as empty
		}
		start := len(room)
		room = append(room, b...)
		return room[start:len(room):len(room)]
	}
	for i := range records {
		r := &records[i]
		r.Key, r.Value = own(r.Key), own(r.Value)
		for j := range r.Headers {
			r.Headers[j].Value = own(r.Headers[j].Value)
		}
	}
}
