package v2

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/format"
	"github.com/weir-gateway/weir/core/internal/rawjson"
	"github.com/weir-gateway/weir/core/internal/record"
)

func newDecoder(codec format.Codec) decoder {
	return decoder{codec: codec, limits: rawjson.Limits{Depth: 10, NumberLength: 20}, maxRecords: 3, template: record.Record{Topic: "t", Partition: record.AnyPartition}}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, body string
		codec      format.Codec
		want       []record.Record
	}{
		{"json, compacted and otherwise unchanged", `{"records":[{"key":{"b":1.0,"a":"\u0041 b"},"value": [ 1e2 , {} ]}]}`, format.JSON{},
			[]record.Record{{Topic: "t", Partition: -1, Key: []byte(`{"b":1.0,"a":"\u0041 b"}`), Value: []byte(`[1e2,{}]`)}}},
		{"binary", `{"records":[{"key":"a2V5","value":""}]}`, format.Binary{}, []record.Record{{Topic: "t", Partition: -1, Key: []byte("key"), Value: []byte{}}}},
		{"null and absent", `{"records":[{"key":null},{}]}`, format.JSON{}, []record.Record{{Topic: "t", Partition: -1}, {Topic: "t", Partition: -1}}},
		{"partition", `{"records":[{"partition":7},{"partition":null}]}`, format.JSON{}, []record.Record{{Topic: "t", Partition: 7}, {Topic: "t", Partition: -1}}},
		{"schema fields mean nothing", `{"value_schema":"x","key_schema_id":1,"records":[{"value":1}]}`, format.JSON{}, []record.Record{{Topic: "t", Partition: -1, Value: []byte("1")}}},
	} {
		d := newDecoder(c.codec)
		got, err := d.request([]byte(c.body))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		body string
		want fault.Code
	}{
		{``, fault.Unprocessable}, {` `, fault.Unprocessable}, {`null`, fault.Unprocessable}, {`{}`, fault.Unprocessable},
		{`{"records":null}`, fault.Unprocessable}, {`{"records":[]}`, fault.Unprocessable}, {`{"records":[],"x":1}`, fault.Unprocessable},
		{`{"records":[{"headers":[]}]}`, fault.Unprocessable}, {`{"records":[{"partition":-1}]}`, fault.Unprocessable},
		{`[]`, fault.MalformedJSON}, {`{"records":{}}`, fault.MalformedJSON}, {`{"records":[1]}`, fault.MalformedJSON}, {`{`, fault.MalformedJSON},
		{`{"records":[{"partition":1.5}]}`, fault.MalformedJSON}, {`{"records":[{"partition":4294967296}]}`, fault.MalformedJSON},
		{`{"records":[{"partition":"1"}]}`, fault.MalformedJSON}, {`{"records":[{}],"records":[{}]}`, fault.MalformedJSON},
		{`{"records":[{"value":1,"value":2}]}`, fault.MalformedJSON}, {`{"records":[[[[[[[[[[[]]]]]]]]]]]}`, fault.MalformedJSON},
		{`{"records":[{},{},{},{}]}`, fault.BodyTooLarge},
	} {
		d := newDecoder(format.JSON{})
		if _, err := d.request([]byte(c.body)); fault.From(err) == nil || fault.From(err).Code != c.want {
			t.Errorf("%s: got %v, want %v", c.body, err, c.want)
		}
	}
	for body, want := range map[string]fault.Code{`{"records":[{"value":1}]}`: fault.InvalidRequest, `{"records":[{"value":"a-_b"}]}`: fault.InvalidRequest,
		`{"records":[{"value":"YQ"}]}`: fault.InvalidRequest, `{"records":[{"value":"YQ==\n"}]}`: fault.InvalidRequest} {
		d := newDecoder(format.Binary{})
		if _, err := d.request([]byte(body)); fault.From(err) == nil || fault.From(err).Code != want {
			t.Errorf("binary %s: got %v, want %v", body, err, want)
		}
	}
	d := newDecoder(nil)
	if _, err := d.request([]byte(`{"records":[{}]}`)); fault.From(err).Code != fault.InvalidPayload {
		t.Errorf("a schema format without a registry: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{"records":[{"key":{"a":[1]},"value":"eA==","partition":1}]}`, `{"records":[{}],"value_schema_id":1}`, ` {"records" : [ {"value": null } , {} ]}`, `{"records":[{"value":"\u0041"}]}`} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	f.Fuzz(func(t *testing.T, body []byte, binary bool) {
		codec := format.Codec(format.JSON{RejectDuplicateNames: true})
		if binary {
			codec = format.Binary{}
		}
		d := newDecoder(codec)
		records, err := d.request(body)
		if err != nil {
			if f := fault.From(err); f.Code == fault.Internal || f.Message == "" {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		if len(records) == 0 || len(records) > d.maxRecords {
			t.Fatalf("%q: %d records", body, len(records))
		}
		for _, r := range records {
			if !binary && r.Value != nil && rawjson.Check(r.Value, rawjson.Limits{Depth: 10, NumberLength: 20}) != nil {
				t.Fatalf("%q: stored a value that is not JSON: %q", body, r.Value)
			}
			if r.Partition < -1 {
				t.Fatalf("%q: partition %d", body, r.Partition)
			}
		}
	})
}
