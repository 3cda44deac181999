package reader

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-gateway/weir/core/internal/embedded"
	"github.com/weir-gateway/weir/core/internal/record"
)

// A few records out of a huge batch keep only what they are; more of it keep all of it, and all of it is counted.
//
//nolint:paralleltest // the heap is this test's alone
func TestWhatIsKeptOfAHugeBatch(t *testing.T) {
	const records, size = 150, 100_000 // 15 MB, compressed to a few kilobytes
	settings := consumeSettings()
	settings.BufferBytes = 256 << 20
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}}, settings)
	p := newProducer(t, r.broker.Addresses(), kgo.ProducerBatchCompression(kgo.ZstdCompression()), kgo.ProducerBatchMaxBytes(64<<20),
		kgo.BrokerMaxWriteBytes(128<<20), kgo.ProducerLinger(500*time.Millisecond))
	all := values("a", 0, records, size)
	all[records-1].Value = []byte("last")
	produce(t, p, all...)
	results, release, err := r.reader.Fetch(t.Context(), []record.Position{position("a", 0, records/2)}, Options{Wait: 10 * time.Second})
	if err != nil || len(results[0].Records) != records/2 {
		t.Fatal(err, len(results[0].Records))
	}
	if held := r.reader.Buffered(); held < (records-1)*size {
		t.Errorf("%d bytes are counted for half of a batch of %d", held, records*size)
	}
	release()
	if e, _ := r.reader.expansions.of("a"); e.batch < (records-1)*size {
		t.Errorf("%+v is known of batches of %d bytes", e, records*size)
	}
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	var kept [][]Result
	var releases []func()
	for range 16 {
		results, release, err := r.reader.Fetch(t.Context(), []record.Position{position("a", 0, records-1)}, Options{Wait: 10 * time.Second})
		if err != nil || string(results[0].Records[0].Value) != "last" {
			t.Fatal(err, results)
		}
		kept, releases = append(kept, results), append(releases, release)
	}
	if held := r.reader.Buffered(); held > 16*300 {
		t.Errorf("%d bytes are counted for 16 records of 4", held)
	}
	if grown := heap() - before; grown > 60<<20 { // the batches would be 240 MB
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	runtime.KeepAlive(kept)
	for _, release := range releases {
		release()
	}
}

func TestSettleMemory(t *testing.T) {
	t.Parallel()
	answer := []byte("0123456789")
	compressed := func(b *sarama.RecordBatch) { b.Codec = sarama.CompressionZSTD }
	for name, test := range map[string]struct {
		set    []*sarama.Records
		next   int64
		size   int
		held   int64 // beside what the records themselves take
		copied bool
	}{
		"nothing":                           {size: 1000},
		"the answer itself":                 {set: []*sarama.Records{batch(0, 99)}, size: 300, held: 300},
		"a little of the answer":            {set: []*sarama.Records{batch(0, 9)}, size: 1000, held: 10, copied: true},
		"a batch":                           {set: []*sarama.Records{batch(0, 9, compressed)}, size: 1000, held: 10},
		"half of a batch":                   {set: []*sarama.Records{batch(0, 9, compressed)}, next: 5, size: 1000, held: 10},
		"a little of a batch":               {set: []*sarama.Records{batch(0, 9, compressed)}, next: 8, size: 1000, held: 2, copied: true},
		"a batch and a little of the other": {set: []*sarama.Records{batch(0, 9, compressed), batch(10, 19)}, size: 1000, held: 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, set := range test.set {
				for i, r := range set.RecordBatch.Records {
					r.Key, r.Value = answer[:0], answer[i%10:i%10+1]
					r.Headers = []*sarama.RecordHeader{{Key: []byte{}, Value: nil}}
				}
			}
			gave := []taken{take(&sarama.FetchResponseBlock{RecordsSet: test.set}, test.next, false)}
			var before []string
			for _, r := range gave[0].records {
				before = append(before, fmt.Sprintf("%d %#v %q %#v", r.Offset, r.Key, r.Value, r.Headers))
			}
			count := int64(len(gave[0].records))
			held, _, _ := settleMemory(gave, test.size)
			var after []string
			for _, r := range gave[0].records {
				after = append(after, fmt.Sprintf("%d %#v %q %#v", r.Offset, r.Key, r.Value, r.Headers))
			}
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("copying changes records (-before +after):\n%s", diff)
			}
			if held -= count * (storedSize + headerSize); held != test.held {
				t.Errorf("held %d, want %d", held, test.held)
			}
			if count > 0 {
				value := &gave[0].records[0].Value[0]
				own := true
				for i := range answer {
					own = own && value != &answer[i]
				}
				if own != test.copied {
					t.Errorf("copied: %v, want %v", own, test.copied)
				}
			}
		})
	}
}
