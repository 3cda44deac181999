package reader

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/go-cmp/cmp"

	"github.com/weir-gateway/weir/core/internal/record"
)

// batch makes a batch whose records are "<offset>".
func batch(first, last int64, change ...func(*sarama.RecordBatch)) *sarama.Records {
	b := &sarama.RecordBatch{Version: 2, FirstOffset: first, LastOffsetDelta: int32(last - first), ProducerID: -1, FirstTimestamp: time.UnixMilli(1000), MaxTimestamp: time.UnixMilli(9000)}
	for offset := first; offset <= last; offset++ {
		delta := offset - first
		b.Records = append(b.Records, &sarama.Record{OffsetDelta: delta, TimestampDelta: time.Duration(delta) * time.Millisecond, Value: fmt.Append(nil, offset)})
	}
	for _, f := range change {
		f(b)
	}
	return &sarama.Records{RecordBatch: b}
}

func of(producer int64) func(*sarama.RecordBatch) {
	return func(b *sarama.RecordBatch) { b.ProducerID, b.IsTransactional = producer, true }
}

// mark is the end of a transaction.
func mark(at, producer int64, kind byte) *sarama.Records {
	return batch(at, at, of(producer), func(b *sarama.RecordBatch) {
		b.Control = true
		b.Records[0].Key = []byte{0, 0, 0, kind}
	})
}

const abortMark, commitMark = 0, 1

func without(offsets ...int64) func(*sarama.RecordBatch) {
	return func(b *sarama.RecordBatch) {
		var kept []*sarama.Record
		for _, r := range b.Records {
			gone := false
			for _, offset := range offsets {
				gone = gone || b.FirstOffset+r.OffsetDelta == offset
			}
			if !gone {
				kept = append(kept, r)
			}
		}
		b.Records = kept
	}
}

func TestTake(t *testing.T) {
	t.Parallel()
	cut := func(b *sarama.RecordBatch) { b.PartialTrailingRecord, b.Records = true, nil }
	for name, test := range map[string]struct {
		set       []*sarama.Records
		aborted   []*sarama.AbortedTransaction
		partial   bool
		next      int64
		committed bool
		want      []string
		wantNext  int64
		wantMore  bool
	}{
		"nothing":                       {next: 7, wantNext: 7},
		"from the middle of a batch":    {set: []*sarama.Records{batch(5, 8), batch(9, 10)}, next: 7, want: []string{"7", "8", "9", "10"}, wantNext: 11},
		"compacted":                     {set: []*sarama.Records{batch(5, 8, without(5, 7, 8)), batch(20, 21, without(21))}, next: 5, want: []string{"6", "20"}, wantNext: 22},
		"nothing left of what is asked": {set: []*sarama.Records{batch(5, 8, without(7, 8))}, next: 7, wantNext: 9},
		"a cut batch at the end":        {set: []*sarama.Records{batch(5, 6), batch(7, 9, cut)}, next: 5, want: []string{"5", "6"}, wantNext: 7},
		"a cut batch alone":             {set: []*sarama.Records{batch(5, 6, cut)}, next: 5, wantNext: 5, wantMore: true},
		"less than a batch's beginning": {partial: true, next: 5, wantNext: 5, wantMore: true},
		"marks are never given":         {set: []*sarama.Records{batch(0, 0, of(1)), mark(1, 1, commitMark)}, want: []string{"0"}, wantNext: 2},
		"aborted, as uncommitted":       {set: []*sarama.Records{batch(0, 0, of(1)), mark(1, 1, abortMark)}, aborted: []*sarama.AbortedTransaction{{ProducerID: 1}}, want: []string{"0"}, wantNext: 2},
		"aborted": {
			set:     []*sarama.Records{batch(0, 1, of(1)), batch(2, 2), mark(3, 1, abortMark), batch(4, 4, of(1)), mark(5, 1, commitMark)},
			aborted: []*sarama.AbortedTransaction{{ProducerID: 1}}, committed: true, want: []string{"2", "4"}, wantNext: 6,
		},
		"only aborted": {set: []*sarama.Records{batch(0, 1, of(1)), mark(2, 1, abortMark)}, aborted: []*sarama.AbortedTransaction{{ProducerID: 1}}, committed: true, wantNext: 3},
		"two producers, aborts not in order": {
			set: []*sarama.Records{
				batch(0, 0, of(1)), batch(1, 1, of(2)), mark(2, 1, abortMark), batch(3, 3, of(1)), mark(4, 2, commitMark),
				batch(5, 5, of(2)), mark(6, 1, commitMark), mark(7, 2, abortMark), batch(8, 8, of(2)),
			},
			aborted: []*sarama.AbortedTransaction{{ProducerID: 2, FirstOffset: 5}, {ProducerID: 1, FirstOffset: 0}}, committed: true, want: []string{"1", "3", "8"}, wantNext: 9,
		},
		"twice in a row": {
			set:     []*sarama.Records{batch(0, 0, of(1)), mark(1, 1, abortMark), batch(2, 2, of(1)), mark(3, 1, abortMark), batch(4, 4, of(1))},
			aborted: []*sarama.AbortedTransaction{{ProducerID: 1, FirstOffset: 0}, {ProducerID: 1, FirstOffset: 2}}, committed: true, want: []string{"4"}, wantNext: 5,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := take(&sarama.FetchResponseBlock{RecordsSet: test.set, AbortedTransactions: test.aborted, Partial: test.partial}, test.next, test.committed)
			if diff := cmp.Diff(test.want, valuesOf(got.records)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got.next != test.wantNext || (got.more > 0) != test.wantMore {
				t.Errorf("next %d, more %d; want %d, more %v", got.next, got.more, test.wantNext, test.wantMore)
			}
			if cap(got.records) != len(got.records) {
				t.Errorf("room for %d records, want %d", cap(got.records), len(got.records))
			}
		})
	}
}

func TestTimestamps(t *testing.T) {
	t.Parallel()
	set := []*sarama.Records{
		batch(0, 1),
		batch(2, 3, func(b *sarama.RecordBatch) { b.LogAppendTime = true }),
		batch(4, 4, func(b *sarama.RecordBatch) { b.FirstTimestamp, b.MaxTimestamp = time.Time{}, time.Time{} }),
	}
	var got []int64
	for _, r := range take(&sarama.FetchResponseBlock{RecordsSet: set}, 0, false).records {
		got = append(got, r.Timestamp)
	}
	if diff := cmp.Diff([]int64{1000, 1001, 9000, 9000, record.AnyTimestamp}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Logs of the oldest brokers: version 0 has no timestamps; in version 1 a compressed set counts offsets from its first.
func TestOldMessages(t *testing.T) {
	t.Parallel()
	message := func(offset int64, version int8, value string, at time.Time) *sarama.MessageBlock {
		return &sarama.MessageBlock{Offset: offset, Msg: &sarama.Message{Version: version, Value: []byte(value), Timestamp: at}}
	}
	at := time.UnixMilli(5000)
	wrapped := message(9, 1, "", time.UnixMilli(7000))
	wrapped.Msg.Set = &sarama.MessageSet{Messages: []*sarama.MessageBlock{message(0, 1, "c", at), message(1, 1, "d", at), message(2, 1, "e", at)}}
	appended := message(10, 1, "", time.UnixMilli(7000))
	appended.Msg.LogAppendTime = true
	appended.Msg.Set = &sarama.MessageSet{Messages: []*sarama.MessageBlock{message(0, 1, "f", at)}}
	set := &sarama.MessageSet{Messages: []*sarama.MessageBlock{message(5, 0, "a", time.Time{}), message(6, 1, "b", at), wrapped, appended}}
	got := take(&sarama.FetchResponseBlock{RecordsSet: []*sarama.Records{{MsgSet: set}, batch(11, 11)}}, 6, false)
	var words []string
	for _, r := range got.records {
		words = append(words, fmt.Sprintf("%d %s %d", r.Offset, r.Value, r.Timestamp))
	}
	want := []string{"6 b 5000", "7 c 5000", "8 d 5000", "9 e 5000", "10 f 7000", "11 11 1000"}
	if diff := cmp.Diff(want, words); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.next != 12 {
		t.Errorf("next %d, want 12", got.next)
	}
}

// What sarama keeps to itself is found under these names; another version may have others, and then a reader hangs at an empty batch.
func TestEmptyBatches(t *testing.T) {
	t.Parallel()
	broker := sarama.NewMockBroker(t, 1)
	defer broker.Close()
	empty := func(first, last int64) *sarama.Records {
		return &sarama.Records{RecordBatch: &sarama.RecordBatch{Version: 2, FirstOffset: first, LastOffsetDelta: int32(last - first)}}
	}
	broker.SetHandlerByMap(map[string]sarama.MockResponse{"FetchRequest": sarama.NewMockWrapper(&sarama.FetchResponse{
		Version: 11,
		Blocks:  map[string]map[int32]*sarama.FetchResponseBlock{"a": {0: {HighWaterMarkOffset: 9, RecordsSet: []*sarama.Records{empty(3, 4), empty(5, 8)}}}},
	})})
	config := sarama.NewConfig()
	config.Version = sarama.V2_3_0_0
	config.ApiVersionsRequest = false
	conn := sarama.NewBroker(broker.Addr())
	if err := conn.Open(config); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	request := &sarama.FetchRequest{Version: 11, MaxBytes: 1000}
	request.AddBlock("a", 0, 3, 1000, -1)
	response, err := conn.Fetch(request)
	if err != nil {
		t.Fatal(err)
	}
	if got := take(response.GetBlock("a", 0), 3, true); len(got.records) != 0 || got.next != 9 {
		t.Errorf("%d records, next %d; want none, next 9", len(got.records), got.next)
	}
	if field, found := reflect.TypeFor[sarama.FetchResponseBlock]().FieldByName("partialBatchSize"); !found || field.Type.Kind() != reflect.Int32 {
		t.Error("sarama no longer says how large a cut batch is")
	}
}
