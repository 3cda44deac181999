package v3

import (
	"context"
	"net/http"
	"strconv"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/format"
	"github.com/weir-gateway/weir/core/internal/rawjson"
	"github.com/weir-gateway/weir/core/internal/record"
	"github.com/weir-gateway/weir/core/internal/rest"
)

var invalidID error = fault.New(fault.InvalidBatch, "Batch entry identifier is not a valid string.")

// entryID reads a batch entry's id: 1–80 characters of [0-9A-Za-z_-].
func entryID(value []byte) (string, error) {
	if rawjson.Kind(value) != '"' {
		return "", invalidID
	}
	id := string(rawjson.Unquote(value))
	if !rest.ValidID(id, 80) {
		return "", invalidID
	}
	return id, nil
}

// entry is one record of a batch with what is known of it so far: an error of its content is its receipt already.
type entry struct {
	decoded
	err error
}

func bindBatch(r *rest.Request) (rest.Operation, rest.Serve, error) {
	topic, cluster := r.PathValue("topic"), r.PathValue("cluster")
	body, err := r.Body()
	if err != nil {
		return rest.Operation{}, nil, err
	}
	entries, err := readBatch(r, topic, body)
	if err != nil {
		return rest.Operation{}, nil, err
	}
	operation := rest.Operation{Cluster: cluster, Resources: []rest.Resource{{Type: "topic", Name: topic}}, Records: len(entries)}
	return operation, func(ctx context.Context, w http.ResponseWriter, grant *rest.Grant) error {
		cluster, err := grant.Cluster()
		if err != nil {
			return err
		}
		got := produceBatch(ctx, grant, cluster, entries)
		if f := rest.NothingTried(got); f != nil {
			return f
		}
		return writeBatch(w, r, entries, got)
	}, nil
}

// readBatch reads all entries; ids and shape are right for all of them, or the whole batch is refused.
func readBatch(r *rest.Request, topic string, body []byte) ([]entry, error) {
	if len(rawjson.Trim(body)) == 0 || rawjson.IsNull(rawjson.Trim(body)) {
		return nil, fault.New(fault.InvalidBatch, "Request body is empty. Data is required.")
	}
	if err := rawjson.Check(body, r.JSONLimits()); err != nil {
		return nil, rest.Malformed(err)
	}
	body = rawjson.Trim(body)
	if rawjson.Kind(body) != '{' {
		return nil, fault.New(fault.MalformedJSON, "The request body must be a JSON object with an array named entries.")
	}
	var array []byte
	for name, value := range rawjson.Members(body) {
		if string(name) != "entries" {
			return nil, fault.Newf(fault.Unprocessable, "Unrecognized field: %s", format.Excerpt(name))
		}
		if array != nil {
			return nil, fault.New(fault.MalformedJSON, "Bad Request: the field entries is there twice.")
		}
		array = value
	}
	if array == nil || rawjson.IsNull(array) {
		return nil, fault.New(fault.InvalidBatch, "Empty batch.")
	}
	if rawjson.Kind(array) != '[' {
		return nil, fault.New(fault.MalformedJSON, "entries must be an array.")
	}
	return readEntries(r, topic, array)
}

func readEntries(r *rest.Request, topic string, array []byte) ([]entry, error) {
	decode := newDecoder(r, topic)
	decode.batch = true
	var entries []entry
	ids := map[string]bool{}
	for element := range rawjson.Elements(array) {
		if len(entries) == r.Settings.Produce.BatchMaxEntries {
			return nil, fault.New(fault.InvalidBatch, "Too many entries in batch.")
		}
		var e entry
		if e.err = decode.read(element, &e.decoded); e.err != nil {
			switch fault.From(e.err).Code {
			case fault.MalformedJSON, fault.Unprocessable, fault.InvalidBatch:
				return nil, e.err
			}
		}
		if ids[e.id] {
			return nil, fault.New(fault.InvalidBatch, "Batch entry IDs are not distinct.")
		}
		ids[e.id] = true
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		return nil, fault.New(fault.InvalidBatch, "Empty batch.")
	}
	return entries, nil
}

func produceBatch(ctx context.Context, grant *rest.Grant, cluster *rest.Cluster, entries []entry) []record.Receipt {
	got := make([]record.Receipt, len(entries))
	var records []record.Record
	var origin []int
	for i := range entries {
		if entries[i].err != nil {
			got[i] = record.Receipt{Outcome: record.NotPersisted, Err: entries[i].err}
			grant.Refused()
			continue
		}
		records, origin = append(records, entries[i].record), append(origin, i)
	}
	for i, receipt := range grant.Produce(ctx, cluster, records) {
		got[origin[i]] = receipt
	}
	return got
}

// writeBatch answers 207 with successes and failures apart, each in the request's order.
func writeBatch(w http.ResponseWriter, r *rest.Request, entries []entry, got []record.Receipt) error {
	writer := receipts{cluster: r.PathValue("cluster"), topic: r.PathValue("topic"), outcomes: r.Prefer.Outcomes}
	var first *fault.Error
	failed := 0
	successes, failures := []byte(`"successes":[`), []byte(`"failures":[`)
	for i := range entries {
		list := &successes
		if f := fault.From(got[i].Err); f != nil {
			if failed++; first == nil {
				first = f
			}
			list = &failures
		}
		if (*list)[len(*list)-1] != '[' {
			*list = append(*list, ',')
		}
		*list = writer.append(*list, &entries[i].decoded, &got[i])
	}
	lists := append(append(append(successes, `],`...), failures...), ']')
	w.Header().Set("Weir-Record-Errors", strconv.Itoa(failed))
	r.Prefer.Apply(w)
	if first != nil && r.Prefer.Strict {
		rest.WriteProblem(w, r, rest.Problem{Status: rest.StrictStatus(first.Code), Fault: first, Extra: append([]byte{','}, lists...)})
		return nil
	}
	body := append(append([]byte{'{'}, lists...), '}')
	rest.WriteJSON(w, http.StatusMultiStatus, r.Answer, body)
	return nil
}
