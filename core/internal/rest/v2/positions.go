package v2

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka/consumer"
	"github.com/weir-gateway/weir/core/internal/kafka/reader"
	"github.com/weir-gateway/weir/core/internal/rawjson"
	"github.com/weir-gateway/weir/core/internal/rest"
)

type offsetEntry struct {
	Topic     *string `json:"topic"`
	Partition *int32  `json:"partition"`
	Offset    *int64  `json:"offset"`
	Metadata  *string `json:"metadata"`
}

type timestampEntry struct {
	Topic     *string        `json:"topic"`
	Partition *int32         `json:"partition"`
	Timestamp jsontext.Value `json:"timestamp"`
	Metadata  *string        `json:"metadata"` // taken and not used, as in the REST Proxy
}

type positionsBody struct {
	Offsets    []offsetEntry    `json:"offsets"`
	Timestamps []timestampEntry `json:"timestamps"`
}

// offset checks the offset of an entry.
func (e *offsetEntry) offset(list string, i int) (int64, error) {
	switch {
	case e.Offset == nil:
		return 0, fault.Newf(fault.Unprocessable, "%s[%d].offset must not be null", list, i)
	case *e.Offset < 0:
		return 0, fault.Newf(fault.Unprocessable, "%s[%d].offset must be greater than or equal to 0 (was %d)", list, i, *e.Offset)
	case *e.Offset == math.MaxInt64: // there is none after it
		return 0, fault.Newf(fault.Unprocessable, "%s[%d].offset must be less than %d", list, i, *e.Offset)
	}
	return *e.Offset, nil
}

// bindSeek moves to offsets first, then to timestamps.
func bindSeek(r *rest.Request) (rest.Operation, rest.Serve, error) {
	var body positionsBody
	switch empty, err := r.Decode(&body); {
	case err != nil:
		return rest.Operation{}, nil, err
	case empty:
		return rest.Operation{}, nil, emptyBody()
	}
	if err := few(r, "offsets and timestamps", len(body.Offsets)+len(body.Timestamps)); err != nil {
		return rest.Operation{}, nil, err
	}
	targets := make([]consumer.Target, 0, len(body.Offsets)+len(body.Timestamps))
	for i := range body.Offsets {
		entry := &body.Offsets[i]
		partition, err := topicPartition("offsets", i, entry.Topic, entry.Partition)
		if err != nil {
			return rest.Operation{}, nil, err
		}
		offset, err := entry.offset("offsets", i)
		if err != nil {
			return rest.Operation{}, nil, err
		}
		targets = append(targets, consumer.Target{TopicPartition: partition, Offset: offset})
	}
	for i := range body.Timestamps {
		entry := &body.Timestamps[i]
		partition, err := topicPartition("timestamps", i, entry.Topic, entry.Partition)
		if err != nil {
			return rest.Operation{}, nil, err
		}
		at, err := instant(entry.Timestamp)
		if err != nil {
			return rest.Operation{}, nil, fault.Newf(fault.MalformedJSON, "timestamps[%d].timestamp %s", i, err.Error())
		}
		targets = append(targets, consumer.Target{TopicPartition: partition, Lookup: true, At: at})
	}
	return seek(r, targets)
}

func bindSeekToBeginning(r *rest.Request) (rest.Operation, rest.Serve, error) {
	return bindSeekTo(r, reader.Earliest)
}

func bindSeekToEnd(r *rest.Request) (rest.Operation, rest.Serve, error) {
	return bindSeekTo(r, reader.Latest)
}

func bindSeekTo(r *rest.Request, at int64) (rest.Operation, rest.Serve, error) {
	partitions, err := decodePartitions(r)
	if err != nil {
		return rest.Operation{}, nil, err
	}
	targets := make([]consumer.Target, 0, len(partitions))
	for _, partition := range partitions {
		targets = append(targets, consumer.Target{TopicPartition: partition, Lookup: true, At: at})
	}
	return seek(r, targets)
}

func seek(r *rest.Request, targets []consumer.Target) (rest.Operation, rest.Serve, error) {
	resources := topicResources(targets, func(t *consumer.Target) string { return t.Topic })
	return onInstance(r, resources, func(ctx context.Context, w http.ResponseWriter, _ *rest.Grant, instance *consumer.Instance) error {
		if err := instance.Seek(ctx, targets); err != nil {
			return err
		}
		rest.NoContent(w)
		return nil
	})
}

// instant reads a timestamp as the REST Proxy does: an ISO-8601 instant, or a number of seconds since 1970. It gives milliseconds,
// rounded up, so that no earlier record is found.
func instant(value jsontext.Value) (int64, error) {
	switch rawjson.Kind(value) {
	case '"':
		at, err := time.Parse(time.RFC3339Nano, string(rawjson.Unquote(value)))
		if err != nil {
			return 0, fault.New(fault.MalformedJSON, "is not an ISO-8601 instant such as 2024-05-01T10:00:00Z")
		}
		return max(0, at.Add(time.Millisecond-1).UnixMilli()), nil
	case '0':
		seconds, err := strconv.ParseFloat(string(value), 64)
		if err != nil || math.IsNaN(seconds) || seconds < 0 || seconds > math.MaxInt64/2e3 {
			return 0, fault.New(fault.MalformedJSON, "is not a number of seconds since 1970")
		}
		return int64(math.Ceil(seconds * 1e3)), nil
	default:
		return 0, fault.New(fault.MalformedJSON, "must be an ISO-8601 instant such as 2024-05-01T10:00:00Z")
	}
}
