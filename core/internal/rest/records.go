package rest

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/format"
	"github.com/weir-gateway/weir/core/internal/record"
)

// RecordShape is how an API writes one record of a read. Shapes differ in names and order, never in what a side of a record is.
type RecordShape interface {
	// Begin is called once for each partition of an answer.
	Begin(partition record.TopicPartition)
	// Append appends one record, or gives b back with the error of a side that its decoder refused.
	Append(b []byte, r *record.Stored, sides *Sides) ([]byte, error)
}

// Undecodable is what becomes of a record that is not in the format in which it is read.
type Undecodable string

// The choices.
const (
	Envelope Undecodable = "envelope" // the side is an object with its bytes and the reason
	Skip     Undecodable = "skip"     // the record is left out
	Refuse   Undecodable = "error"    // the read ends before it, or fails with it
)

// Sides writes keys and values.
type Sides struct {
	Key, Value  format.Decoder
	Undecodable Undecodable
}

// AppendKey appends a record's key, AppendValue its value: null for Kafka's null.
func (s *Sides) AppendKey(b []byte, r *record.Stored) ([]byte, error) {
	return s.append(b, s.Key, r.Key)
}

// AppendValue is AppendKey for the value.
func (s *Sides) AppendValue(b []byte, r *record.Stored) ([]byte, error) {
	return s.append(b, s.Value, r.Value)
}

func (s *Sides) append(b []byte, decoder format.Decoder, data []byte) ([]byte, error) {
	if data == nil {
		return append(b, "null"...), nil
	}
	appended, err := decoder.AppendJSON(b, data)
	if err == nil || s.Undecodable != Envelope {
		return appended, err
	}
	b = append(b, `{"undecodable":{"message":`...)
	b = AppendString(b, err.Error())
	b = append(b, `,"base64":"`...)
	b = base64.StdEncoding.AppendEncode(b, data)
	return append(b, `"}}`...), nil
}

// Decodable reports, for a reader that refuses what it cannot decode, why a record cannot be; nil otherwise.
func (s *Sides) Decodable(topic string, partition int32, r *record.Stored) error {
	for i, side := range [2][]byte{r.Key, r.Value} {
		if side == nil {
			continue
		}
		decoder, name := s.Key, "key"
		if i == 1 {
			decoder, name = s.Value, "value"
		}
		if _, err := decoder.AppendJSON(nil, side); err != nil {
			return fault.Newf(fault.Undecodable, "The %s of the record at offset %d of partition %d of topic %s is %s. Seek past it, or read with undecodable=envelope or undecodable=skip.", name, r.Offset, partition, topic, err)
		}
	}
	return nil
}

// WriteRecords writes the elements of an array of records. Each record passes the grant. Records that cannot be decoded are written
// as sides says; where they should have been refused before, they are left out.
func WriteRecords(p *Pieces, grant *Grant, ranges []record.Range, shape RecordShape, sides *Sides) error {
	first := true
	for i := range ranges {
		one := &ranges[i]
		shape.Begin(one.TopicPartition)
		given, size := 0, 0
		for j := range one.Records {
			r := &one.Records[j]
			if !grant.Deliver(one.Topic, r) {
				continue
			}
			before := len(p.Bytes)
			if !first {
				p.Bytes = append(p.Bytes, ',')
			}
			appended, err := shape.Append(p.Bytes, r, sides)
			if err != nil {
				p.Bytes = p.Bytes[:before]
				continue
			}
			p.Bytes, first = appended, false
			given, size = given+1, size+r.Size()
			if err := p.Flow(); err != nil {
				return err
			}
		}
		grant.delivered(given, size)
	}
	return nil
}

// AppendTime appends a record's timestamp as an ISO-8601 string of milliseconds, or null.
func AppendTime(b []byte, r *record.Stored) []byte {
	if r.Timestamp < 0 {
		return append(b, "null"...)
	}
	b = append(b, '"')
	b = r.Time().AppendFormat(b, "2006-01-02T15:04:05.000Z07:00")
	return append(b, '"')
}

// AppendHeaders appends record headers as an array of names and base64 values.
func AppendHeaders(b []byte, headers []record.Header) []byte {
	b = append(b, '[')
	for i := range headers {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"name":`...)
		b = AppendString(b, headers[i].Name)
		b = append(b, `,"value":`...)
		if headers[i].Value == nil {
			b = append(b, "null"...)
		} else {
			b = append(b, '"')
			b = base64.StdEncoding.AppendEncode(b, headers[i].Value)
			b = append(b, '"')
		}
		b = append(b, '}')
	}
	return append(b, ']')
}

// ReadQuery are the parameters that every reading of records has.
type ReadQuery struct {
	// Wait is the timeout parameter; 0: not given, or not positive.
	Wait time.Duration
	// MaxBytes is the bound on keys and values: max_bytes, at most the configured one.
	MaxBytes int
	// Timestamp and Headers are what include asks for.
	Timestamp, Headers bool
	Undecodable        Undecodable
}

// ParseReadQuery reads timeout, max_bytes, include and undecodable.
func ParseReadQuery(r *Request) (ReadQuery, error) {
	query, err := r.Query()
	if err != nil {
		return ReadQuery{}, err
	}
	q := ReadQuery{MaxBytes: r.Settings.Consume.RequestMaxBytes, Undecodable: Undecodable(r.Settings.Consume.Undecodable)}
	wait, err := number(query.Get("timeout"), "timeout", "a number of milliseconds")
	if err != nil {
		return q, err
	}
	if wait > 0 {
		q.Wait = time.Duration(min(wait, int64(r.Settings.Consume.MaxRequestTimeout/time.Millisecond))) * time.Millisecond
	}
	most, err := number(query.Get("max_bytes"), "max_bytes", "a number of bytes")
	if err != nil {
		return q, err
	}
	if most > 0 {
		q.MaxBytes = int(min(most, int64(q.MaxBytes)))
	}
	for _, list := range query["include"] {
		for name := range strings.SplitSeq(list, ",") {
			switch name {
			case "timestamp":
				q.Timestamp = true
			case "headers":
				q.Headers = true
			case "":
			default:
				return q, fault.Newf(fault.InvalidRequest, "Bad Request: include=%s: what can be included is headers and timestamp.", format.Excerpt([]byte(name)))
			}
		}
	}
	switch choice := query.Get("undecodable"); Undecodable(choice) {
	case "":
	case Envelope, Skip, Refuse:
		q.Undecodable = Undecodable(choice)
	default:
		return q, fault.Newf(fault.InvalidRequest, "Bad Request: undecodable=%s: the choices are envelope, skip and error.", format.Excerpt([]byte(choice)))
	}
	return q, nil
}

func number(text, name, what string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fault.Newf(fault.InvalidRequest, "Bad Request: %s=%s is not %s.", name, format.Excerpt([]byte(text)), what)
	}
	return n, nil
}

// NoContent answers that something was done and there is nothing to say about it.
func NoContent(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }
