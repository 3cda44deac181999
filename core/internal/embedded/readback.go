package embedded

import (
	"context"
	"fmt"
	"sort"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/weir-gateway/weir/core/internal/record"
)

// Stored is a record as it lies in the log.
type Stored struct {
	record.Record
	Offset int64
}

// End is the offset after a partition's last record, or -1 when there is no such partition.
func (b *Broker) End(topic string, partition int32) int64 {
	info := b.cluster.PartitionInfo(topic, partition)
	if info == nil {
		return -1
	}
	return info.HighWatermark
}

// Records reads back everything that a topic holds, by partition and then offset. It does not see DiscardRecords' records,
// and fails while a broker is frozen or down.
func (b *Broker) Records(topic string) ([]Stored, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	infos := b.cluster.PartitionInfos(topic)
	if infos == nil {
		return nil, fmt.Errorf("embedded broker: there is no topic %q", topic)
	}
	next, missing := map[int32]int64{}, 0
	from := map[int32]kgo.Offset{}
	for _, info := range infos {
		if info.HighWatermark > info.LogStartOffset {
			next[info.Partition] = info.HighWatermark
			from[info.Partition] = kgo.NewOffset().At(info.LogStartOffset)
			missing++
		}
	}
	if missing == 0 {
		return nil, nil
	}
	client, err := kgo.NewClient(append(b.clientOptions(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))...)
	if err != nil {
		return nil, fmt.Errorf("embedded broker: read back %q: %w", topic, err)
	}
	defer client.Close()

	var stored []Stored
	for missing > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return nil, fmt.Errorf("embedded broker: read back %q: %w", topic, err)
		}
		for _, e := range fetches.Errors() {
			return nil, fmt.Errorf("embedded broker: read back %s-%d: %w", e.Topic, e.Partition, e.Err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset >= next[r.Partition] {
				return // came after the call
			}
			stored = append(stored, toStored(r))
			if r.Offset == next[r.Partition]-1 {
				missing--
			}
		})
	}
	sort.Slice(stored, func(i, j int) bool {
		if stored[i].Partition != stored[j].Partition {
			return stored[i].Partition < stored[j].Partition
		}
		return stored[i].Offset < stored[j].Offset
	})
	return stored, nil
}

func (b *Broker) clientOptions() []kgo.Opt {
	opts := []kgo.Opt{kgo.SeedBrokers(b.Addresses()...)}
	if b.options.TLS != nil {
		tlsConfig := b.options.TLS.Clone()
		tlsConfig.InsecureSkipVerify = true // our own listener, in this process
		opts = append(opts, kgo.DialTLSConfig(tlsConfig))
	}
	if len(b.options.Users) > 0 {
		u := b.options.Users[0]
		switch u.Mechanism {
		case "PLAIN":
			opts = append(opts, kgo.SASL(plain.Auth{User: u.Name, Pass: u.Password}.AsMechanism()))
		case "SCRAM-SHA-256":
			opts = append(opts, kgo.SASL(scram.Auth{User: u.Name, Pass: u.Password}.AsSha256Mechanism()))
		case "SCRAM-SHA-512":
			opts = append(opts, kgo.SASL(scram.Auth{User: u.Name, Pass: u.Password}.AsSha512Mechanism()))
		}
	}
	return opts
}

func toStored(r *kgo.Record) Stored {
	s := Stored{Offset: r.Offset, Record: record.Record{
		Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Timestamp: r.Timestamp,
	}}
	for _, h := range r.Headers {
		s.Headers = append(s.Headers, record.Header{Name: h.Key, Value: h.Value})
	}
	return s
}
