package record

import "time"

// AnyTimestamp as a Stored record's Timestamp means that it has none, as in logs of the oldest brokers.
const AnyTimestamp int64 = -1

// Stored is one record as it lies in the log of a partition. A nil Key or Value is Kafka's null. The bytes may share the memory of
// everything that was fetched with them: whoever keeps one beyond the answer copies it.
type Stored struct {
	Offset    int64
	Timestamp int64 // milliseconds since 1970 UTC, or AnyTimestamp
	Key       []byte
	Value     []byte
	Headers   []Header
}

// Time is the record's timestamp; the zero Time when it has none.
func (s *Stored) Time() time.Time {
	if s.Timestamp < 0 {
		return time.Time{}
	}
	return time.UnixMilli(s.Timestamp).UTC()
}

// Size is the number of bytes that max_bytes and bills count: key and value.
func (s *Stored) Size() int { return len(s.Key) + len(s.Value) }

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// Range is what lies in a partition from offset Start up to, but not including, End: in the order of their offsets, the records
// that may be read. Offsets between them that have none were compacted away, or were a transaction's marks or aborted records.
type Range struct {
	TopicPartition
	Start, End int64
	Records    []Stored
}
