//go:build unix

package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/spf13/cobra"

	"github.com/weir-gateway/weir/core/cmd/weir-bench/internal/load"
)

// newProducerCommand is the bare producer: sarama's AsyncProducer with the settings that decide what the broker sees –
// idempotent, acks=all, 1 ms flush – and its own defaults otherwise, with callers that each hand over a batch and wait for
// all of it, as the gateway's requests do.
func newProducerCommand() *cobra.Command {
	var p bareProducer
	command := &cobra.Command{
		Use: "producer", Hidden: true, Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return p.run(command.Context(), command.InOrStdin(), command.OutOrStdout())
		},
	}
	flags := command.Flags()
	flags.StringVar(&p.address, "address", "", "a broker")
	flags.IntVar(&p.callers, "callers", 1, "how many batches are on their way")
	flags.IntVar(&p.batch, "batch", 1, "records of a batch")
	flags.IntVar(&p.valueSize, "value-bytes", 1024, "size of a value")
	return command
}

type bareProducer struct {
	address                   string
	callers, batch, valueSize int

	input  chan<- *sarama.ProducerMessage
	values [][]byte
	turn   atomic.Int64 // bytes handed over so far: whose turn it is among the partitions
	work   callers
	next   []int // by caller: which value is next
}

// run works until ctx ends or its input does.
func (p *bareProducer) run(ctx context.Context, in io.Reader, out io.Writer) error {
	config := plainConfig()
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Flush.Frequency = time.Millisecond
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Metadata.Full = false
	producer, err := sarama.NewAsyncProducer([]string{p.address}, config)
	if err != nil {
		return fmt.Errorf("bare producer: %w", err)
	}
	p.input = producer.Input()
	p.values = load.Values(64, p.valueSize)
	var results sync.WaitGroup
	results.Go(func() {
		for message := range producer.Successes() {
			message.Metadata.(*sync.WaitGroup).Done()
		}
	})
	results.Go(func() {
		for failure := range producer.Errors() {
			p.work.fail(fmt.Errorf("bare producer: %w", failure.Err))
			failure.Msg.Metadata.(*sync.WaitGroup).Done()
		}
	})
	defer context.AfterFunc(ctx, func() { p.work.stopped.Store(true) })()
	p.next = make([]int, p.callers)
	for i := range p.next {
		p.next[i] = i * p.batch
	}
	p.work.start(p.callers, p.call)
	err = p.work.obey(in, out)
	producer.AsyncClose()
	results.Wait()
	if failure := p.work.failure.Load(); failure != nil && err == nil {
		err = *failure // of a record that was still on its way
	}
	return err
}

// spread is how many bytes go to one partition before the next one's turn; what a record counts beside its value is the
// gateway's reckoning too.
const (
	spread   = 64 << 10
	overhead = 512
)

// call hands over a batch and waits for it.
func (p *bareProducer) call(caller int) error {
	began := time.Now()
	var open sync.WaitGroup
	open.Add(p.batch)
	messages := make([]sarama.ProducerMessage, p.batch)
	for j := range messages {
		value := p.values[(p.next[caller]+j)%len(p.values)]
		partition := p.turn.Add(int64(len(value)+overhead)) / spread % partitions
		messages[j] = sarama.ProducerMessage{Topic: topic, Partition: int32(partition), Value: sarama.ByteEncoder(value), Metadata: &open}
		p.input <- &messages[j]
	}
	open.Wait()
	p.next[caller] += p.batch
	p.work.done(caller, p.batch, time.Since(began))
	return nil
}
