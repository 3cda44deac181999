package producer

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/embedded"
	"github.com/weir-gateway/weir/core/internal/record"
)

// The benchmarks send the same records through the producer and through a bare AsyncProducer with the same settings, from
// the same number of goroutines that each wait for their batch. Both numbers hold the embedded broker's share, which lives in
// this process: their difference is what the producer costs. cpu-ns/rec is the process's CPU time, the number to compare.

const (
	benchPartitions = 8
	benchCallers    = 32
)

func benchRecords(batch, size int) []record.Record {
	records := make([]record.Record, batch)
	for i := range records {
		records[i] = record.Record{Topic: "bench", Partition: int32(i % benchPartitions), Value: make([]byte, size)}
	}
	return records
}

func cpuTime() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func measure(b *testing.B, batch int, send func()) {
	b.ReportAllocs()
	var left atomic.Int64
	left.Store(int64(b.N))
	var callers sync.WaitGroup
	b.ResetTimer()
	before := cpuTime()
	for range benchCallers {
		callers.Go(func() {
			for left.Add(-int64(batch)) > -int64(batch) {
				send()
			}
		})
	}
	callers.Wait()
	b.StopTimer()
	b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/rec")
}

func BenchmarkProduce(b *testing.B) {
	for _, shape := range []struct{ batch, size int }{{1, 1024}, {100, 100}, {100, 1024}} {
		name := fmt.Sprintf("batch=%d/bytes=%d", shape.batch, shape.size)
		b.Run("weir/"+name, func(b *testing.B) {
			r := newRig(b, embedded.Options{Topics: []embedded.Topic{{Name: "bench", Partitions: benchPartitions}}, DiscardRecords: true},
				func(c *config.Cluster, p *config.Produce) { p.BufferBytes = 1 << 30 })
			r.produce(benchRecords(1, 1)...)
			measure(b, shape.batch, func() {
				records := benchRecords(shape.batch, shape.size)
				var open sync.WaitGroup
				open.Add(len(records))
				r.producer.Produce(b.Context(), records, func(_ int, receipt record.Receipt) {
					if receipt.Outcome != record.Persisted {
						b.Error(receipt.Err)
					}
					open.Done()
				})
				open.Wait()
			})
		})
		b.Run("sarama/"+name, func(b *testing.B) {
			broker, err := embedded.Start(embedded.Options{Topics: []embedded.Topic{{Name: "bench", Partitions: benchPartitions}}, DiscardRecords: true})
			if err != nil {
				b.Fatal(err)
			}
			defer broker.Close()
			r := newRigOn(b, broker, clusterSettings(broker.Addresses()...), produceSettings())
			config := r.client.ProducerConfig(produceSettings(), produceSettings().PartitionRecords)
			config.Producer.Partitioner = sarama.NewManualPartitioner
			config.Net.Proxy.Enable = false
			producer, err := sarama.NewAsyncProducer(broker.Addresses(), config)
			if err != nil {
				b.Fatal(err)
			}
			go func() {
				for m := range producer.Successes() {
					m.Metadata.(*sync.WaitGroup).Done()
				}
			}()
			go func() {
				for e := range producer.Errors() {
					b.Error(e)
					e.Msg.Metadata.(*sync.WaitGroup).Done()
				}
			}()
			measure(b, shape.batch, func() {
				records := benchRecords(shape.batch, shape.size)
				var open sync.WaitGroup
				open.Add(len(records))
				for i := range records {
					producer.Input() <- &sarama.ProducerMessage{Topic: "bench", Partition: records[i].Partition, Value: sarama.ByteEncoder(records[i].Value), Metadata: &open}
				}
				open.Wait()
			})
			producer.AsyncClose()
		})
	}
}
