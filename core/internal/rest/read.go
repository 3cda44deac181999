package rest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/format"
	"github.com/weir-gateway/weir/core/internal/kafka"
	"github.com/weir-gateway/weir/core/internal/kafka/reader"
	"github.com/weir-gateway/weir/core/internal/record"
)

// PartitionRead is a read of one partition from an offset, without a consumer instance: v2 and v3 differ only in how they write it. Where it
// begins and ends is the client's to say, so any gateway can answer it and a cache can keep it.
type PartitionRead struct {
	record.TopicPartition
	Query ReadQuery
	// Count is the most records; 0: as many as the query's bounds allow.
	Count int

	from     int64 // the offset to begin at, when at is nil
	at       *int64
	end      int64 // exclusive; -1: none
	etags    []string
	numbered bool // from is a number, so the same request means the same records
}

// noEnd is a read that end_offset does not bound.
const noEnd = -1

// BindRead reads the parameters of a read: offset (a number, earliest or latest) or timestamp, end_offset, and those of ReadQuery. Unless
// max_bytes is given, the answer is bounded by what is asked of a broker at once.
func BindRead(r *Request) (*PartitionRead, error) {
	read := &PartitionRead{TopicPartition: record.TopicPartition{Topic: r.PathValue("topic")}, end: noEnd}
	if !kafka.ValidTopicName(read.Topic) {
		return nil, UnknownTopic()
	}
	var err error
	if read.Partition, err = PathPartition(r); err != nil {
		return nil, err
	}
	if read.Query, err = ParseReadQuery(r); err != nil {
		return nil, err
	}
	query, err := r.Query()
	if err != nil {
		return nil, err
	}
	if query.Get("max_bytes") == "" {
		read.Query.MaxBytes = min(read.Query.MaxBytes, r.Settings.Consume.FetchBytes)
	}
	offset, timestamp := query.Get("offset"), query.Get("timestamp")
	switch {
	case offset != "" && timestamp != "":
		return nil, fault.New(fault.InvalidRequest, "Bad Request: give offset or timestamp, not both.")
	case timestamp != "":
		at, err := parseInstant(timestamp)
		if err != nil {
			return nil, err
		}
		read.at = &at
	case offset == "" || offset == "earliest":
		at := reader.Earliest
		read.at = &at
	case offset == "latest":
		at := reader.Latest
		read.at = &at
	default:
		if read.from, err = parseOffset("offset", offset, "a number, earliest or latest"); err != nil {
			return nil, err
		}
		read.numbered = true
	}
	if text := query.Get("end_offset"); text != "" {
		if read.end, err = parseOffset("end_offset", text, "a number"); err != nil {
			return nil, err
		}
		if read.numbered && read.end < read.from {
			return nil, fault.New(fault.InvalidRequest, "Bad Request: end_offset must not be less than offset.")
		}
	}
	for _, list := range r.Header["If-None-Match"] {
		for tag := range strings.SplitSeq(list, ",") {
			read.etags = append(read.etags, strings.TrimPrefix(strings.TrimSpace(tag), "W/"))
		}
	}
	return read, nil
}

func parseOffset(name, text, what string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fault.Newf(fault.InvalidRequest, "Bad Request: %s=%s is not %s.", name, format.Excerpt([]byte(text)), what)
	}
	return n, nil
}

// parseInstant reads a timestamp of a query: ISO-8601, or milliseconds since 1970. It gives milliseconds, rounded up.
func parseInstant(text string) (int64, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 {
		return n, nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return 0, fault.Newf(fault.InvalidRequest, "Bad Request: timestamp=%s is neither an ISO-8601 instant such as 2024-05-01T10:00:00Z nor milliseconds since 1970.", format.Excerpt([]byte(text)))
	}
	return max(0, at.Add(time.Millisecond-1).UnixMilli()), nil
}

// Reading is the answer to a PartitionRead.
type Reading struct {
	record.Range
	// Readable is the end of what can be read now.
	Readable int64

	read     *PartitionRead
	closed   bool      // the end is the request's, not the log's
	content  hash.Hash // of what identifies the records: where they are, when they were written, how long they are
	tagged   int       // how many records are in it
	etag     string
	releases []func()
}

// Ranges gives the answer as WriteRecords takes it.
func (a *Reading) Ranges() []record.Range { return []record.Range{a.Range} }

// Next is the offset to go on from; false when the request's own end was reached.
func (a *Reading) Next() (offset int64, more bool) {
	return a.End, a.read.end < 0 || a.End < a.read.end
}

// Release gives the answer's memory back.
func (a *Reading) Release() {
	for _, release := range a.releases {
		release()
	}
}

// brokerPatience is how long brokers may take to say what there is, whatever time a client gives for something to come.
const brokerPatience = 5 * time.Second

// Fetch reads. It answers with what there is, and otherwise waits for the read's timeout; with If-None-Match it waits for an answer
// that differs. variant tells apart the texts that the same records can have.
func (read *PartitionRead) Fetch(ctx context.Context, r *Request, grant *Grant, cluster *Cluster, sides *Sides, variant string, committed bool) (*Reading, error) {
	until := time.Now().Add(read.Query.Wait)
	waiting, stop := context.WithCancel(ctx) // ends early when the gateway shuts down
	defer stop()
	defer context.AfterFunc(r.Draining(), stop)()
	start := read.from
	if read.at != nil {
		var err error
		if start, err = read.lookUp(ctx, grant, cluster, committed); err != nil {
			return nil, err
		}
	}
	a := &Reading{read: read, Range: record.Range{TopicPartition: read.TopicPartition, Start: start, End: start}, Readable: -1}
	a.tag(cluster, variant)
	for size := 0; ; {
		enough := len(a.Records) > 0 && !slices.Contains(read.etags, a.etag) || read.end >= 0 && a.End >= read.end
		options := reader.Options{Wait: max(0, time.Until(until)), Patience: brokerPatience, MinBytes: 1, MaxBytes: max(1, read.Query.MaxBytes-size), Committed: committed}
		if enough || waiting.Err() != nil {
			options.Wait = 0
		}
		asking := waiting
		if waiting.Err() != nil { // shutting down: what is there is still given
			asking = ctx
		}
		results, release, err := grant.Fetch(asking, cluster, []record.Position{{Topic: read.Topic, Partition: read.Partition, Offset: a.End}}, options)
		switch {
		case err != nil && waiting.Err() != nil && ctx.Err() == nil && asking == waiting: // told to stop in the middle of a wait
			release()
			continue
		case err != nil && len(a.Records) > 0: // the next read says what is wrong
			release()
			return a, nil
		case err != nil:
			release()
			return nil, err
		}
		result := &results[0]
		if result.Err != nil {
			release()
			if len(a.Records) > 0 {
				return a, nil
			}
			return nil, outside(result, a.End)
		}
		if len(result.Records) > 0 {
			a.releases = append(a.releases, release)
		} else {
			release()
		}
		if result.Readable < 0 && len(a.Records) == 0 { // its broker has not said anything
			a.Release()
			return nil, fault.New(fault.KafkaRetriable, "The broker did not answer in time. Read again later.")
		}
		a.Readable = max(a.Readable, result.Readable)
		before := a.End
		if err := a.take(result, &size, sides); err != nil {
			a.Release()
			return nil, err
		}
		a.tag(cluster, variant)
		over := !time.Now().Before(until) || waiting.Err() != nil
		switch {
		case a.closed:
		case a.End > before && a.End < a.Readable: // there is more
			continue
		case !over && (len(a.Records) == 0 || slices.Contains(read.etags, a.etag)):
			continue
		}
		return a, nil
	}
}

// take adds records up to the read's bounds.
func (a *Reading) take(result *reader.Result, size *int, sides *Sides) error {
	if read := a.read; read.end >= 0 && a.End >= read.end {
		a.closed = true
		return nil
	}
	for i := range result.Records {
		r := &result.Records[i]
		switch {
		case a.read.end >= 0 && r.Offset >= a.read.end:
			a.End, a.closed = a.read.end, true
			return nil
		case len(a.Records) > 0 && (*size+r.Size() >= a.read.Query.MaxBytes || len(a.Records) == a.read.Count):
			a.End, a.closed = r.Offset, true
			return nil
		}
		if sides.Undecodable == Refuse {
			if err := sides.Decodable(a.Topic, a.Partition, r); err != nil {
				if len(a.Records) == 0 {
					return err
				}
				a.End, a.closed = r.Offset, true
				return nil
			}
		}
		a.Records = append(a.Records, *r)
		*size += r.Size()
		a.End = r.Offset + 1
	}
	a.End = max(a.End, result.End)
	if a.read.end >= 0 && a.End >= a.read.end {
		a.End, a.closed = a.read.end, true
	}
	return nil
}

// tag makes the ETag: where the answer begins and ends, of which topic, in which text, and of which records – a topic may be deleted
// and made anew, and compaction takes records away.
func (a *Reading) tag(cluster *Cluster, variant string) {
	if a.content == nil {
		id, _ := cluster.ID()
		q := &a.read.Query
		a.content = sha256.New()
		for _, text := range []string{id, a.Topic, strconv.Itoa(int(a.Partition)), variant, strconv.FormatBool(q.Timestamp), strconv.FormatBool(q.Headers), string(q.Undecodable)} {
			a.content.Write(append([]byte(text), 0))
		}
	}
	var b []byte
	for ; a.tagged < len(a.Records); a.tagged++ {
		r := &a.Records[a.tagged]
		b = b[:0]
		for _, n := range []int64{r.Offset, r.Timestamp, int64(len(r.Key)), int64(len(r.Value))} {
			b = binary.BigEndian.AppendUint64(b, uint64(n))
		}
		a.content.Write(b)
	}
	sum := a.content.Sum(nil)
	a.etag = `"` + strconv.FormatInt(a.Start, 10) + "-" + strconv.FormatInt(a.End, 10) + "-" + hex.EncodeToString(sum[:8]) + `"`
}

// closedAge is how long a closed range may be kept without asking. The records of a range do not change, but retention, compaction and
// the deletion of the topic end them.
const closedAge = "private, max-age=3600, immutable"

// NotModified sets the answer's headers, and answers 304 when the client has it already; true then.
func (a *Reading) NotModified(w http.ResponseWriter, r *Request) bool {
	header := w.Header()
	header.Set("ETag", a.etag)
	header.Set("Vary", "Accept")
	header.Set("Weir-Next-Offset", strconv.FormatInt(a.End, 10))
	header.Set("Weir-End-Offset", strconv.FormatInt(a.Readable, 10))
	if a.closed && a.read.numbered {
		header.Set("Cache-Control", closedAge)
	} else {
		header.Set("Cache-Control", "private, no-cache")
	}
	if !slices.Contains(a.read.etags, a.etag) && !slices.Contains(a.read.etags, "*") {
		return false
	}
	w.WriteHeader(http.StatusNotModified)
	return true
}

func (read *PartitionRead) lookUp(ctx context.Context, grant *Grant, cluster *Cluster, committed bool) (int64, error) {
	found, err := grant.Offsets(ctx, cluster, []reader.At{{TopicPartition: read.TopicPartition, At: *read.at}}, committed)
	if err == nil && found[0].Err == nil && found[0].Offset < 0 { // later than every record: the end
		found, err = grant.Offsets(ctx, cluster, []reader.At{{TopicPartition: read.TopicPartition, At: reader.Latest}}, committed)
	}
	if err != nil {
		return 0, err
	}
	return found[0].Offset, found[0].Err
}

// outside words an offset that the log does not have.
func outside(result *reader.Result, offset int64) error {
	if f := fault.From(result.Err); f.Code == fault.OffsetOutOfRange && result.LogStart >= 0 {
		return fault.Wrap(fault.OffsetOutOfRange, f, "Offset "+strconv.FormatInt(offset, 10)+" is not in partition "+strconv.Itoa(int(result.Partition))+" of topic "+result.Topic+
			": it has the offsets from "+strconv.FormatInt(result.LogStart, 10)+" up to, but not including, "+strconv.FormatInt(result.Readable, 10)+".")
	}
	return result.Err
}
