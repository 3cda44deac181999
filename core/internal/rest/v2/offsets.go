package v2

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka"
	"github.com/weir-gateway/weir/core/internal/kafka/consumer"
	"github.com/weir-gateway/weir/core/internal/record"
	"github.com/weir-gateway/weir/core/internal/rest"
)

type commitBody struct {
	Offsets *[]offsetEntry `json:"offsets"`
}

// bindCommit commits what was delivered when there is no body. An offset in a body is the last one that was processed, so that the
// next one is committed: clients depend on that. The REST Proxy's async parameter had no effect, and has none here.
func bindCommit(r *rest.Request) (rest.Operation, rest.Serve, error) {
	var body commitBody
	empty, err := r.Decode(&body)
	switch {
	case err != nil:
		return rest.Operation{}, nil, err
	case empty && r.Empty():
		return onInstance(r, nil, commit(r, nil))
	case empty:
		return rest.Operation{}, nil, fault.New(fault.Unprocessable, "The request body is null. Send offsets, or no body at all to commit what was delivered.")
	case body.Offsets == nil:
		return rest.Operation{}, nil, fault.New(fault.Unprocessable, "offsets must not be null. Send no body at all to commit what was delivered.")
	}
	if err := few(r, "offsets", len(*body.Offsets)); err != nil {
		return rest.Operation{}, nil, err
	}
	offsets := make([]consumer.Committed, 0, len(*body.Offsets))
	for i := range *body.Offsets {
		entry := &(*body.Offsets)[i]
		partition, err := topicPartition("offsets", i, entry.Topic, entry.Partition)
		if err != nil {
			return rest.Operation{}, nil, err
		}
		offset, err := entry.offset("offsets", i)
		if err != nil {
			return rest.Operation{}, nil, err
		}
		one := consumer.Committed{TopicPartition: partition, Offset: offset + 1}
		if entry.Metadata != nil {
			one.Metadata = *entry.Metadata
		}
		offsets = append(offsets, one)
	}
	resources := topicResources(offsets, func(c *consumer.Committed) string { return c.Topic })
	return onInstance(r, resources, commit(r, offsets))
}

func commit(r *rest.Request, offsets []consumer.Committed) func(context.Context, http.ResponseWriter, *rest.Grant, *consumer.Instance) error {
	return func(ctx context.Context, w http.ResponseWriter, _ *rest.Grant, instance *consumer.Instance) error {
		if err := instance.Commit(ctx, offsets); err != nil {
			return err
		}
		rest.WriteJSON(w, http.StatusOK, r.Answer, []byte("[]"))
		return nil
	}
}

type committedBody struct {
	Offsets []committedEntry `json:"offsets"`
}

type committedEntry struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Metadata  string `json:"metadata"`
}

// bindCommitted takes its partitions from a body, as the REST Proxy does, or from the query, since many clients cannot send a body
// with GET.
func bindCommitted(r *rest.Request) (rest.Operation, rest.Serve, error) {
	partitions, err := queryPartitions(r)
	if err != nil {
		return rest.Operation{}, nil, err
	}
	if len(partitions) == 0 {
		if r.ContentLength == 0 {
			return onInstance(r, nil, func(context.Context, http.ResponseWriter, *rest.Grant, *consumer.Instance) error {
				return fault.New(fault.PartitionNotFound, "Partition not found.")
			})
		}
		if partitions, err = decodePartitions(r); err != nil {
			return rest.Operation{}, nil, err
		}
	}
	return onInstance(r, topicResources(partitions, ofPartition), func(ctx context.Context, w http.ResponseWriter, _ *rest.Grant, instance *consumer.Instance) error {
		committed, err := instance.Committed(ctx, partitions)
		if err != nil {
			return err
		}
		body := committedBody{Offsets: []committedEntry{}}
		for _, one := range committed {
			body.Offsets = append(body.Offsets, committedEntry{one.Topic, one.Partition, one.Offset, one.Metadata})
		}
		return writeBody(w, r, body)
	})
}

// queryPartitions reads partition=TOPIC:NUMBER, as often as it is there.
func queryPartitions(r *rest.Request) ([]record.TopicPartition, error) {
	var partitions []record.TopicPartition
	query, err := r.Query()
	if err != nil {
		return nil, err
	}
	if err := few(r, "partition", len(query["partition"])); err != nil {
		return nil, err
	}
	for _, text := range query["partition"] {
		topic, number, found := strings.Cut(text, ":")
		n, err := strconv.ParseInt(number, 10, 32)
		if !found || err != nil || n < 0 || !kafka.ValidTopicName(topic) {
			return nil, fault.Newf(fault.InvalidRequest, "Bad Request: partition=%s is not TOPIC:NUMBER.", excerpt(text))
		}
		partitions = append(partitions, record.TopicPartition{Topic: topic, Partition: int32(n)})
	}
	return partitions, nil
}
