package v2

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/format"
	"github.com/weir-gateway/weir/core/internal/kafka/consumer"
	"github.com/weir-gateway/weir/core/internal/record"
	"github.com/weir-gateway/weir/core/internal/rest"
)

// BindConsume reads with an instance. What clients of the REST Proxy get is what they always got; ack, include and undecodable are
// asked for.
func BindConsume(r *rest.Request) (rest.Operation, rest.Serve, error) {
	query, err := rest.ParseReadQuery(r)
	if err != nil {
		return rest.Operation{}, nil, err
	}
	var ack *string
	parameters, err := r.Query()
	if err != nil {
		return rest.Operation{}, nil, err
	}
	if values, given := parameters["ack"]; given {
		ack = &values[0]
	}
	return onInstance(r, nil, func(ctx context.Context, w http.ResponseWriter, grant *rest.Grant, instance *consumer.Instance) error {
		options := instance.Options()
		if !readableAs(r.Answer, options.Format) {
			return fault.New(fault.FormatMismatch, "The requested embedded data format does not match the deserializer for this consumer instance")
		}
		sides := sidesFor(r, options.Format, query.Undecodable)
		poll := consumer.PollOptions{Wait: options.Timeout, MinBytes: options.MinBytes, MaxBytes: query.MaxBytes, Ack: ack, Stop: r.Draining().Done()}
		if query.Wait > 0 {
			poll.Wait = min(poll.Wait, query.Wait) // a client can shorten the wait that its instance was made with, never extend it
		}
		if query.Undecodable == rest.Refuse {
			poll.Decodable = sides.Decodable
		}
		batch, err := instance.Poll(ctx, poll)
		if err != nil {
			return err
		}
		delivered := false
		defer func() { batch.Done(delivered) }()
		describe(w.Header(), batch)
		out := rest.NewPieces(w, r, r.Answer)
		out.Bytes = append(out.Bytes, '[')
		if err := rest.WriteRecords(out, grant, batch.Ranges, &shape{timestamp: query.Timestamp, headers: query.Headers}, sides); err == nil {
			out.Bytes = append(out.Bytes, ']')
		}
		delivered = out.End() == nil
		return nil
	})
}

// readableAs reports whether an instance's format can be read as a media type. What names no format means binary.
func readableAs(answer rest.MediaType, format string) bool {
	if answer == rest.KafkaV2JSON {
		return format == "binary"
	}
	return answer == rest.MediaType("application/vnd.kafka."+format+".v2+json")
}

// sidesFor gives a format's way to text.
func sidesFor(r *rest.Request, name string, undecodable rest.Undecodable) *rest.Sides {
	var decoder format.Decoder = format.Binary{}
	if name == "json" {
		decoder = format.JSON{Known: r.KnownJSON()}
	}
	return &rest.Sides{Key: decoder, Value: decoder, Undecodable: undecodable}
}

// describe says in headers what an array of records cannot.
func describe(header http.Header, batch *consumer.Batch) {
	if batch.State != "" {
		header.Set("Weir-Consumer-State", string(batch.State))
	}
	if batch.Token != "" {
		header.Set("Weir-Batch", batch.Token)
	}
	if batch.Again {
		header.Set("Weir-Batch-Redelivered", "true")
	}
	if len(batch.Missing) > 0 {
		missing := make([]string, 0, len(batch.Missing))
		for i := range batch.Missing {
			one := &batch.Missing[i]
			missing = append(missing, one.Topic+":"+strconv.Itoa(int(one.Partition))+":"+strconv.FormatInt(one.Start, 10)+"-"+strconv.FormatInt(one.End-1, 10))
		}
		header.Set("Weir-Batch-Missing", strings.Join(missing, ", "))
	}
}

// shape is a record as v2 writes it. What comes before a partition's first difference is written once.
type shape struct {
	timestamp, headers bool

	topic, partition []byte
}

// Begin prepares what all records of a partition share.
func (s *shape) Begin(partition record.TopicPartition) {
	s.topic = rest.AppendString(append(s.topic[:0], `{"topic":`...), partition.Topic)
	s.topic = append(s.topic, `,"key":`...)
	s.partition = strconv.AppendInt(append(s.partition[:0], `,"partition":`...), int64(partition.Partition), 10)
	s.partition = append(s.partition, `,"offset":`...)
}

// Append appends one record.
func (s *shape) Append(b []byte, r *record.Stored, sides *rest.Sides) ([]byte, error) {
	b, err := sides.AppendKey(append(b, s.topic...), r)
	if err != nil {
		return b, err
	}
	if b, err = sides.AppendValue(append(b, `,"value":`...), r); err != nil {
		return b, err
	}
	b = strconv.AppendInt(append(b, s.partition...), r.Offset, 10)
	if s.timestamp {
		b = rest.AppendTime(append(b, `,"timestamp":`...), r)
	}
	if s.headers {
		b = rest.AppendHeaders(append(b, `,"headers":`...), r.Headers)
	}
	return append(b, '}'), nil
}

// bindReadPartition reads a partition from an offset, without an instance: nothing is kept between two requests.
func bindReadPartition(r *rest.Request) (rest.Operation, rest.Serve, error) {
	return BindReadMessages(r, 0)
}

// BindReadMessages is the same for at most count records; 0: as many as max_bytes allows.
func BindReadMessages(r *rest.Request, count int) (rest.Operation, rest.Serve, error) {
	read, err := rest.BindRead(r)
	if err != nil {
		return rest.Operation{}, nil, err
	}
	read.Count = count
	name := "binary"
	if r.Answer == "application/vnd.kafka.json.v2+json" {
		name = "json"
	}
	sides := sidesFor(r, name, read.Query.Undecodable)
	return rest.Operation{Resources: []rest.Resource{{Type: "topic", Name: read.Topic}}}, func(ctx context.Context, w http.ResponseWriter, grant *rest.Grant) error {
		cluster, err := grant.Cluster()
		if err != nil {
			return err
		}
		answer, err := read.Fetch(ctx, r, grant, cluster, sides, string(r.Answer), r.Settings.Consume.IsolationLevel == "read_committed")
		if err != nil {
			return err
		}
		defer answer.Release()
		if answer.NotModified(w, r) {
			return nil
		}
		out := rest.NewPieces(w, r, r.Answer)
		out.Bytes = append(out.Bytes, '[')
		if err := rest.WriteRecords(out, grant, answer.Ranges(), &shape{timestamp: read.Query.Timestamp, headers: read.Query.Headers}, sides); err == nil {
			out.Bytes = append(out.Bytes, ']')
		}
		out.End() //nolint:errcheck // the client has gone; the access log shows it
		return nil
	}, nil
}
