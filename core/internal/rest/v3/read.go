package v3

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/format"
	"github.com/weir-gateway/weir/core/internal/record"
	"github.com/weir-gateway/weir/core/internal/rest"
)

// bindReadPartition reads a partition from an offset: the REST Proxy's v3 has no reading at all. The answer's next link goes on where
// it ended.
func bindReadPartition(r *rest.Request) (rest.Operation, rest.Serve, error) {
	read, err := rest.BindRead(r)
	if err != nil {
		return rest.Operation{}, nil, err
	}
	key, keyName, err := sideFormat(r, "key_format")
	if err != nil {
		return rest.Operation{}, nil, err
	}
	value, valueName, err := sideFormat(r, "value_format")
	if err != nil {
		return rest.Operation{}, nil, err
	}
	sides := &rest.Sides{Key: key, Value: value, Undecodable: read.Query.Undecodable}
	id := r.PathValue("cluster")
	return rest.Operation{Cluster: id, Resources: []rest.Resource{{Type: "topic", Name: read.Topic}}}, func(ctx context.Context, w http.ResponseWriter, grant *rest.Grant) error {
		cluster, err := grant.Cluster()
		if err != nil {
			return err
		}
		answer, err := read.Fetch(ctx, r, grant, cluster, sides, "v3 "+keyName+" "+valueName, r.Settings.Consume.IsolationLevel == "read_committed")
		if err != nil {
			return err
		}
		defer answer.Release()
		if answer.NotModified(w, r) {
			return nil
		}
		n := namesFor(r, id)
		path := n.url("/topics/" + read.Topic + "/partitions/" + strconv.Itoa(int(read.Partition)) + "/records")
		out := rest.NewPieces(w, r, r.Answer)
		out.Bytes = rest.AppendString(append(out.Bytes, `{"kind":"KafkaRecordList","metadata":{"self":`...), withQuery(path, r.URL.RawQuery))
		out.Bytes = append(out.Bytes, `,"next":`...)
		if next, more := answer.Next(); more {
			out.Bytes = rest.AppendString(out.Bytes, withQuery(path, nextQuery(r, next)))
		} else {
			out.Bytes = append(out.Bytes, "null"...)
		}
		out.Bytes = append(out.Bytes, `},"data":[`...)
		shape := &recordShape{names: n, keyType: strings.ToUpper(keyName), valueType: strings.ToUpper(valueName)}
		if err := rest.WriteRecords(out, grant, answer.Ranges(), shape, sides); err == nil {
			out.Bytes = append(out.Bytes, `]}`...)
		}
		out.End() //nolint:errcheck // the client has gone; the access log shows it
		return nil
	}, nil
}

// sideFormat reads how one side of the records is to be written: its own parameter, or format for both.
func sideFormat(r *rest.Request, parameter string) (format.Decoder, string, error) {
	query, err := r.Query()
	if err != nil {
		return nil, "", err
	}
	name := query.Get(parameter)
	if name == "" {
		parameter, name = "format", query.Get("format")
	}
	switch strings.ToLower(name) {
	case "", "binary":
		return format.Binary{}, "binary", nil
	case "json":
		return format.JSON{Known: r.KnownJSON()}, "json", nil
	case "string":
		return format.String{}, "string", nil
	default:
		return nil, "", fault.Newf(fault.InvalidRequest, "Bad Request: %s=%s: the formats are binary, json and string.", parameter, format.Excerpt([]byte(name)))
	}
}

func withQuery(path, query string) string {
	if query == "" {
		return path
	}
	return path + "?" + query
}

// nextQuery is the request's query, from where this answer ended.
func nextQuery(r *rest.Request, next int64) string {
	query := r.URL.Query() // a copy, to be changed
	query.Del("timestamp")
	query.Set("offset", strconv.FormatInt(next, 10))
	return query.Encode()
}

// recordShape is a record as v3 writes it: in the words in which v3 takes one.
type recordShape struct {
	names              names
	keyType, valueType string

	prefix []byte
}

// Begin prepares what all records of a partition share.
func (s *recordShape) Begin(partition record.TopicPartition) {
	s.prefix = rest.AppendString(append(s.prefix[:0], `{"kind":"KafkaRecord","cluster_id":`...), s.names.cluster)
	s.prefix = rest.AppendString(append(s.prefix, `,"topic_name":`...), partition.Topic)
	s.prefix = strconv.AppendInt(append(s.prefix, `,"partition_id":`...), int64(partition.Partition), 10)
	s.prefix = append(s.prefix, `,"offset":`...)
}

// Append appends one record.
func (s *recordShape) Append(b []byte, r *record.Stored, sides *rest.Sides) ([]byte, error) {
	b = strconv.AppendInt(append(b, s.prefix...), r.Offset, 10)
	b = rest.AppendTime(append(b, `,"timestamp":`...), r)
	b = rest.AppendHeaders(append(b, `,"headers":`...), r.Headers)
	b = append(b, `,"key":`...)
	var err error
	if r.Key == nil {
		b = append(b, "null"...)
	} else if b, err = sides.AppendKey(typed(b, s.keyType), r); err == nil {
		b = append(b, '}')
	}
	b = append(b, `,"value":`...)
	switch {
	case err != nil:
		return b, err
	case r.Value == nil:
		b = append(b, "null"...)
	default:
		if b, err = sides.AppendValue(typed(b, s.valueType), r); err != nil {
			return b, err
		}
		b = append(b, '}')
	}
	return append(b, '}'), nil
}

func typed(b []byte, name string) []byte {
	b = append(b, `{"type":"`...)
	b = append(b, name...)
	return append(b, `","data":`...)
}
