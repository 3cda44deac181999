package kafkaenv

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sort"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-gateway/weir/conformance"
)

// Produce implements conformance.Env. Records of one call and partition come into as few batches as fit.
func (e *Env) Produce(ctx context.Context, topic string, records []conformance.Record, options conformance.ProduceOptions) error {
	codec, err := codecOf(options.Compression)
	if err != nil {
		return err
	}
	own := append([]kgo.Opt{}, e.options...)
	own = append(own, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(codec), kgo.ProducerBatchMaxBytes(maxBatchBytes))
	if options.Transaction != "" {
		unique := make([]byte, 8)
		if _, err := rand.Read(unique); err != nil {
			return err
		}
		own = append(own, kgo.TransactionalID("weir-conformance-"+hex.EncodeToString(unique)))
	}
	producer, err := kgo.NewClient(own...)
	if err != nil {
		return err
	}
	defer producer.Close()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if options.Transaction != "" {
		if err := producer.BeginTransaction(); err != nil {
			return err
		}
	}
	if err := producer.ProduceSync(ctx, toKafka(topic, records)...).FirstErr(); err != nil {
		return err
	}
	switch options.Transaction {
	case "":
		return nil
	case "commit":
		return producer.EndTransaction(ctx, kgo.TryCommit)
	case "abort":
		return producer.EndTransaction(ctx, kgo.TryAbort)
	default:
		return fmt.Errorf("transaction %q: want commit or abort", options.Transaction)
	}
}

// maxBatchBytes leaves the refusal of what is too large to the broker.
const maxBatchBytes = 16 << 20

func codecOf(name string) (kgo.CompressionCodec, error) {
	switch name {
	case "", "none":
		return kgo.NoCompression(), nil
	case "gzip":
		return kgo.GzipCompression(), nil
	case "snappy":
		return kgo.SnappyCompression(), nil
	case "lz4":
		return kgo.Lz4Compression(), nil
	case "zstd":
		return kgo.ZstdCompression(), nil
	default:
		return kgo.CompressionCodec{}, fmt.Errorf("compression %q: want none, gzip, snappy, lz4 or zstd", name)
	}
}

func toKafka(topic string, records []conformance.Record) []*kgo.Record {
	all := make([]*kgo.Record, len(records))
	for i, r := range records {
		all[i] = &kgo.Record{Topic: topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Timestamp: r.Timestamp}
		for _, h := range r.Headers {
			all[i].Headers = append(all[i].Headers, kgo.RecordHeader{Key: h.Name, Value: h.Value})
		}
	}
	return all
}

// DeleteRecords implements conformance.Env.
func (e *Env) DeleteRecords(ctx context.Context, topic string, partition int32, before int64) error {
	p := kmsg.NewDeleteRecordsRequestTopicPartition()
	p.Partition, p.Offset = partition, before
	t := kmsg.NewDeleteRecordsRequestTopic()
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	request := kmsg.NewPtrDeleteRecordsRequest()
	request.Topics, request.TimeoutMillis = append(request.Topics, t), int32(requestTimeout.Milliseconds())
	response, err := request.RequestWith(ctx, e.client)
	if err != nil {
		return err
	}
	if len(response.Topics) != 1 || len(response.Topics[0].Partitions) != 1 {
		return errors.New("the broker does not say what became of it")
	}
	return kerr.ErrorForCode(response.Topics[0].Partitions[0].ErrorCode)
}

// Committed implements conformance.Env.
func (e *Env) Committed(ctx context.Context, group string) ([]conformance.Committed, error) {
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group, g.Topics = group, nil // all of them
	request := kmsg.NewPtrOffsetFetchRequest()
	request.Group, request.Topics, request.Groups, request.RequireStable = group, nil, append(request.Groups, g), true
	response, err := request.RequestWith(ctx, e.client)
	if err != nil {
		return nil, err
	}
	committed := []conformance.Committed{}
	add := func(topic string, partition int32, offset int64, metadata *string, code int16) error {
		if err := kerr.ErrorForCode(code); err != nil {
			return fmt.Errorf("%s-%d: %w", topic, partition, err)
		}
		if offset < 0 {
			return nil
		}
		c := conformance.Committed{Topic: topic, Partition: partition, Offset: offset}
		if metadata != nil {
			c.Metadata = *metadata
		}
		committed = append(committed, c)
		return nil
	}
	for _, code := range append([]int16{response.ErrorCode}, groupErrors(response)...) {
		if err := kerr.ErrorForCode(code); err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
			return nil, err
		}
	}
	for _, answered := range response.Groups {
		for _, t := range answered.Topics {
			for _, p := range t.Partitions {
				if err := add(t.Topic, p.Partition, p.Offset, p.Metadata, p.ErrorCode); err != nil {
					return nil, err
				}
			}
		}
	}
	if len(response.Groups) == 0 { // a broker that knows one group to a request
		for _, t := range response.Topics {
			for _, p := range t.Partitions {
				if err := add(t.Topic, p.Partition, p.Offset, p.Metadata, p.ErrorCode); err != nil {
					return nil, err
				}
			}
		}
	}
	sort.Slice(committed, func(i, j int) bool {
		if committed[i].Topic != committed[j].Topic {
			return committed[i].Topic < committed[j].Topic
		}
		return committed[i].Partition < committed[j].Partition
	})
	return committed, nil
}

func groupErrors(response *kmsg.OffsetFetchResponse) []int16 {
	codes := make([]int16, len(response.Groups))
	for i := range response.Groups {
		codes[i] = response.Groups[i].ErrorCode
	}
	return codes
}
