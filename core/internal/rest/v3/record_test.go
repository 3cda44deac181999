package v3

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/rawjson"
	"github.com/weir-gateway/weir/core/internal/record"
	"github.com/weir-gateway/weir/core/internal/rest"
)

func settings() *config.Config {
	settings := config.Default()
	return &settings
}

func TestRead(t *testing.T) {
	t.Parallel()
	at := time.Date(2024, 5, 1, 10, 0, 0, 123e6, time.UTC)
	for _, c := range []struct {
		name, text string
		want       decoded
	}{
		{"nothing", `{}`, decoded{record: record.Record{Topic: "t", Partition: -1}}},
		{"everything", `{"partition_id":2,"timestamp":"2024-05-01T12:00:00.123456+02:00","headers":[{"name":"a","value":"MQ=="},{"name":"b"},{"name":"a","value":null}],
			"key":{"type":"STRING","data":"\u00e9"},"value":{"type":"JSON","data":{"x" : 1}}}`,
			decoded{record: record.Record{Topic: "t", Partition: 2, Timestamp: at, Headers: []record.Header{{Name: "a", Value: []byte("1")}, {Name: "a"}, {Name: "b"}},
				Key: []byte("é"), Value: []byte(`{"x":1}`)}, key: side{"STRING", 2}, value: side{"JSON", 7}}},
		{"nulls", `{"partition_id":null,"headers":null,"key":{"type":"BINARY","data":null},"value":null,"timestamp":null}`,
			decoded{record: record.Record{Topic: "t", Partition: -1}, key: side{"BINARY", -1}}},
		{"empty is not null", `{"value":{"type":"BINARY","data":""}}`, decoded{record: record.Record{Topic: "t", Partition: -1, Value: []byte{}}, value: side{"BINARY", 0}}},
		{"seconds", `{"timestamp":1714557600.123}`, decoded{record: record.Record{Topic: "t", Partition: -1, Timestamp: at}}},
	} {
		d := newDecoder(&rest.Request{Settings: settings()}, "t")
		var got decoded
		if err := d.read([]byte(c.text), &got); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(decoded{}, side{}), cmpopts.EquateApproxTime(time.Millisecond)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]fault.Code{
		// What is wrong in a key does not hide what is wrong with the object after it.
		`{"key":{"type":"BINARY","data":"!","schema":null},"y":1}`: fault.Unprocessable, `{"key":{"type":"BINARY","data":"!","schema":null},"value":1}`: fault.MalformedJSON,
		`[]`: fault.MalformedJSON, `1`: fault.MalformedJSON, `{"x":1}`: fault.Unprocessable, `{"id":"a"}`: fault.Unprocessable,
		`{"key":1}`: fault.MalformedJSON, `{"key":{}}`: fault.MalformedJSON, `{"key":{"type":"JSON"}}`: fault.MalformedJSON,
		`{"value":{"type":"json","data":1}}`: fault.MalformedJSON, `{"value":{"type":"BINARY","data":1}}`: fault.InvalidRequest,
		`{"value":{"type":"BINARY","data":"*"}}`: fault.InvalidRequest, `{"value":{"type":"STRING","data":1}}`: fault.InvalidRequest,
		`{"value":{"type":"BINARY","schema_id":1,"data":""}}`: fault.MalformedJSON, `{"value":{"type":"AVRO","schema_id":1,"data":""}}`: fault.MalformedJSON,
		`{"value":{"subject":"s","subject_name_strategy":"TOPIC_NAME","data":""}}`: fault.MalformedJSON, `{"value":{"schema_id":1,"schema_version":1,"data":""}}`: fault.MalformedJSON,
		`{"value":{"type":"AVRO","schema":"\"string\"","data":""}}`: fault.InvalidPayload, `{"value":{"data":""}}`: fault.InvalidPayload,
		`{"partition_id":-1}`: fault.PartitionNotFound, `{"partition_id":1.5}`: fault.MalformedJSON, `{"partition_id":2147483648}`: fault.MalformedJSON,
		`{"headers":{}}`: fault.MalformedJSON, `{"headers":[{}]}`: fault.MalformedJSON, `{"headers":[{"name":1}]}`: fault.MalformedJSON,
		`{"headers":[{"name":"a","value":"*"}]}`: fault.MalformedJSON, `{"headers":[{"name":"a","x":1}]}`: fault.Unprocessable,
		`{"timestamp":"yesterday"}`: fault.MalformedJSON, `{"timestamp":-1}`: fault.MalformedJSON, `{"timestamp":"1960-01-01T00:00:00Z"}`: fault.MalformedJSON,
		`{"value":null,"value":null}`: fault.MalformedJSON,
		// Shape comes before content, wherever it stands.
		`{"partition_id":-1,"x":1}`: fault.Unprocessable,
	} {
		d := newDecoder(&rest.Request{Settings: settings()}, "t")
		var got decoded
		if err := d.read([]byte(text), &got); fault.From(err) == nil || fault.From(err).Code != want {
			t.Errorf("%s: got %v, want %v", text, err, want)
		}
	}
}

func FuzzStreamRecords(f *testing.F) {
	for _, seed := range []string{`{}{"value":{"type":"JSON","data":{"a":1}}}`, `{"key":{"type":"BINARY","data":"eA=="},"headers":[{"name":"a"}]} {"partition_id":1}`,
		`{"timestamp":"2024-05-01T10:00:00Z"}`, `{"value":{"schema_id":1,"data":null}}`, `{},{}`, `[1]2"x"`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		reader := rawjson.NewReader(bytes.NewReader(stream), 1<<16, rawjson.Limits{Depth: 100, NumberLength: 100})
		d := newDecoder(&rest.Request{Settings: settings()}, "t")
		for {
			value, err := reader.Next()
			var limit *rawjson.LimitError
			if errors.As(err, &limit) {
				continue
			}
			if err != nil {
				if !errors.Is(err, io.EOF) && lastWords(err) == nil {
					t.Fatalf("%q: ended without a word: %v", stream, err)
				}
				return
			}
			var got decoded
			err = d.read(bytes.Clone(value), &got)
			if err != nil && fault.From(err).Code == fault.Internal {
				t.Fatalf("%q: %v", value, err)
			}
			writer := receipts{cluster: "c", topic: "t", outcomes: true}
			receipt := record.Receipt{Err: err}
			if err == nil {
				receipt.Outcome = record.Persisted
			}
			if text := writer.append(nil, &got, &receipt); rawjson.Check(text, rawjson.Limits{Depth: 9, NumberLength: 99}) != nil {
				t.Fatalf("%q: the receipt is not JSON: %s", value, text)
			}
		}
	})
}

func FuzzBatch(f *testing.F) {
	for _, seed := range []string{`{"entries":[{"id":"a"},{"id":"b","value":{"type":"STRING","data":"x"}}]}`, `{"entries":[]}`, `{"entries":[{"id":1}]}`, `{"entries":[{"id":"a","partition_id":-1}]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r := &rest.Request{Request: &http.Request{}, Settings: settings()}
		entries, err := readBatch(r, "t", body)
		if err != nil {
			if fault.From(err).Code == fault.Internal {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		ids := map[string]bool{}
		for _, e := range entries {
			if e.id == "" || len(e.id) > 80 || strings.ContainsAny(e.id, "\" \\\n") || ids[e.id] {
				t.Fatalf("%q: id %q", body, e.id)
			}
			ids[e.id] = true
		}
	})
}
