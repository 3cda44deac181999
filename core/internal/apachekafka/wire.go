//go:build unix

package apachekafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// poll calls try until it returns nil, or until the context ends: then the last error comes back with the context's.
func poll(ctx context.Context, try func(context.Context) error) error {
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// verify asks the broker itself who it is, until it answers with the cluster's id and knows at least so many brokers. An
// answer with another id ends it at once: then something else listens on the port.
func (n *Node) verify(ctx context.Context, brokers int) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(n.Address()))
	if err != nil {
		return fmt.Errorf("broker %d: %w", n.id, err)
	}
	defer client.Close()
	var stranger error
	err = poll(ctx, func(ctx context.Context) error {
		request := kmsg.NewPtrMetadataRequest()
		request.Topics = []kmsg.MetadataRequestTopic{} // none: nil would ask for all
		response, err := request.RequestWith(ctx, client.SeedBrokers()[0])
		if err != nil {
			return err
		}
		if response.ClusterID == nil || *response.ClusterID != n.cluster.id {
			stranger = fmt.Errorf("%s answers for another cluster than %s: another process listens there", n.Address(), n.cluster.id)
			return nil
		}
		if len(response.Brokers) < brokers {
			return fmt.Errorf("broker %d knows only %d of %d brokers", n.id, len(response.Brokers), brokers)
		}
		return nil
	})
	return errors.Join(stranger, err)
}

func (c *Cluster) client() (*kgo.Client, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(c.BootstrapServers()...))
	if err != nil {
		return nil, fmt.Errorf("client for cluster %s: %w", c.id, err)
	}
	return client, nil
}
