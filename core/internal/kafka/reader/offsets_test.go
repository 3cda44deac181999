package reader

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-gateway/weir/core/internal/embedded"
	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/record"
)

func TestOffsets(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Brokers: 3, Topics: []embedded.Topic{{Name: "a", Partitions: 4}}}, consumeSettings())
	spread(t, r.broker, "a", 4)
	p := newProducer(t, r.broker.Addresses())
	for i := range 3 {
		produce(t, p, &kgo.Record{Topic: "a", Partition: 1, Value: []byte("v"), Timestamp: time.UnixMilli(int64(1000 * (i + 1)))})
	}
	at := func(partition int32, when int64) At {
		return At{TopicPartition: record.TopicPartition{Topic: "a", Partition: partition}, At: when}
	}
	questions := []At{
		at(1, Latest), at(1, Earliest), at(1, 1500), at(1, 2000), at(1, 3001), at(0, Latest), at(2, Earliest), at(3, 5),
		at(9, Latest), {TopicPartition: record.TopicPartition{Topic: "none"}, At: Latest},
	}
	answers, err := r.reader.Offsets(t.Context(), questions, false)
	if err != nil {
		t.Fatal(err)
	}
	var got []int64
	for i, a := range answers {
		got = append(got, a.Offset)
		if a.TopicPartition != questions[i].TopicPartition {
			t.Errorf("answer %d is of %v", i, a.TopicPartition)
		}
		if a.Err != nil && i < 8 {
			t.Errorf("%v: %v", questions[i], a.Err)
		}
	}
	if diff := cmp.Diff([]int64{3, 0, 1, 1, -1, 0, 0, -1, -1, -1}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	wantCode(t, "no such partition", answers[8].Err, fault.PartitionNotFound)
	wantCode(t, "no such topic", answers[9].Err, fault.UnknownTopic)

	// A broker that hangs costs the answers of the others nothing, within the admin timeout.
	if err := r.broker.Freeze(2); err != nil {
		t.Fatal(err)
	}
	answers, err = r.reader.Offsets(t.Context(), []At{at(1, Latest), at(2, Latest)}, false)
	if err != nil || answers[0].Offset != 3 || answers[0].Err != nil {
		t.Errorf("%+v, %v", answers, err)
	} else {
		wantCode(t, "hangs", answers[1].Err, fault.BrokerNotAvailable)
	}
	_, err = r.reader.Offsets(t.Context(), []At{at(2, Latest)}, false)
	wantCode(t, "hangs, alone", err, fault.BrokerNotAvailable)
	if err := r.broker.Up(2); err != nil {
		t.Fatal(err)
	}
}
