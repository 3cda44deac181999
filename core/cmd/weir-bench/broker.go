//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weir-gateway/weir/core/internal/apachekafka"
	"github.com/weir-gateway/weir/core/internal/embedded"
)

const (
	topic      = "bench"
	partitions = 8
)

// broker is a running broker with the topic.
type broker struct {
	address   string
	clusterID string
	software  string
	close     func() error
	// createReadTopic makes the topic that is read, whose records stay.
	createReadTopic func(ctx context.Context) error
}

func startBroker(ctx context.Context, kind string) (*broker, error) {
	if kind == "embedded" {
		return startEmbedded()
	}
	cluster, err := apachekafka.Start(ctx, apachekafka.Options{Properties: map[string]string{
		// Hundreds of megabytes a second come in. What is old goes soon, mostly before the kernel writes it to the disk.
		"log.segment.bytes":               "33554432",
		"log.retention.bytes":             "67108864",
		"log.retention.check.interval.ms": "2000",
		"log.segment.delete.delay.ms":     "500",
		"log.initial.task.delay.ms":       "1000",
	}})
	if err != nil {
		return nil, err
	}
	if err := cluster.CreateTopic(ctx, topic, partitions, 1, nil); err != nil {
		return nil, errors.Join(err, cluster.Close())
	}
	return &broker{
		address: cluster.BootstrapServers()[0], clusterID: cluster.ID(), software: "Apache Kafka " + apachekafka.Version + ", one broker",
		close: cluster.Close,
		createReadTopic: func(ctx context.Context) error {
			return cluster.CreateTopic(ctx, readTopic, partitions, 1, map[string]string{
				"retention.bytes": "-1", "retention.ms": "-1", "segment.bytes": "1073741824",
			})
		},
	}, nil
}

// startEmbedded starts the embedded broker in a process of its own.
func startEmbedded() (*broker, error) {
	p, err := startSelf("broker")
	if err != nil {
		return nil, err
	}
	return &broker{address: p.ready, clusterID: embedded.DefaultClusterID, software: "embedded broker that keeps no records", close: p.stop}, nil
}

func newBrokerCommand() *cobra.Command {
	return &cobra.Command{
		Use: "broker", Hidden: true, Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			b, err := embedded.Start(embedded.Options{Topics: []embedded.Topic{{Name: topic, Partitions: partitions}}, DiscardRecords: true})
			if err != nil {
				return err
			}
			defer b.Close()
			fmt.Fprintln(command.OutOrStdout(), b.Addresses()[0])
			<-command.Context().Done()
			return nil
		},
	}
}
