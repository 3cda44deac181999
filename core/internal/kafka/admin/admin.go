// Package admin is what Weir asks of a cluster and changes in it, apart from records: brokers, topics, partitions, offsets
// and configurations, in Kafka's own terms.
//
// Every answer comes fresh from a broker, not from the cache that producing uses. Every call ends within the cluster's admin
// timeout and every error is a *fault.Error: UnknownTopic, PartitionNotFound, BrokerNotAvailable when no broker could be
// reached, and otherwise what Kafka answered, in the broker's own words where it gave any.
//
// Kafka applies changes with a delay that differs between brokers. A topic that was created here can be produced to, and one
// that was deleted is unknown here, when the call returns; other clients may see either a moment later.
package admin

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka"
)

// Admin asks one cluster. It is safe for concurrent use and needs no closing.
type Admin struct {
	client   *kafka.Client
	observer kafka.Observer
}

// New gives the admin room of a client.
func New(client *kafka.Client) *Admin { return &Admin{client: client} }

// WithObserver gives a copy that tells observer about the errors of its calls.
func (a *Admin) WithObserver(observer kafka.Observer) *Admin {
	return &Admin{client: a.client, observer: observer}
}

// Broker is a live broker.
type Broker struct {
	ID   int32
	Host string
	Port int32
	Rack *string
}

// Cluster is a cluster's brokers. Controller is -1 when none is known; with KRaft it is any broker that takes admin requests,
// and may differ from call to call.
type Cluster struct {
	ID         string
	Controller int32
	Brokers    []Broker // by id
}

// quietTopic is asked about when only brokers are of interest; the answer lists them whether or not it may be seen.
const quietTopic = "__consumer_offsets"

// Cluster gives the cluster's id, controller and live brokers.
func (a *Admin) Cluster(ctx context.Context) (Cluster, error) {
	response, err := a.metadata(ctx, []string{quietTopic}, false)
	if err != nil {
		return Cluster{}, err
	}
	id, _ := a.client.ID()
	cluster := Cluster{ID: id, Controller: -1}
	for _, b := range response.Brokers {
		broker := Broker{ID: b.ID()}
		if host, port, err := net.SplitHostPort(b.Addr()); err == nil {
			n, _ := strconv.ParseInt(port, 10, 32)
			broker.Host, broker.Port = host, int32(n)
		}
		if rack := b.Rack(); rack != "" {
			broker.Rack = &rack
		}
		if b.ID() == response.ControllerID {
			cluster.Controller = b.ID()
		}
		cluster.Brokers = append(cluster.Brokers, broker)
	}
	slices.SortFunc(cluster.Brokers, func(x, y Broker) int { return int(x.ID) - int(y.ID) })
	return cluster, nil
}

// Brokers gives the live brokers by id.
func (a *Admin) Brokers(ctx context.Context) ([]Broker, error) {
	cluster, err := a.Cluster(ctx)
	return cluster.Brokers, err
}

// metadata asks any broker about topics; nil is all of them.
func (a *Admin) metadata(ctx context.Context, topics []string, operations bool) (*sarama.MetadataResponse, error) {
	var response *sarama.MetadataResponse
	err := a.read(ctx, kafka.AnyBroker, func(b *sarama.Broker) error {
		request := sarama.NewMetadataRequest(a.client.Version(), topics)
		request.IncludeTopicAuthorizedOperations = operations && request.Version >= 8
		var err error
		response, err = b.GetMetadata(request)
		return err
	})
	return response, err
}

// read sends a request that changes nothing, and so to another broker when one does not answer.
func (a *Admin) read(ctx context.Context, node int32, call func(*sarama.Broker) error) error {
	return a.call(ctx, node, true, call)
}

func (a *Admin) call(parent context.Context, node int32, again bool, call func(*sarama.Broker) error) error {
	ctx, cancel := context.WithTimeout(parent, a.client.AdminTimeout())
	defer cancel()
	err := a.client.Call(ctx, node, again, call)
	if err == nil {
		return nil
	}
	if parent.Err() == nil && ctx.Err() != nil && !errors.Is(err, sarama.ErrOutOfBrokers) {
		err = kafka.CodeFault(int16(sarama.ErrRequestTimedOut), "", err)
	}
	return a.failed(err)
}

// failed makes a fault of an error and counts it.
func (a *Admin) failed(err error) error {
	if a.observer != nil {
		a.observer.KafkaError("admin", kafka.ErrorName(err))
	}
	return kafka.Fault(err)
}

// code is failed for an error code of an answer; ErrNoError is no error.
func (a *Admin) code(code sarama.KError, message *string) error {
	if code == sarama.ErrNoError {
		return nil
	}
	if a.observer != nil {
		a.observer.KafkaError("admin", kafka.ErrorName(code))
	}
	text := ""
	if message != nil {
		text = strings.TrimSpace(*message)
	}
	return kafka.CodeFault(int16(code), text, code)
}

func unreadable(cause error) error {
	return fault.Wrap(fault.KafkaFailed, cause, "The broker's answer could not be understood.")
}
