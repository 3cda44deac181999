package v2

import (
	"slices"
	"strconv"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/format"
	"github.com/weir-gateway/weir/core/internal/rawjson"
	"github.com/weir-gateway/weir/core/internal/record"
	"github.com/weir-gateway/weir/core/internal/rest"
)

// decoder turns the body of a produce request into records, with no copy of keys and values where the format allows it.
type decoder struct {
	codec      format.Codec // nil: the format needs a schema registry
	limits     rawjson.Limits
	maxRecords int
	template   record.Record // topic and the path's partition
}

func codecFor(r *rest.Request) format.Codec {
	switch r.ContentType.Type {
	case "application/vnd.kafka.binary.v2+json":
		return format.Binary{}
	case "application/vnd.kafka.json.v2+json":
		return format.JSON{RejectDuplicateNames: r.Settings.JSON.DuplicateNames == "reject"}
	default:
		return nil
	}
}

// request reads a whole body. One that is not JSON is told as that, whatever else is wrong with it.
func (d *decoder) request(body []byte) ([]record.Record, error) {
	text := rawjson.NewCursor(body, d.limits)
	records, err := d.envelope(text, len(body))
	if len(rawjson.Trim(body)) == 0 {
		return nil, fault.New(fault.Unprocessable, "The request body is empty. Data is required.")
	}
	if malformed := text.End(); malformed != nil {
		return nil, rest.Malformed(malformed)
	}
	return records, err
}

func (d *decoder) envelope(text *rawjson.Cursor, size int) ([]record.Record, error) {
	switch text.Kind() {
	case 'n':
		text.Value()
		return nil, fault.New(fault.Unprocessable, "The request body is null. Data is required.")
	case '{':
	default:
		return nil, fault.New(fault.MalformedJSON, "The request body must be a JSON object with an array named records.")
	}
	if d.codec == nil {
		return nil, fault.New(fault.InvalidPayload, "Payload error. Schema Registry must be configured when using schemas.")
	}
	var records []record.Record
	var seen names
	for name := range text.Members() {
		if !seen.add(name) {
			return nil, duplicate(name)
		}
		switch string(name) {
		case "records":
			var err error
			if records, err = d.records(text, size); err != nil {
				return nil, err
			}
		case "key_schema", "value_schema", "key_schema_id", "value_schema_id": // mean nothing to formats without a schema
		default:
			return nil, fault.Newf(fault.Unprocessable, "Unrecognized field: %s", format.Excerpt(name))
		}
	}
	if records == nil {
		return nil, fault.New(fault.Unprocessable, "records must not be empty (was null)")
	}
	return records, nil
}

// records reads the array of records; nil without an error when it is null.
func (d *decoder) records(text *rawjson.Cursor, size int) ([]record.Record, error) {
	switch text.Kind() {
	case 'n':
		return nil, nil
	case '[':
	default:
		return nil, fault.New(fault.MalformedJSON, "records must be an array.")
	}
	start := text.Offset()
	records := make([]record.Record, 0, 1)
	for i := range text.Elements() {
		if i == d.maxRecords {
			return nil, fault.Newf(fault.BodyTooLarge, "The request has more than %d records. Send less in one request.", d.maxRecords)
		}
		if i == cap(records) { // as many as there will be, if they are as long as those before
			read := text.Offset() - start
			more := 1 + int(int64(size-text.Offset())*int64(i)/int64(max(1, read)))
			records = slices.Grow(records, min(more, d.maxRecords-i))
		}
		records = append(records, d.template)
		if err := d.record(text, &records[i]); err != nil {
			f := *fault.From(err) // the same text for every record: say which one it was
			if f.Code == fault.MalformedJSON || f.Code == fault.Unprocessable {
				f.Message = "records[" + strconv.Itoa(i) + "]: " + f.Message
			}
			return nil, &f
		}
	}
	if len(records) == 0 {
		return nil, fault.New(fault.Unprocessable, "records must not be empty (was [])")
	}
	return records, nil
}

func (d *decoder) record(text *rawjson.Cursor, r *record.Record) error {
	if text.Kind() != '{' {
		return fault.New(fault.MalformedJSON, "a record must be a JSON object.")
	}
	var seen names
	for name := range text.Members() {
		var err error
		switch string(name) {
		case "key":
			r.Key, err = d.encode(text.Value())
		case "value":
			r.Value, err = d.encode(text.Value())
		case "partition":
			r.Partition, err = d.partition(text.Value())
		default:
			return fault.Newf(fault.Unprocessable, "Unrecognized field: %s", format.Excerpt(name))
		}
		if err != nil {
			return err
		}
		if !seen.add(name) {
			return duplicate(name)
		}
	}
	return nil
}

// encode encodes a key or value; one that could not be read is nil, and the cursor's end tells.
func (d *decoder) encode(value []byte) ([]byte, error) {
	if value == nil || rawjson.IsNull(value) {
		return nil, nil
	}
	return d.codec.Encode(value)
}

func (d *decoder) partition(value []byte) (int32, error) {
	if rawjson.IsNull(value) {
		return d.template.Partition, nil
	}
	n, err := strconv.ParseInt(string(value), 10, 32)
	if err != nil {
		return 0, fault.Newf(fault.MalformedJSON, "partition %s is not an integer of 32 bits.", format.Excerpt(value))
	}
	if n < 0 {
		return 0, fault.Newf(fault.Unprocessable, "partition must be greater than or equal to 0 (was %d)", n)
	}
	return int32(n), nil
}

// names finds a name that comes twice in an envelope, whose few known names it remembers without allocating.
type names struct {
	seen [8]string
	n    int
}

func (s *names) add(name []byte) bool {
	for _, earlier := range s.seen[:s.n] {
		if earlier == string(name) {
			return false
		}
	}
	if s.n < len(s.seen) {
		s.seen[s.n] = intern(name)
		s.n++
	}
	return true
}

// intern gives the string of a known name without allocating it.
func intern(name []byte) string {
	switch string(name) {
	case "records":
		return "records"
	case "key":
		return "key"
	case "value":
		return "value"
	case "partition":
		return "partition"
	default:
		return string(name)
	}
}

func duplicate(name []byte) error {
	return fault.Newf(fault.MalformedJSON, "Bad Request: the field %s is there twice.", format.Excerpt(name))
}
