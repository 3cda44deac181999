//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/spf13/cobra"
)

// newReaderCommand is the bare reader: sarama's Broker.Fetch on connections of its own, one for each caller, asking for all
// partitions as a consumer of them does, and a copy of each value into one buffer.
func newReaderCommand() *cobra.Command {
	var r bareReader
	command := &cobra.Command{
		Use: "reader", Hidden: true, Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return r.run(command.Context(), command.InOrStdin(), command.OutOrStdout())
		},
	}
	flags := command.Flags()
	flags.StringVar(&r.address, "address", "", "a broker that leads all partitions")
	flags.IntVar(&r.callers, "callers", 1, "how many connections read")
	flags.IntVar(&r.fetchBytes, "fetch-bytes", 1<<20, "bytes to ask for at once")
	flags.Int64Var(&r.records, "records", 0, "records of each partition")
	return command
}

type bareReader struct {
	address             string
	callers, fetchBytes int
	records             int64
}

// bareInstance is what one caller has.
type bareInstance struct {
	broker    *sarama.Broker
	positions [partitions]int64
	buffer    []byte
}

// run works until ctx ends or its input does.
func (r *bareReader) run(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	instances := make([]bareInstance, r.callers)
	var opening sync.WaitGroup
	failed := make([]error, r.callers)
	for i := range instances {
		opening.Go(func() { instances[i].broker, failed[i] = openBroker(r.address) })
	}
	opening.Wait()
	defer func() {
		for i := range instances {
			if b := instances[i].broker; b != nil {
				err = errors.Join(err, ignoreNotConnected(b.Close()))
			}
		}
	}()
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("bare reader: %w", err)
	}
	var work callers
	defer context.AfterFunc(ctx, func() { work.stopped.Store(true) })()
	work.start(r.callers, func(caller int) error {
		began := time.Now()
		records, err := r.read(&instances[caller])
		if err != nil {
			return fmt.Errorf("bare reader: %w", err)
		}
		work.done(caller, records, time.Since(began))
		return nil
	})
	return work.obey(in, out)
}

// read fetches once and copies what came.
func (r *bareReader) read(i *bareInstance) (records int, err error) {
	// What is asked of a partition is what the gateway asks of it: its share, but at least what a batch of most producers needs.
	share := max(r.fetchBytes/partitions, min(r.fetchBytes, 64<<10))
	request := &sarama.FetchRequest{Version: 12, MinBytes: 1, MaxBytes: int32(r.fetchBytes), MaxWaitTime: 500, SessionEpoch: -1}
	for partition, position := range i.positions {
		request.AddBlock(readTopic, int32(partition), position, int32(share), -1)
	}
	response, err := i.broker.Fetch(request)
	if err != nil {
		return 0, err
	}
	if response.ErrorCode != 0 {
		return 0, sarama.KError(response.ErrorCode)
	}
	i.buffer = i.buffer[:0]
	for partition := range i.positions {
		block := response.GetBlock(readTopic, int32(partition))
		if block == nil {
			continue // others filled the answer
		}
		if block.Err != sarama.ErrNoError {
			return 0, fmt.Errorf("%s-%d: %w", readTopic, partition, block.Err)
		}
		records += i.copy(block, &i.positions[partition])
		if i.positions[partition] >= r.records {
			i.positions[partition] = 0
		}
	}
	return records, nil
}

// copy copies the values of a block from a position on, and moves the position past them.
func (i *bareInstance) copy(block *sarama.FetchResponseBlock, position *int64) (records int) {
	for _, set := range block.RecordsSet {
		batch := set.RecordBatch
		if batch == nil || batch.PartialTrailingRecord {
			break
		}
		i.buffer = slices.Grow(i.buffer, len(batch.Records)<<10)
		for _, r := range batch.Records {
			if offset := batch.FirstOffset + r.OffsetDelta; offset >= *position {
				i.buffer = append(i.buffer, r.Value...)
				*position = offset + 1
				records++
			}
		}
	}
	return records
}
