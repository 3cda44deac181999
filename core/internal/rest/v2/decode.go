package v2

import (
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

func (d *decoder) request(body []byte) ([]record.Record, error) {
	if len(rawjson.Trim(body)) == 0 {
		return nil, fault.New(fault.Unprocessable, "The request body is empty. Data is required.")
	}
	if err := rawjson.Check(body, d.limits); err != nil {
		return nil, rest.Malformed(err)
	}
	body = rawjson.Trim(body)
	if rawjson.IsNull(body) {
		return nil, fault.New(fault.Unprocessable, "The request body is null. Data is required.")
	}
	if rawjson.Kind(body) != '{' {
		return nil, fault.New(fault.MalformedJSON, "The request body must be a JSON object with an array named records.")
	}
	if d.codec == nil {
		return nil, fault.New(fault.InvalidPayload, "Payload error. Schema Registry must be configured when using schemas.")
	}
	var array []byte
	var seen names
	for name, value := range rawjson.Members(body) {
		switch string(name) {
		case "records":
			array = value
		case "key_schema", "value_schema", "key_schema_id", "value_schema_id": // mean nothing to formats without a schema
		default:
			return nil, fault.Newf(fault.Unprocessable, "Unrecognized field: %s", format.Excerpt(name))
		}
		if !seen.add(name) {
			return nil, duplicate(name)
		}
	}
	switch {
	case array == nil || rawjson.IsNull(array):
		return nil, fault.New(fault.Unprocessable, "records must not be empty (was null)")
	case rawjson.Kind(array) != '[':
		return nil, fault.New(fault.MalformedJSON, "records must be an array.")
	}
	return d.records(array)
}

func (d *decoder) records(array []byte) ([]record.Record, error) {
	records := make([]record.Record, 0, 1+min(len(array)/128, d.maxRecords))
	for element := range rawjson.Elements(array) {
		if len(records) == d.maxRecords {
			return nil, fault.Newf(fault.BodyTooLarge, "The request has more than %d records. Send less in one request.", d.maxRecords)
		}
		records = append(records, d.template)
		if err := d.record(element, &records[len(records)-1]); err != nil {
			f := *fault.From(err) // the same text for every record: say which one it was
			if f.Code == fault.MalformedJSON || f.Code == fault.Unprocessable {
				f.Message = "records[" + strconv.Itoa(len(records)-1) + "]: " + f.Message
			}
			return nil, &f
		}
	}
	if len(records) == 0 {
		return nil, fault.New(fault.Unprocessable, "records must not be empty (was [])")
	}
	return records, nil
}

func (d *decoder) record(element []byte, r *record.Record) error {
	if rawjson.Kind(element) != '{' {
		return fault.New(fault.MalformedJSON, "a record must be a JSON object.")
	}
	var seen names
	for name, value := range rawjson.Members(element) {
		var err error
		switch string(name) {
		case "key":
			r.Key, err = d.encode(value)
		case "value":
			r.Value, err = d.encode(value)
		case "partition":
			r.Partition, err = d.partition(value)
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

func (d *decoder) encode(value []byte) ([]byte, error) {
	if rawjson.IsNull(value) {
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
