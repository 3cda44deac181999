package reader

import (
	"syscall"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-gateway/weir/core/internal/embedded"
	"github.com/weir-gateway/weir/core/internal/record"
)

// BenchmarkFetch reads records of 1 KiB, a MiB at a time, and the same with sarama alone. The broker is in the same process: what
// differs between the two is the reader's.
func BenchmarkFetch(b *testing.B) {
	const records = 8000
	r := newRig(b, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}}, consumeSettings())
	p := newProducer(b, r.broker.Addresses(), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(128<<10))
	for range records / 1000 {
		produce(b, p, values("a", 0, 1000, 1024)...)
	}
	report := func(b *testing.B, started time.Duration, read int) {
		b.ReportMetric(float64((processorTime(b)-started).Nanoseconds())/float64(read), "cpu-ns/record")
		b.ReportMetric(0, "ns/op")
	}
	b.Run("reader", func(b *testing.B) {
		b.ReportAllocs()
		at, read, started := position("a", 0, 0), 0, processorTime(b)
		for read < b.N {
			results, release, err := r.reader.Fetch(b.Context(), []record.Position{at}, Options{Wait: time.Second})
			if err != nil {
				b.Fatal(err)
			}
			read += len(results[0].Records)
			if at.Offset = results[0].End; results[0].AtEnd() {
				at.Offset = 0
			}
			release()
		}
		report(b, started, read)
	})
	b.Run("sarama", func(b *testing.B) {
		b.ReportAllocs()
		config := sarama.NewConfig()
		config.Version = sarama.V2_7_0_0
		conn := sarama.NewBroker(r.broker.Addresses()[0])
		if err := conn.Open(config); err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		offset, read, started := int64(0), 0, processorTime(b)
		for read < b.N {
			request := &sarama.FetchRequest{Version: 12, MinBytes: 1, MaxBytes: 1 << 20, MaxWaitTime: 500, SessionEpoch: -1}
			request.AddBlock("a", 0, offset, 1<<20, -1)
			response, err := conn.Fetch(request)
			if err != nil {
				b.Fatal(err)
			}
			for _, set := range response.GetBlock("a", 0).RecordsSet {
				read += len(set.RecordBatch.Records)
				offset = set.RecordBatch.LastOffset() + 1
			}
			if offset >= records {
				offset = 0
			}
		}
		report(b, started, read)
	})
}

// BenchmarkFetchMany reads a little from many partitions at a time.
func BenchmarkFetchMany(b *testing.B) {
	const partitions = 50
	r := newRig(b, embedded.Options{Topics: []embedded.Topic{{Name: "a", Partitions: partitions}}}, consumeSettings())
	p := newProducer(b, r.broker.Addresses())
	var positions []record.Position
	for i := range int32(partitions) {
		produce(b, p, values("a", i, 10, 100)...)
		positions = append(positions, position("a", i, 0))
	}
	b.ReportAllocs()
	for b.Loop() {
		results, release, err := r.reader.Fetch(b.Context(), positions, Options{})
		if err != nil || len(results[7].Records) != 10 {
			b.Fatal(results, err)
		}
		release()
	}
}

// processorTime is what this process has used.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
