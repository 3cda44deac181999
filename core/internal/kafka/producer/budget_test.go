package producer

import (
	"testing"
	"time"
	"unsafe"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/embedded"
	"github.com/weir-gateway/weir/core/internal/record"
)

// TestHeadersCount: sarama waits, for all partitions of a broker, when what it holds of one is more than its largest message.
// A partition's limit must keep that out of reach also when records are little else than headers, and the budget must
// know of the memory.
func TestHeadersCount(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}}, func(_ *config.Cluster, p *config.Produce) { p.StallTimeout = time.Minute })
	r.produce(value("a", 0, "warm"))
	resume := r.broker.Hang("Produce", embedded.AnyNode, 0)
	defer resume()
	headers := make([]record.Header, 100)
	for i := range headers {
		headers[i].Name = "h"
	}
	records := make([]record.Record, 1020)
	for i := range records {
		records[i] = record.Record{Topic: "a", Partition: 0, Value: []byte{}, Headers: headers}
	}
	sent := make(chan *pending, 1)
	go func() { sent <- r.send(t.Context(), records...) }()
	partition := r.producer.topic("a").partition(0)
	eventually(t, "records wait for room", func() bool {
		partition.mu.Lock()
		defer partition.mu.Unlock()
		return len(partition.waiters) == 1
	})
	partition.mu.Lock()
	count, wire, counted := 0, 0, partition.bytes.Load()
	for d := partition.oldest; d != nil; d = d.newer {
		count++
		wire += d.message.ByteSize(2)
	}
	partition.mu.Unlock()
	if wire > r.producer.settings.MaxRecordBytes {
		t.Errorf("sarama counts %d bytes of the partition, and waits beyond %d", wire, r.producer.settings.MaxRecordBytes)
	}
	memory := int64(count) * int64(unsafe.Sizeof(delivery{})+100*(unsafe.Sizeof(sarama.RecordHeader{})+unsafe.Sizeof(&sarama.RecordHeader{})+1))
	if counted < memory {
		t.Errorf("%d bytes are counted for %d records that hold %d", counted, count, memory)
	}
	resume()
	for i, receipt := range (<-sent).all() {
		if receipt.Outcome != record.Persisted {
			t.Fatalf("record %d: %s", i, describe(receipt))
		}
	}
	eventually(t, "everything is given back", func() bool { records, bytes := r.producer.Buffered(); return records == 0 && bytes == 0 })
}

// TestSlabsCountToTheEnd: one record that hangs keeps the memory of its whole call.
func TestSlabsCountToTheEnd(t *testing.T) {
	t.Parallel()
	if size := int64(unsafe.Sizeof(delivery{})); size > deliveryBytes || size < deliveryBytes/2 {
		t.Errorf("a delivery is %d bytes, %d are counted", size, deliveryBytes)
	}
	r := newRig(t, embedded.Options{Brokers: 2, Topics: []embedded.Topic{{Name: "a", Partitions: 2}}}, func(c *config.Cluster, p *config.Produce) {
		p.StallTimeout, c.RequestTimeout = time.Minute, time.Minute
	})
	for id := range int32(2) {
		if err := r.broker.MoveLeader("a", id, id); err != nil {
			t.Fatal(err)
		}
	}
	r.produce(value("a", 0, "warm"), value("a", 1, "warm"))
	resume := r.broker.Hang("Produce", 0, 0)
	defer resume()
	records := batch("a", 1, 1000, 1)
	records[999] = value("a", 0, "hangs")
	p := r.send(t.Context(), records...)
	eventually(t, "all others are back", func() bool { n, _ := r.producer.Buffered(); return n == 1 })
	want := int64(unsafe.Sizeof(delivery{})) * 1000
	if _, bytes := r.producer.Buffered(); bytes < want || bytes > 1000*deliveryBytes+2*recordOverhead {
		t.Errorf("%d bytes are counted while a call's memory of %d is held", bytes, want)
	}
	resume()
	p.all()
	eventually(t, "everything is given back", func() bool { records, bytes := r.producer.Buffered(); return records == 0 && bytes == 0 })
}
