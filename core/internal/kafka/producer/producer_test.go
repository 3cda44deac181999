package producer

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-gateway/weir/core/internal/embedded"
	"github.com/weir-gateway/weir/core/internal/record"
)

func TestRecordsArriveAsTheyWereGiven(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a", Partitions: 4}}}, nil)
	when := time.UnixMilli(1_700_000_000_123)
	records := []record.Record{
		{Topic: "a", Partition: 2, Key: []byte("k"), Value: []byte("v"), Timestamp: when, Headers: []record.Header{{Name: "x", Value: []byte("1")}, {Name: "x"}, {Name: "", Value: []byte{}}}},
		{Topic: "a", Partition: 2, Key: []byte{}, Value: nil, Timestamp: when},
		{Topic: "a", Partition: 2, Key: nil, Value: []byte{}, Timestamp: when},
		{Topic: "a", Partition: 1, Key: nil, Value: nil, Timestamp: when},
	}
	var got []string
	for _, receipt := range r.produce(records...) {
		got = append(got, describe(receipt))
		if !receipt.Timestamp.Equal(when) {
			t.Errorf("timestamp %v, want the record's own %v", receipt.Timestamp, when)
		}
	}
	if diff := cmp.Diff([]string{"persisted 2@0", "persisted 2@1", "persisted 2@2", "persisted 1@0"}, got); diff != "" {
		t.Errorf("receipts (-want +got):\n%s", diff)
	}
	stored, err := r.broker.Records("a")
	if err != nil {
		t.Fatal(err)
	}
	want := []embedded.Stored{{Record: records[3]}, {Record: records[0]}, {Record: records[1], Offset: 1}, {Record: records[2], Offset: 2}}
	if diff := cmp.Diff(want, stored); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
}

func TestKeyedRecordsLieWhereJavaPutsThem(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a", Partitions: 8}}}, nil)
	receipts := r.produce(
		record.Record{Topic: "a", Partition: record.AnyPartition, Key: []byte("user-1")},
		record.Record{Topic: "a", Partition: record.AnyPartition, Key: []byte("")},
		record.Record{Topic: "a", Partition: record.AnyPartition, Key: []byte("abc")},
	)
	for i, want := range []int32{4, 1, 3} {
		if receipts[i].Partition != want {
			t.Errorf("record %d is in partition %d, want %d", i, receipts[i].Partition, want)
		}
	}
}

func TestOrderWithinACallAndPartition(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a", Partitions: 3}}}, nil)
	const n = 3000
	records := make([]record.Record, n)
	for i := range records {
		records[i] = value("a", int32(i%3), fmt.Sprint(i))
	}
	for i, receipt := range r.produce(records...) {
		if want := fmt.Sprintf("persisted %d@%d", i%3, i/3); describe(receipt) != want {
			t.Fatalf("record %d: %s, want %s", i, describe(receipt), want)
		}
	}
	stored, err := r.broker.Records("a")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range stored {
		if want := fmt.Sprint(int(s.Offset)*3 + int(s.Partition)); string(s.Value) != want {
			t.Fatalf("%d@%d holds %s, want %s", s.Partition, s.Offset, s.Value, want)
		}
	}
	if records, bytes := r.producer.Buffered(); records != 0 || bytes != 0 {
		t.Errorf("after all receipts %d records and %d bytes are held", records, bytes)
	}
}

func TestKeylessRecordsSpread(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a", Partitions: 4}}}, nil)
	counts := map[int32]int{}
	big := make([]byte, stickiness/4)
	for range 32 {
		for _, receipt := range r.produce(record.Record{Topic: "a", Partition: record.AnyPartition, Value: big}) {
			counts[receipt.Partition]++
		}
	}
	for id := range int32(4) {
		if counts[id] < 5 || counts[id] > 11 {
			t.Errorf("records by partition: %v, want about 8 in each of 4", counts)
			break
		}
	}
}
