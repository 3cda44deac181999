//go:build unix

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/rcrowley/go-metrics"
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

	input   chan<- *sarama.ProducerMessage
	values  [][]byte
	turn    atomic.Int64 // bytes handed over so far: whose turn it is among the partitions
	records atomic.Int64
	stopped atomic.Bool
	window  atomic.Bool
	failure atomic.Pointer[error]
}

// tally is what the producer says when it is asked.
type tally struct {
	Records int64         `json:"records"`
	P50     time.Duration `json:"p50"`
	P99     time.Duration `json:"p99"`
	P999    time.Duration `json:"p999"`
}

// run works until ctx ends or its input does. To each line on in it answers with a tally: "begin" begins the window, "count"
// does nothing more, "end" ends the window and all work.
func (p *bareProducer) run(ctx context.Context, in io.Reader, out io.Writer) error {
	metrics.UseNilMetrics = true // sarama's own cost CPU for each record, and the gateway has them off too
	config := sarama.NewConfig()
	config.Version = sarama.V4_0_0_0
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
			p.failure.CompareAndSwap(nil, new(fmt.Errorf("bare producer: %w", failure.Err)))
			p.stopped.Store(true)
			failure.Msg.Metadata.(*sync.WaitGroup).Done()
		}
	})
	defer context.AfterFunc(ctx, func() { p.stopped.Store(true) })()
	latencies := make([]load.Histogram, p.callers)
	var callers sync.WaitGroup
	for i := range p.callers {
		callers.Go(func() { p.call(i, &latencies[i]) })
	}
	err = p.obey(in, out, &callers, latencies)
	p.stopped.Store(true)
	callers.Wait()
	producer.AsyncClose()
	results.Wait()
	if failure := p.failure.Load(); failure != nil {
		err = errors.Join(err, *failure)
	}
	return err
}

func (p *bareProducer) obey(in io.Reader, out io.Writer, callers *sync.WaitGroup, latencies []load.Histogram) error {
	fmt.Fprintln(out, "up")
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		answer := tally{Records: p.records.Load()}
		switch lines.Text() {
		case "begin":
			p.window.Store(true)
		case "end":
			p.window.Store(false)
			p.stopped.Store(true)
			callers.Wait()
			var all load.Histogram
			for i := range latencies {
				all.Merge(&latencies[i])
			}
			answer.P50, answer.P99, answer.P999 = all.Quantile(.5), all.Quantile(.99), all.Quantile(.999)
		}
		if p.failure.Load() != nil {
			return nil // run tells it
		}
		text, err := json.Marshal(answer)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, string(text))
		if p.stopped.Load() {
			return nil
		}
	}
	return lines.Err()
}

// spread is how many bytes go to one partition before the next one's turn; what a record counts beside its value is the
// gateway's reckoning too.
const (
	spread   = 64 << 10
	overhead = 512
)

// call hands over batches and waits for each.
func (p *bareProducer) call(caller int, latency *load.Histogram) {
	var open sync.WaitGroup
	for i := caller * p.batch; !p.stopped.Load(); i += p.batch {
		began := time.Now()
		open.Add(p.batch)
		messages := make([]sarama.ProducerMessage, p.batch)
		for j := range messages {
			value := p.values[(i+j)%len(p.values)]
			partition := p.turn.Add(int64(len(value)+overhead)) / spread % partitions
			messages[j] = sarama.ProducerMessage{Topic: topic, Partition: int32(partition), Value: sarama.ByteEncoder(value), Metadata: &open}
			p.input <- &messages[j]
		}
		open.Wait()
		p.records.Add(int64(p.batch))
		if p.window.Load() {
			latency.Add(time.Since(began))
		}
	}
}
