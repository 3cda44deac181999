//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/cmd/weir-bench/internal/load"
)

const (
	// readTopic is what is read. It is filled once and kept.
	readTopic = "bench-reading"
	// readBytes is how much is in it: more than a round reads before it begins anew, less than a page cache.
	readBytes = 512 << 20
	// batchRecords is how many records are in each batch of it, with 1 KiB values as many as Kafka's own producer puts into one
	// (batch.size: 16 KiB).
	batchRecords = 15
)

// plainConfig is sarama's for connections that ask for nothing special.
func plainConfig() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.V4_0_0_0
	return config
}

func openBroker(address string) (*sarama.Broker, error) {
	broker := sarama.NewBroker(address)
	if err := broker.Open(plainConfig()); err != nil {
		return nil, fmt.Errorf("broker %s: %w", address, err)
	}
	if _, err := broker.Connected(); err != nil {
		return nil, errors.Join(fmt.Errorf("broker %s: %w", address, err), ignoreNotConnected(broker.Close()))
	}
	return broker, nil
}

func ignoreNotConnected(err error) error {
	if errors.Is(err, sarama.ErrNotConnected) {
		return nil
	}
	return err
}

// fill writes at least so many bytes of values into a topic, no two alike, the same number of records into each partition, and gives that
// number.
func fill(ctx context.Context, address, topic string, values [][]byte, bytes int, progress io.Writer) (records int64, err error) {
	broker, err := openBroker(address)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, broker.Close()) }()
	rounds := (bytes + partitions*batchRecords*len(values[0]) - 1) / (partitions * batchRecords * len(values[0]))
	fmt.Fprintf(progress, "Writing %d records to read…\n", rounds*batchRecords*partitions)
	next := 0
	for range rounds {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		batches := map[int32]*sarama.RecordBatch{}
		now := time.Now().Truncate(time.Millisecond)
		for partition := range int32(partitions) {
			batch := &sarama.RecordBatch{Version: 2, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, FirstTimestamp: now, MaxTimestamp: now, LastOffsetDelta: batchRecords - 1}
			for i := range batchRecords {
				batch.Records = append(batch.Records, &sarama.Record{OffsetDelta: int64(i), Value: load.Numbered(values[next%len(values)], next)})
				next++
			}
			batches[partition] = batch
		}
		if err := write(ctx, broker, topic, batches); err != nil {
			return 0, err
		}
	}
	return int64(rounds * batchRecords), nil
}

// write writes a batch into each partition. A broker that has just been told of a topic does not lead all of it at once.
func write(ctx context.Context, broker *sarama.Broker, topic string, batches map[int32]*sarama.RecordBatch) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		request := &sarama.ProduceRequest{Version: 7, RequiredAcks: sarama.WaitForAll, Timeout: 30_000}
		for partition, batch := range batches {
			request.AddBatch(topic, partition, batch)
		}
		response, err := broker.Produce(request)
		if err != nil {
			return fmt.Errorf("fill %s: %w", topic, err)
		}
		for partition := range batches {
			block := response.GetBlock(topic, partition)
			switch {
			case block == nil:
				err = sarama.ErrIncompleteResponse
			case block.Err == sarama.ErrNoError:
				delete(batches, partition)
				continue
			case block.Err == sarama.ErrNotLeaderForPartition, block.Err == sarama.ErrUnknownTopicOrPartition:
				err = block.Err
				continue
			default:
				err = block.Err
			}
			return fmt.Errorf("fill %s-%d: %w", topic, partition, err)
		}
		if len(batches) == 0 {
			return nil
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			return fmt.Errorf("fill %s: %w", topic, errors.Join(ctx.Err(), err))
		}
	}
}
