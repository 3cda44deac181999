package reader

import (
	"cmp"
	"encoding/binary"
	"reflect"
	"slices"
	"time"
	"unsafe"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/internal/record"
)

// Bytes that are counted beside those of keys, values and headers.
const (
	batchOverhead  = 61 // in the log, for each batch
	recordOverhead = 8  // in the log, for each record, about
	storedSize     = int64(unsafe.Sizeof(record.Stored{}))
	headerSize     = int64(unsafe.Sizeof(record.Header{}))
)

// taken is what one block of an answer gave.
type taken struct {
	records []record.Stored
	next    int64 // where to go on; the offset that was asked for when nothing was passed
	logged  int   // bytes in the log, about: what MinBytes and MaxBytes count
	// held is how many bytes the records keep in memory, but for those of the answer itself: records that were compressed keep the whole
	// of what their batch was decompressed to, or are copied out of it.
	held  int64
	whole int64 // bytes in memory of all that came, taken or not
	batch int64 // of the largest batch in it
	// inAnswer are the first up to the last of the records whose bytes are those of the answer, which they keep as a whole, and answerBytes
	// how many they use.
	inAnswer    span
	answerBytes int64
	// more is how many bytes to ask for when the first batch did not fit into what was asked, as far as is known; 0: it did.
	more int
}

// span is records from start up to end.
type span struct{ start, end int }

// take gives the records of a block from offset next on. It copies keys and values only of a few in a large batch.
func take(block *sarama.FetchResponseBlock, next int64, committed bool) taken {
	t := taken{next: next}
	batches, legacy := t.choose(block, committed)
	count, headers := 0, 0
	for _, b := range batches {
		for _, r := range b.Records {
			if b.FirstOffset+r.OffsetDelta >= next {
				count++
				headers += len(r.Headers)
			}
		}
	}
	for _, set := range legacy { // what a log has of these is older than all else in it
		t.addLegacy(set, next)
	}
	if count > 0 {
		t.records = append(make([]record.Stored, 0, len(t.records)+count), t.records...)
		room := make([]record.Header, 0, headers)
		for _, b := range batches {
			room = t.add(b, next, room)
		}
	}
	return t
}

// choose picks the batches whose records may be seen, and moves next past everything that is complete.
func (t *taken) choose(block *sarama.FetchResponseBlock, committed bool) (batches []*sarama.RecordBatch, legacy []*sarama.MessageSet) {
	var aborted abortedTransactions
	if committed {
		aborted.init(block.AbortedTransactions)
	}
	if len(block.RecordsSet) == 0 {
		t.next = max(t.next, emptyBatchesEnd(block))
		if block.Partial {
			t.more = 1
		}
		return nil, nil
	}
	batches = make([]*sarama.RecordBatch, 0, len(block.RecordsSet))
	for i, records := range block.RecordsSet {
		if set := records.MsgSet; set != nil {
			legacy = append(legacy, set)
			if i == 0 && len(set.Messages) == 0 && (set.PartialTrailingMessage || set.OverflowMessage) {
				t.more = 1
			}
			continue
		}
		b := records.RecordBatch
		if b == nil {
			continue
		}
		if b.PartialTrailingRecord {
			if i == 0 {
				t.more = max(1, int(partialBatchSize(block)))
			}
			break
		}
		hidden := committed && aborted.hides(b)
		end := b.LastOffset() + 1
		if end > t.next && !hidden && !b.Control {
			batches = append(batches, b)
		}
		t.next = max(t.next, end)
	}
	return batches, legacy
}

func (t *taken) add(b *sarama.RecordBatch, from int64, room []record.Header) []record.Header {
	t.logged += batchOverhead
	start, kept, left, about := len(t.records), 0, 0, storedSize*int64(len(b.Records))
	first, latest := milliseconds(b.FirstTimestamp), milliseconds(b.MaxTimestamp)
	for _, r := range b.Records {
		offset := b.FirstOffset + r.OffsetDelta
		if offset < from {
			left += bytesOf(r)
			continue
		}
		timestamp := latest
		if !b.LogAppendTime {
			timestamp = record.AnyTimestamp
			if first != record.AnyTimestamp {
				timestamp = first + r.TimestampDelta.Milliseconds()
			}
		}
		stored := record.Stored{Offset: offset, Timestamp: timestamp, Key: r.Key, Value: r.Value}
		size := len(r.Key) + len(r.Value)
		if n := len(r.Headers); n > 0 {
			start := len(room)
			for _, h := range r.Headers {
				room = append(room, record.Header{Name: string(h.Key), Value: h.Value})
				size += len(h.Key) + len(h.Value)
			}
			stored.Headers = room[start:len(room):len(room)]
			t.held += headerSize * int64(n)
			about += headerSize * int64(n)
		}
		kept += size
		t.records = append(t.records, stored)
	}
	t.logged += kept + recordOverhead*(len(t.records)-start)
	t.held += storedSize * int64(len(t.records)-start)
	t.keep(span{start, len(t.records)}, b.Codec != sarama.CompressionNone, int64(kept), int64(left))
	about += int64(kept + left)
	t.whole += about
	t.batch = max(t.batch, about)
	return room
}

func bytesOf(r *sarama.Record) int {
	size := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		size += len(h.Key) + len(h.Value)
	}
	return size
}

// addLegacy takes records as brokers before 0.11 wrote them. A compressed set is wrapped in a message whose offset is that of the last
// one in it, and since version 1 offsets inside count from the first.
func (t *taken) addLegacy(set *sarama.MessageSet, from int64) {
	for _, outer := range set.Messages {
		messages := outer.Messages()
		start, kept, left := len(t.records), 0, 0
		for _, inner := range messages {
			offset, at := inner.Offset, inner.Msg.Timestamp
			if inner.Msg.Version >= 1 {
				offset += outer.Offset - messages[len(messages)-1].Offset
				if outer.Msg.LogAppendTime {
					at = outer.Msg.Timestamp
				}
			}
			size := len(inner.Msg.Key) + len(inner.Msg.Value)
			if offset < from {
				left += size
				continue
			}
			kept += size
			t.records = append(t.records, record.Stored{Offset: offset, Timestamp: milliseconds(at), Key: inner.Msg.Key, Value: inner.Msg.Value})
			t.logged += size + recordOverhead
			t.held += storedSize
			t.next = max(t.next, offset+1)
		}
		t.keep(span{start, len(t.records)}, outer.Msg.Set != nil, int64(kept), int64(left))
		about := int64(kept+left) + storedSize*int64(len(messages))
		t.whole += about
		t.batch = max(t.batch, about)
	}
}

func milliseconds(at time.Time) int64 {
	if at.IsZero() {
		return record.AnyTimestamp
	}
	return at.UnixMilli()
}

// abortedTransactions says which batches belong to transactions that were aborted: for one producer at a time, from the first offset
// that the broker names to the mark that ended it.
type abortedTransactions struct {
	coming []*sarama.AbortedTransaction // by first offset
	open   []int64                      // producer ids; a handful
}

func (a *abortedTransactions) init(transactions []*sarama.AbortedTransaction) {
	a.coming = transactions
	slices.SortFunc(a.coming, func(x, y *sarama.AbortedTransaction) int { return cmp.Compare(x.FirstOffset, y.FirstOffset) })
}

// hides must be asked for every batch, in order.
func (a *abortedTransactions) hides(b *sarama.RecordBatch) bool {
	for len(a.coming) > 0 && a.coming[0].FirstOffset <= b.LastOffset() {
		if !slices.Contains(a.open, a.coming[0].ProducerID) {
			a.open = append(a.open, a.coming[0].ProducerID)
		}
		a.coming = a.coming[1:]
	}
	i := slices.Index(a.open, b.ProducerID)
	switch {
	case i < 0:
		return false
	case b.Control:
		if isAbort(b) {
			a.open = slices.Delete(a.open, i, i+1)
		}
		return true
	default:
		return b.IsTransactional
	}
}

// isAbort reports whether a control batch ends a transaction by aborting it: its key is a version and a type, 0 for abort.
func isAbort(b *sarama.RecordBatch) bool {
	if len(b.Records) == 0 {
		return false
	}
	key := b.Records[0].Key
	return len(key) >= 4 && binary.BigEndian.Uint16(key[2:]) == 0
}

// emptyBatchesEnd is the offset after batches without records, or -1 when there were none. Compaction leaves such a batch as the last
// of a producer. sarama leaves them out of what it gives and keeps their end to itself; without it a reader would never get past them.
func emptyBatchesEnd(block *sarama.FetchResponseBlock) int64 {
	field := reflect.ValueOf(block).Elem().FieldByName("recordsNextOffset")
	if field.Kind() != reflect.Pointer || field.IsNil() || !field.Elem().CanInt() {
		return -1
	}
	return field.Elem().Int()
}

// partialBatchSize is how large the batch is of which only the beginning came, or 0 when that is not known.
func partialBatchSize(block *sarama.FetchResponseBlock) int64 {
	field := reflect.ValueOf(block).Elem().FieldByName("partialBatchSize")
	if !field.IsValid() || !field.CanInt() {
		return 0
	}
	return field.Int()
}
