package v3

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/format"
	"github.com/weir-gateway/weir/core/internal/rawjson"
	"github.com/weir-gateway/weir/core/internal/record"
	"github.com/weir-gateway/weir/core/internal/rest"
)

// side is what a receipt says of a key or a value: nothing, when the record object had none.
type side struct {
	format string // empty: the record object had none
	size   int    // bytes stored; -1 for null
}

// decoded is one record object, read.
type decoded struct {
	record     record.Record
	id         string // of a batch entry
	key, value side
}

// decoder reads record objects. The memory of what it is given becomes the record's.
type decoder struct {
	topic string
	json  format.JSON
	batch bool // entries have an id

	maxHeaders int
}

func newDecoder(r *rest.Request, topic string) decoder {
	return decoder{topic: topic, json: format.JSON{RejectDuplicateNames: r.Settings.JSON.DuplicateNames == "reject"}, maxHeaders: r.Settings.Limits.RecordHeaders}
}

// read reads one checked JSON value. Two kinds of error are told apart, since a batch is refused as a whole for the first but
// not for the second: MalformedJSON and Unprocessable are about the object's shape, any other code about what is in it.
func (d *decoder) read(value []byte, into *decoded) error {
	into.record.Topic, into.record.Partition = d.topic, record.AnyPartition
	if rawjson.Kind(value) != '{' {
		return fault.New(fault.MalformedJSON, "Bad Request: a record must be a JSON object.")
	}
	text := rawjson.NewCursor(value, unlimited)
	var content error // the first error about what is in the object; errors of shape come before it
	remember := func(err error) error {
		if f := fault.From(err); f != nil {
			if f.Code == fault.MalformedJSON || f.Code == fault.Unprocessable {
				return err
			}
			if content == nil {
				content = err
			}
		}
		return nil
	}
	var seen fields
	for name := range text.Members() {
		field := fieldOf(name)
		if field == 0 || field == fieldID && !d.batch {
			return fault.Newf(fault.Unprocessable, "Unrecognized field: %s", format.Excerpt(name))
		}
		if !seen.add(field) {
			return fault.Newf(fault.MalformedJSON, "Bad Request: the field %s is there twice.", format.Excerpt(name))
		}
		if text.Kind() == 'n' && field != fieldID {
			continue
		}
		var err error
		switch field {
		case fieldPartition:
			into.record.Partition, err = partition(text.Value())
		case fieldTimestamp:
			into.record.Timestamp, err = timestamp(text.Value())
		case fieldHeaders:
			into.record.Headers, err = d.headers(text.Value())
		case fieldKey:
			into.record.Key, into.key, err = d.data(text)
		case fieldValue:
			into.record.Value, into.value, err = d.data(text)
		case fieldID:
			into.id, err = entryID(text.Value())
		}
		if err = remember(err); err != nil {
			return err
		}
	}
	if d.batch && !seen.has(fieldID) {
		return invalidID
	}
	return content
}

// unlimited are the limits for text that was checked against the real ones already.
var unlimited = rawjson.Limits{Depth: math.MaxInt, NumberLength: math.MaxInt}

// The known fields of a record object, as bits.
type field uint8

const (
	fieldPartition field = 1 << iota
	fieldHeaders
	fieldKey
	fieldValue
	fieldTimestamp
	fieldID
)

type fields field

func (s *fields) add(f field) bool {
	if s.has(f) {
		return false
	}
	*s |= fields(f)
	return true
}

func (s *fields) has(f field) bool { return *s&fields(f) != 0 }

func fieldOf(name []byte) field {
	switch string(name) {
	case "partition_id":
		return fieldPartition
	case "headers":
		return fieldHeaders
	case "key":
		return fieldKey
	case "value":
		return fieldValue
	case "timestamp":
		return fieldTimestamp
	case "id":
		return fieldID
	default:
		return 0
	}
}

func partition(value []byte) (int32, error) {
	n, err := strconv.ParseInt(string(value), 10, 32)
	if err != nil {
		return 0, fault.Newf(fault.MalformedJSON, "Bad Request: partition_id %s is not an integer of 32 bits.", format.Excerpt(value))
	}
	if n < 0 {
		return 0, fault.New(fault.PartitionNotFound, "Partition not found.")
	}
	return int32(n), nil
}

// timestamp reads an ISO-8601 instant, or a number of seconds since the epoch. Kafka keeps milliseconds.
func timestamp(value []byte) (time.Time, error) {
	switch rawjson.Kind(value) {
	case '"':
		if t, err := time.Parse(time.RFC3339Nano, string(rawjson.Unquote(value))); err == nil && t.UnixMilli() >= 0 {
			return t.UTC().Truncate(time.Millisecond), nil
		}
	case '0':
		if seconds, err := strconv.ParseFloat(string(value), 64); err == nil && seconds >= 0 && seconds < 1e12 {
			return time.UnixMilli(int64(math.Round(seconds * 1000))).UTC(), nil
		}
	}
	return time.Time{}, fault.Newf(fault.MalformedJSON, "Bad Request: timestamp %s is not an ISO-8601 instant of 1970 or later.", format.Excerpt(value))
}

// headers reads header objects. They are grouped by name in the order in which the names first appear, as the REST Proxy does.
func (d *decoder) headers(value []byte) ([]record.Header, error) {
	if rawjson.Kind(value) != '[' {
		return nil, fault.New(fault.MalformedJSON, "Bad Request: headers must be an array.")
	}
	var read []record.Header
	appeared := map[string]int{}
	for element := range rawjson.Elements(value) {
		if len(read) == d.maxHeaders {
			return nil, fault.Newf(fault.RecordTooLarge, "The record has more than %d headers.", d.maxHeaders)
		}
		header, err := header(element)
		if err != nil {
			return nil, err
		}
		if _, found := appeared[header.Name]; !found {
			appeared[header.Name] = len(appeared)
		}
		read = append(read, header)
	}
	slices.SortStableFunc(read, func(a, b record.Header) int { return appeared[a.Name] - appeared[b.Name] })
	return read, nil
}

func header(element []byte) (record.Header, error) {
	var header record.Header
	if rawjson.Kind(element) != '{' {
		return header, fault.New(fault.MalformedJSON, "Bad Request: a header must be an object with a name and a value.")
	}
	named, valued := false, false
	for name, member := range rawjson.Members(element) {
		switch string(name) {
		case "name":
			if named || rawjson.Kind(member) != '"' {
				return header, fault.New(fault.MalformedJSON, "Bad Request: a header must have one name, a string.")
			}
			header.Name, named = string(rawjson.Unquote(member)), true
		case "value":
			if valued {
				return header, fault.New(fault.MalformedJSON, "Bad Request: a header must have one value.")
			}
			valued = true
			if rawjson.IsNull(member) {
				continue
			}
			decoded, err := format.Binary{}.Encode(member)
			if err != nil {
				return header, fault.New(fault.MalformedJSON, "Bad Request: a header's value must be base64 or null.")
			}
			header.Value = decoded
		default:
			return header, fault.Newf(fault.Unprocessable, "Unrecognized field: %s", format.Excerpt(name))
		}
	}
	if !named {
		return header, fault.New(fault.MalformedJSON, "Bad Request: a header must have a name.")
	}
	return header, nil
}

// data reads a key or value object: {"type": …, "data": …} or one that names a schema. It takes all of the object, whatever is
// wrong in it, because what comes after is read too.
func (d *decoder) data(text *rawjson.Cursor) ([]byte, side, error) {
	var none side
	if text.Kind() != '{' {
		return nil, none, fault.New(fault.MalformedJSON, `Bad Request: a key or value must be an object such as {"type":"JSON","data":…}.`)
	}
	var kind string
	var data []byte
	var schema schemaFields
	var first error
	for name := range text.Members() {
		member := text.Value()
		known, err := true, error(nil)
		switch string(name) {
		case "type":
			if !rawjson.IsNull(member) {
				kind, err = typeName(member, kind)
			}
		case "data":
			if data != nil {
				err = fault.New(fault.MalformedJSON, "Bad Request: the field data is there twice.")
			}
			data = member
		default:
			known, err = schema.read(name, member)
		}
		if !known {
			err = fault.Newf(fault.Unprocessable, "Unrecognized field: %s", format.Excerpt(name))
		}
		if first == nil {
			first = err
		}
	}
	if first != nil {
		return nil, none, first
	}
	if err := schema.check(kind); err != nil {
		return nil, none, err
	}
	if data == nil {
		return nil, none, fault.New(fault.MalformedJSON, "Bad Request: a key or value must have the field data; it may be null.")
	}
	var codec format.Codec
	switch kind {
	case "BINARY":
		codec = format.Binary{}
	case "JSON":
		codec = d.json
	case "STRING":
		codec = format.String{}
	default:
		return nil, none, fault.New(fault.InvalidPayload, "Payload error. Schema Registry must be configured when using schemas.")
	}
	if rawjson.IsNull(data) {
		return nil, side{kind, -1}, nil
	}
	encoded, err := codec.Encode(data)
	return encoded, side{kind, len(encoded)}, err
}

func typeName(member []byte, earlier string) (string, error) {
	if earlier != "" {
		return "", fault.New(fault.MalformedJSON, "Bad Request: the field type is there twice.")
	}
	if rawjson.Kind(member) == '"' {
		for _, known := range []string{"BINARY", "JSON", "STRING", "AVRO", "JSONSCHEMA", "PROTOBUF"} {
			if string(rawjson.Unquote(member)) == known {
				return known, nil
			}
		}
	}
	return "", fault.Newf(fault.MalformedJSON, "Bad Request: type %s is not one of BINARY, JSON, STRING, AVRO, JSONSCHEMA, PROTOBUF.", format.Excerpt(member))
}

// schemaFields are the five fields that say which schema; only which of them are there matters until a registry is asked.
type schemaFields struct{ subject, strategy, id, version, text bool }

var strategies = []string{"TOPIC_NAME", "RECORD_NAME", "TOPIC_RECORD_NAME"}

func (s *schemaFields) read(name, member []byte) (known bool, err error) {
	var field *bool
	want := byte('"')
	switch string(name) {
	case "subject":
		field = &s.subject
	case "subject_name_strategy":
		field = &s.strategy
	case "schema_id":
		field, want = &s.id, '0'
	case "schema_version":
		field, want = &s.version, '0'
	case "schema":
		field = &s.text
	default:
		return false, nil
	}
	switch {
	case rawjson.IsNull(member):
		return true, nil
	case *field:
		return true, fault.Newf(fault.MalformedJSON, "Bad Request: the field %s is there twice.", name)
	case rawjson.Kind(member) != want:
		return true, fault.Newf(fault.MalformedJSON, "Bad Request: the field %s has the wrong type.", name)
	}
	*field = true
	if field == &s.strategy {
		strategy := string(rawjson.Unquote(member))
		for _, valid := range strategies {
			if strategy == valid {
				return true, nil
			}
		}
		return true, fault.Newf(fault.MalformedJSON, "Bad Request: subject_name_strategy must be one of %s.", strings.Join(strategies, ", "))
	}
	return true, nil
}

// check holds the matrix of what may be said together.
func (s *schemaFields) check(kind string) error {
	const cannot = "Cannot construct instance of a key or value: "
	sources := 0
	for _, given := range []bool{s.id, s.version, s.text} {
		if given {
			sources++
		}
	}
	var why string
	switch {
	case s.subject && s.strategy:
		why = "only one of subject and subject_name_strategy may be given."
	case sources > 1:
		why = "only one of schema_id, schema_version and schema may be given."
	case kind == "BINARY" || kind == "JSON" || kind == "STRING":
		if s.subject || s.strategy || sources > 0 {
			why = "type " + kind + " takes no schema."
		}
	case kind != "":
		if !s.text {
			why = "type " + kind + " needs schema; schema_id and schema_version go without a type."
		}
	case s.text:
		why = "schema needs a type, one of AVRO, JSONSCHEMA, PROTOBUF."
	}
	if why != "" {
		return fault.New(fault.MalformedJSON, cannot+why)
	}
	return nil
}
