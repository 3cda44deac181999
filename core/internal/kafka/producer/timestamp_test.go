package producer

import (
	"testing"
	"time"

	"github.com/weir-gateway/weir/core/internal/embedded"
	"github.com/weir-gateway/weir/core/internal/record"
)

// TestTimestampRange: what Kafka is told is the time that the record names, or the record is refused.
func TestTimestampRange(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a", Configs: map[string]string{"message.timestamp.after.max.ms": "9223372036854775807"}}}}, nil)
	for _, c := range []struct {
		ms   int64
		want string
	}{
		{0, "persisted 0@0"},
		{latestTimestamp, "persisted 0@1"},
		{latestTimestamp + 1, "not_persisted invalid_request"},
		{time.Date(2700, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli(), "not_persisted invalid_request"},
		{-1, "not_persisted invalid_request"},
	} {
		receipt := r.produce(record.Record{Topic: "a", Partition: 0, Value: []byte("x"), Timestamp: time.UnixMilli(c.ms)})[0]
		if got := describe(receipt); got != c.want {
			t.Errorf("timestamp %d: %s, %v; want %s", c.ms, got, receipt.Err, c.want)
		}
		if receipt.Err == nil && receipt.Timestamp.UnixMilli() != c.ms {
			t.Errorf("timestamp %d became %d", c.ms, receipt.Timestamp.UnixMilli())
		}
	}
}
