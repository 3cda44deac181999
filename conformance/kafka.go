package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// pollEvery is how often something that may take a while is looked at again.
const pollEvery = 50 * time.Millisecond

// holds reads topics back and holds them against what a case wants to be there.
func (a *attempt) holds(ctx context.Context, wanted []wantedRecords) []string {
	var all []string
	for i := range wanted {
		w := &wanted[i]
		all = append(all, eventually(ctx, time.Duration(w.Within), func(ctx context.Context) []string {
			records, err := a.run.env.Records(ctx, w.Topic)
			if err != nil {
				return []string{fmt.Sprintf("topic %s: %v", w.Topic, err)}
			}
			return w.problems(records)
		})...)
	}
	return all
}

// tries is how many looks at least fit into the time that something may take: one that hangs does not use it up.
const tries = 4

// eventually calls look until it has nothing to complain about or the time has passed, at least once.
func eventually(ctx context.Context, within time.Duration, look func(context.Context) []string) []string {
	if within == 0 {
		return look(ctx)
	}
	deadline := time.Now().Add(within)
	for {
		try, cancel := context.WithTimeout(ctx, within/tries)
		problems := look(try)
		cancel()
		if len(problems) == 0 || !time.Now().Before(deadline) {
			return problems
		}
		select {
		case <-ctx.Done():
			return append(problems, ctx.Err().Error())
		case <-time.After(pollEvery):
		}
	}
}

func (w *wantedRecords) problems(got []Record) []string {
	var all []string
	if len(got) != len(w.Records) {
		all = append(all, fmt.Sprintf("topic %s: want %d records, got %d: %s", w.Topic, len(w.Records), len(got), showRecords(got)))
		return all
	}
	if w.AnyOrder {
		rest := slices.Clone(got)
		for i := range w.Records {
			matches := func(r Record) bool { return len(w.Records[i].problems("", &r)) == 0 }
			found := slices.IndexFunc(rest, matches)
			if found < 0 {
				all = append(all, fmt.Sprintf("topic %s: no record is as wanted record %d; got %s", w.Topic, i, showRecords(got)))
				continue
			}
			rest = slices.Delete(rest, found, found+1)
		}
		return all
	}
	for i := range w.Records {
		all = append(all, w.Records[i].problems(fmt.Sprintf("topic %s, record %d: ", w.Topic, i), &got[i])...)
	}
	return all
}

func (w *wantedRecord) problems(at string, got *Record) []string {
	var all []string
	differ := func(what string, want, got any) {
		all = append(all, fmt.Sprintf("%s%s: want %v, got %v", at, what, want, got))
	}
	if w.Partition != nil && *w.Partition != got.Partition {
		differ("partition", *w.Partition, got.Partition)
	}
	if w.Offset != nil && *w.Offset != got.Offset {
		differ("offset", *w.Offset, got.Offset)
	}
	for _, side := range []struct {
		name string
		want json.RawMessage
		got  []byte
	}{{"key", w.Key, got.Key}, {"value", w.Value, got.Value}} {
		if side.want == nil {
			continue
		}
		var want octets
		if err := json.Unmarshal(side.want, &want); err != nil {
			return []string{err.Error()} // checked when the case was loaded
		}
		if !sameBytes(want, side.got) {
			differ(side.name, showBytes(want), showBytes(side.got))
		}
	}
	if w.Headers != nil {
		same := slices.EqualFunc(w.Headers, got.Headers, func(want wantedHeader, got RecordHeader) bool {
			return want.name == got.Name && sameBytes(want.value, got.Value)
		})
		if !same {
			wanted := make([]RecordHeader, 0, len(w.Headers))
			for _, h := range w.Headers {
				wanted = append(wanted, RecordHeader{Name: h.name, Value: h.value})
			}
			differ("headers", showHeaders(wanted), showHeaders(got.Headers))
		}
	}
	if w.Timestamp != nil {
		want, err := time.Parse(time.RFC3339Nano, *w.Timestamp)
		if err != nil || !want.Equal(got.Timestamp) {
			differ("timestamp", *w.Timestamp, got.Timestamp.UTC().Format(time.RFC3339Nano))
		}
	}
	return all
}

// sameBytes tells null from empty.
func sameBytes(a, b []byte) bool {
	return (a == nil) == (b == nil) && bytes.Equal(a, b)
}

func showBytes(b []byte) string {
	if b == nil {
		return "null"
	}
	return fmt.Sprintf("%q", trim(string(b), 200))
}

func showHeaders(headers []RecordHeader) string {
	var b bytes.Buffer
	for _, h := range headers {
		fmt.Fprintf(&b, "[%q %s]", h.Name, showBytes(h.Value))
	}
	return b.String()
}

func showRecords(records []Record) string {
	const most = 10
	var b bytes.Buffer
	for i := range records {
		if i == most {
			fmt.Fprintf(&b, " … %d more", len(records)-most)
			break
		}
		r := &records[i]
		fmt.Fprintf(&b, " %d/%d key %s value %s;", r.Partition, r.Offset, showBytes(r.Key), showBytes(r.Value))
	}
	return b.String()
}
