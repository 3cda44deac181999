package reader

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/weir-gateway/weir/core/internal/embedded"
	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/record"
)

// sarama counts fetches for each topic in the metrics library's own registry, whatever registry it is given; the library has one goroutine
// for all of them, which never ends.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick"))
}

// Whoever goes on from End gets every record once and in order, however little is asked for at a time.
func TestNothingIsLostAndNothingComesTwice(t *testing.T) {
	t.Parallel()
	const partitions, each = 6, 400
	for _, maxBytes := range []int{1, 700, 4096, 1 << 20} {
		t.Run(fmt.Sprint(maxBytes), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, embedded.Options{Brokers: 3, Topics: []embedded.Topic{{Name: "a", Partitions: partitions}}}, consumeSettings())
			p := newProducer(t, r.broker.Addresses())
			var positions []record.Position
			random := rand.New(rand.NewPCG(1, 2))
			for partition := range int32(partitions) {
				all := values("a", partition, each, 30)
				for len(all) > 0 { // batches of many sizes
					n := min(len(all), 1+random.IntN(60))
					produce(t, p, all[:n]...)
					all = all[n:]
				}
				positions = append(positions, position("a", partition, 0))
			}
			got := readAll(t, r.reader, positions, Options{Wait: 500 * time.Millisecond, MaxBytes: maxBytes})
			for partition := range int32(partitions) {
				records := got[record.TopicPartition{Topic: "a", Partition: partition}]
				if len(records) != each {
					t.Errorf("partition %d: %d records, want %d", partition, len(records), each)
					continue
				}
				for i := range records {
					if prefix := fmt.Appendf(nil, "%d/%d/", partition, i); records[i].Offset != int64(i) || !bytes.HasPrefix(records[i].Value, prefix) {
						t.Fatalf("partition %d, record %d: offset %d, value %.20q", partition, i, records[i].Offset, records[i].Value)
					}
				}
			}
		})
	}
}

func TestRecordsComeAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	when := time.UnixMilli(1_700_000_000_123)
	for name, codec := range map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}}, consumeSettings())
			large := bytes.Repeat([]byte("0123456789"), 1000)
			produce(t, newProducer(t, r.broker.Addresses(), kgo.ProducerBatchCompression(codec)),
				&kgo.Record{Topic: "a", Key: []byte("k"), Value: large, Timestamp: when, Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("1")}, {Key: "h"}, {Key: "", Value: []byte{}}}},
				&kgo.Record{Topic: "a", Key: []byte{}, Value: nil, Timestamp: when.Add(5 * time.Millisecond)},
				&kgo.Record{Topic: "a", Key: nil, Value: []byte{}, Timestamp: when.Add(-time.Millisecond)},
			)
			got := r.fetchOne(t, position("a", 0, 0), Options{Wait: time.Second})
			want := Result{
				Range: record.Range{TopicPartition: record.TopicPartition{Topic: "a"}, End: 3, Records: []record.Stored{
					{Offset: 0, Timestamp: when.UnixMilli(), Key: []byte("k"), Value: large, Headers: []record.Header{{Name: "h", Value: []byte("1")}, {Name: "h"}, {Value: []byte{}}}},
					{Offset: 1, Timestamp: when.UnixMilli() + 5, Key: []byte{}},
					{Offset: 2, Timestamp: when.UnixMilli() - 1, Value: []byte{}},
				}},
				HighWatermark: 3, Readable: 3,
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if !got.AtEnd() {
				t.Error("not at the end")
			}
			// In the middle of a batch.
			if got := r.fetchOne(t, position("a", 0, 2), Options{Wait: time.Second}); len(got.Records) != 1 || got.Records[0].Offset != 2 || got.Start != 2 || got.End != 3 {
				t.Errorf("from offset 2: %+v", got)
			}
		})
	}
}

// A batch larger than MaxBytes comes alone, and whole.
func TestAHugeBatchComesWhole(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a", Partitions: 2}}}, consumeSettings())
	p := newProducer(t, r.broker.Addresses(), kgo.ProducerBatchMaxBytes(8<<20), kgo.ProducerBatchCompression(kgo.NoCompression()))
	huge := bytes.Repeat([]byte("y"), 900_000)
	produce(t, p, &kgo.Record{Topic: "a", Value: huge})
	produce(t, p, &kgo.Record{Topic: "a", Value: huge})
	produce(t, p, values("a", 1, 10, 100)...)
	got := r.fetchOne(t, position("a", 0, 0), Options{Wait: time.Second, MaxBytes: 1000})
	if len(got.Records) != 1 || len(got.Records[0].Value) != len(huge) || got.End != 1 {
		t.Errorf("%d records up to %d", len(got.Records), got.End)
	}
	// Neither partition keeps the other from getting on, call for call.
	positions := []record.Position{position("a", 0, 0), position("a", 1, 0)}
	for call := range 2 {
		results, release, err := r.reader.Fetch(t.Context(), positions, Options{Wait: time.Second, MaxBytes: 1000})
		release()
		if err != nil {
			t.Fatal(err)
		}
		for i := range results {
			if results[i].End == positions[i].Offset && !(call == 1 && i == 1) {
				t.Errorf("call %d: partition %d stays at %d", call, i, results[i].End)
			}
			positions[i].Offset = results[i].End
		}
	}
}

func TestWaiting(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Brokers: 2, Topics: []embedded.Topic{{Name: "a", Partitions: 4}}}, consumeSettings())
	p := newProducer(t, r.broker.Addresses())
	all := []record.Position{position("a", 0, 0), position("a", 1, 0), position("a", 2, 0), position("a", 3, 0)}
	for _, positions := range [][]record.Position{all, all[:1]} {
		t.Run(fmt.Sprint(len(positions)), func(t *testing.T) {
			started := time.Now()
			results, release, err := r.reader.Fetch(t.Context(), positions, Options{Wait: 300 * time.Millisecond})
			release()
			if took := time.Since(started); err != nil || took < 280*time.Millisecond || took > 550*time.Millisecond {
				t.Errorf("with nothing to read: %v after %v", err, took)
			}
			for i := range results {
				if results[i].Err != nil || len(results[i].Records) > 0 || !results[i].AtEnd() {
					t.Errorf("%+v", results[i])
				}
			}
			started = time.Now()
			if _, release, err = r.reader.Fetch(t.Context(), positions, Options{}); err != nil || time.Since(started) > 150*time.Millisecond {
				t.Errorf("without waiting: %v after %v", err, time.Since(started))
			}
			release()
		})
	}

	t.Run("ends with the first record", func(t *testing.T) {
		done := make(chan []Result, 1)
		started := time.Now()
		go func() {
			results, release, err := r.reader.Fetch(t.Context(), all, Options{Wait: 20 * time.Second})
			release()
			if err != nil {
				t.Error(err)
			}
			done <- results
		}()
		holdsWithin(t, 5*time.Second, "a fetch is under way", func() bool { return r.reader.Buffered() > 0 })
		produce(t, p, &kgo.Record{Topic: "a", Partition: 3, Value: []byte("v")})
		if results := <-done; len(results[3].Records) != 1 || time.Since(started) > 5*time.Second {
			t.Errorf("%+v after %v", results[3], time.Since(started))
		}
	})
	t.Run("gathers", func(t *testing.T) {
		done := make(chan Result, 1)
		go func() { done <- r.fetchOne(t, position("a", 0, 0), Options{Wait: 20 * time.Second, MinBytes: 1000}) }()
		for range 4 {
			produce(t, p, values("a", 0, 1, 300)...)
		}
		if got := <-done; len(got.Records) < 3 || got.End != int64(len(got.Records)) {
			t.Errorf("%d records up to %d", len(got.Records), got.End)
		}
		if got := r.fetchOne(t, position("a", 0, 0), Options{Wait: 200 * time.Millisecond, MinBytes: 1_000_000}); len(got.Records) != 4 {
			t.Errorf("%d records when the wait is over, want the 4 that there are", len(got.Records))
		}
	})
}

func TestErrorsOfPartitions(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a", Partitions: 2}}}, consumeSettings())
	produce(t, newProducer(t, r.broker.Addresses()), values("a", 0, 3, 10)...)
	started := time.Now()
	results, release, err := r.reader.Fetch(t.Context(), []record.Position{
		position("a", 0, 9), position("a", 1, 0), position("none", 0, 0), position("a", 7, 0), position("a", -1, 0),
	}, Options{Wait: 10 * time.Second})
	release()
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("errors that waiting cannot cure came after %v", took)
	}
	wantCode(t, "beyond the end", results[0].Err, fault.OffsetOutOfRange)
	if results[0].LogStart != 0 || results[0].Readable != 3 {
		t.Errorf("the log is said to be %d to %d, want 0 to 3", results[0].LogStart, results[0].Readable)
	}
	if results[1].Err != nil {
		t.Errorf("a good partition: %v", results[1].Err)
	}
	wantCode(t, "unknown topic", results[2].Err, fault.UnknownTopic)
	wantCode(t, "negative partition", results[4].Err, fault.PartitionNotFound)

	results, release, err = r.reader.Fetch(t.Context(), []record.Position{position("a", 7, 0)}, Options{})
	release()
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, "unknown partition", results[0].Err, fault.PartitionNotFound)

	_, release, err = r.reader.Fetch(t.Context(), []record.Position{position("a", 0, 0), position("a", 0, 1)}, Options{})
	release()
	wantCode(t, "twice", err, fault.InvalidRequest)
}

func TestNoPartitionIsReadTwice(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a", Partitions: 40}}}, consumeSettings())
	for _, count := range []int32{1, 2, fewPositions, fewPositions + 1, 40} {
		var positions []record.Position
		for i := range count {
			positions = append(positions, position("a", i, 0))
		}
		_, release, err := r.reader.Fetch(t.Context(), positions, Options{})
		release()
		if err != nil {
			t.Errorf("%d partitions: %v", count, err)
		}
		_, release, err = r.reader.Fetch(t.Context(), append(positions, position("a", count-1, 7)), Options{})
		release()
		wantCode(t, fmt.Sprintf("one of %d twice", count), err, fault.InvalidRequest)
	}
}
