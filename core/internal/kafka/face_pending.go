// Package kafka is one Kafka cluster as Weir sees it. PENDING: this file is the agreed face and is replaced piece by piece
// by the real thing. Nothing here is final but the names and signatures. See client.go, errors.go, probe.go once present.
package kafka

import (
	"context"
	"errors"
	"log/slog"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/fault"
)

var errPending = errors.New("kafka: not built yet")

type Client struct{}

func Open(ctx context.Context, settings config.Cluster, produce config.Produce, logger *slog.Logger) (*Client, error) {
	return nil, errPending
}
func (c *Client) Name() string                    { return "" }
func (c *Client) ID() (id string, known bool)     { return "", false }
func (c *Client) Ready() error                    { return errPending }
func (c *Client) Close(ctx context.Context) error { return errPending }

type Observer interface {
	// KafkaError is called once for every error that Kafka (or the way to it) gives. operation is produce, metadata or admin;
	// name is Kafka's name of the error (NOT_LEADER_OR_FOLLOWER) or one of ours (CONNECTION, TIMEOUT).
	KafkaError(operation, name string)
}

func Fault(err error) *fault.Error { return fault.From(err) }

type Cause string

type Diagnosis struct {
	Cause   Cause
	Address string
	Err     error
	Cure    string
}

// Probe tries every bootstrap address and gives one diagnosis for each; Cause OK where nothing is wrong.
func Probe(ctx context.Context, settings config.Cluster) []Diagnosis { return nil }
