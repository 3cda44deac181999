package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// kafkaStep is something done to the Kafka behind the target, or looked up there, through the Env. Exactly one field is given.
type kafkaStep struct {
	Produce       *kafkaProduce   `json:"produce"`
	DeleteRecords *kafkaDelete    `json:"delete_records"`
	Committed     *kafkaCommitted `json:"committed"`
}

// kafkaProduce are records to write.
type kafkaProduce struct {
	Topic       string        `json:"topic"`
	Records     []kafkaRecord `json:"records"`
	Transaction string        `json:"transaction"`
	Compression string        `json:"compression"`
}

// kafkaRecord is one of them, or several that are alike. What is not given, and null, is Kafka's null.
type kafkaRecord struct {
	Partition int32          `json:"partition"`
	Key       octets         `json:"key"`
	Value     octets         `json:"value"`
	Headers   []wantedHeader `json:"headers"`
	Timestamp string         `json:"timestamp"` // RFC 3339; empty: now
	Times     int            `json:"times"`     // 0: once
}

// kafkaDelete is where a partition shall begin.
type kafkaDelete struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Before    int64  `json:"before"`
}

// kafkaCommitted is everything that a group must have committed.
type kafkaCommitted struct {
	Group   string            `json:"group"`
	Offsets []wantedCommitted `json:"offsets"`
}

// wantedCommitted is one offset of it. Metadata that is not given is not looked at.
type wantedCommitted struct {
	Topic     string  `json:"topic"`
	Partition int32   `json:"partition"`
	Offset    int64   `json:"offset"`
	Metadata  *string `json:"metadata"`
}

// maxAlike bounds the records that a case can write at once.
const maxAlike = 100_000

func (k *kafkaStep) check() error {
	switch {
	case k.Produce != nil:
		_, err := k.Produce.records()
		return err
	case k.DeleteRecords != nil, k.Committed != nil:
		return nil
	default:
		return errors.New("kafka: want one of produce, delete_records and committed")
	}
}

func (p *kafkaProduce) records() ([]Record, error) {
	var all []Record
	for i, r := range p.Records {
		record := Record{Partition: r.Partition, Key: r.Key, Value: r.Value, Timestamp: time.Now()}
		if r.Timestamp != "" {
			at, err := time.Parse(time.RFC3339Nano, r.Timestamp)
			if err != nil {
				return nil, fmt.Errorf("record %d: timestamp: %w", i, err)
			}
			record.Timestamp = at
		}
		for _, h := range r.Headers {
			record.Headers = append(record.Headers, RecordHeader{Name: h.name, Value: h.value})
		}
		if r.Times < 0 || len(all)+r.Times > maxAlike {
			return nil, fmt.Errorf("record %d: times: want at most %d records in all", i, maxAlike)
		}
		all = append(all, slices.Repeat([]Record{record}, max(1, r.Times))...)
	}
	return all, nil
}

// kafka does what the step says.
func (a *attempt) kafka(ctx context.Context, k *kafkaStep) []string {
	env := a.run.env
	switch {
	case k.Produce != nil:
		records, err := k.Produce.records()
		if err == nil {
			err = env.Produce(ctx, k.Produce.Topic, records, ProduceOptions{Transaction: k.Produce.Transaction, Compression: k.Produce.Compression})
		}
		if err != nil {
			return []string{fmt.Sprintf("produce to %s: %v", k.Produce.Topic, err)}
		}
		return nil
	case k.DeleteRecords != nil:
		d := k.DeleteRecords
		if err := env.DeleteRecords(ctx, d.Topic, d.Partition, d.Before); err != nil {
			return []string{fmt.Sprintf("delete records of %s-%d before %d: %v", d.Topic, d.Partition, d.Before, err)}
		}
		return nil
	default:
		got, err := env.Committed(ctx, k.Committed.Group)
		if err != nil {
			return []string{fmt.Sprintf("committed by %s: %v", k.Committed.Group, err)}
		}
		return k.Committed.problems(got)
	}
}

func (k *kafkaCommitted) problems(got []Committed) []string {
	same := slices.EqualFunc(k.Offsets, got, func(want wantedCommitted, got Committed) bool {
		return want.Topic == got.Topic && want.Partition == got.Partition && want.Offset == got.Offset &&
			(want.Metadata == nil || *want.Metadata == got.Metadata)
	})
	if same {
		return nil
	}
	var wanted, found strings.Builder
	for _, w := range k.Offsets {
		fmt.Fprintf(&wanted, " %s-%d@%d", w.Topic, w.Partition, w.Offset)
		if w.Metadata != nil {
			fmt.Fprintf(&wanted, " %q", *w.Metadata)
		}
	}
	for _, c := range got {
		fmt.Fprintf(&found, " %s-%d@%d %q", c.Topic, c.Partition, c.Offset, c.Metadata)
	}
	return []string{fmt.Sprintf("group %s: want committed%s, got%s", k.Group, &wanted, &found)}
}
