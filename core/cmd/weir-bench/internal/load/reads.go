package load

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Reads is work of consumer instances: each connection makes one in a group of its own, subscribes it to a topic, and reads
// with it, one request outstanding. A partition that was read to its end is read again from its beginning.
//
// Every record of every answer is looked at: where it begins and ends, its partition, and that its offset is the one after the
// last of its partition. Only its value is passed over, by its known length. That costs some 2 % of what a gateway spends on
// the record, and a record that was lost, doubled or cut ends the run.
type Reads struct {
	// Address is the server's host:port.
	Address string
	// Connections is how many instances read.
	Connections int
	// Group begins the names of the groups. They must be new, so that they have no committed offsets.
	Group string
	// Topic is what is read. All values in it are of one length, and there are no keys.
	Topic string
	// Format is the embedded format, json or binary.
	Format string
	// ValueBytes is the length of each value in Kafka.
	ValueBytes int
	// MaxBytes bounds the values of an answer.
	MaxBytes int
	// Ends has the number of records of each partition.
	Ends []int64
	// Repeats says that the server gives the same answer each time, so that offsets do not follow from one to the next.
	Repeats bool
}

// dryLongest is how long an instance may find nothing: it joins its group in that time.
const dryLongest = 20 * time.Second

func (r *Reads) connections() int { return r.Connections }

func (r *Reads) run(ctx context.Context, index int, m *meter) error {
	c, err := dial(ctx, r.Address)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	c.buffer = make([]byte, 256<<10)

	group := fmt.Sprintf("%s-%d", r.Group, index)
	instance := "/consumers/" + group + "/instances/reader"
	for _, one := range [][2]string{
		{"/consumers/" + group, fmt.Sprintf(`{"name":"reader","format":%q,"auto.offset.reset":"earliest"}`, r.Format)},
		{instance + "/subscription", fmt.Sprintf(`{"topics":[%q]}`, r.Topic)},
	} {
		if err := r.post(c, one[0], one[1]); err != nil {
			return err
		}
	}
	accept := "application/vnd.kafka." + r.Format + ".v2+json"
	request := fmt.Appendf(nil, "GET %s/records?max_bytes=%d HTTP/1.1\r\nHost: %s\r\nAccept: %s\r\n\r\n", instance, r.MaxBytes, r.Address, accept)
	a := newAnswers(r)
	for dry := time.Now(); ; {
		sent := time.Now()
		if _, err := c.Write(request); err != nil {
			return fmt.Errorf("send: %w", err)
		}
		head, err := c.readHead()
		if err != nil {
			return err
		}
		body, err := c.whole(head)
		if err != nil {
			return err
		}
		records, err := a.take(body)
		if err != nil {
			return err
		}
		now := time.Now()
		switch {
		case records > 0:
			m.answered(1, int64(records))
			m.took(now.Sub(sent))
			dry = now
		case now.Sub(dry) > dryLongest:
			return fmt.Errorf("no record came in %s", dryLongest)
		}
		if ended := a.ended(); ended != "" {
			if err := r.post(c, instance+"/positions/beginning", ended); err != nil {
				return err
			}
		}
	}
}

// post makes a request whose answer does not matter, as long as it is a good one.
func (r *Reads) post(c *connection, path, body string) error {
	_, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/vnd.kafka.v2+json\r\nContent-Length: %d\r\n\r\n%s",
		path, r.Address, len(body), body)
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	head, err := c.readHead()
	if err == nil {
		_, err = c.whole(head)
	}
	if err != nil {
		return fmt.Errorf("POST %s: %w", path, err)
	}
	return nil
}

// answers follows what one instance was given.
type answers struct {
	reads     *Reads
	before    []byte // what comes before a record's value
	value     int    // length of a value in an answer
	positions []int64
}

func newAnswers(r *Reads) *answers {
	return &answers{reads: r, before: beforeValue(r.Topic), value: textLength(r.Format, r.ValueBytes), positions: make([]int64, len(r.Ends))}
}

func beforeValue(topic string) []byte {
	return fmt.Appendf(nil, `{"topic":%q,"key":null,"value":`, topic)
}

// textLength is how long a value of so many bytes is in an answer.
func textLength(format string, bytes int) int {
	if format == "binary" {
		return base64.StdEncoding.EncodedLen(bytes) + len(`""`)
	}
	return bytes
}

var (
	errNoArray     = errors.New("the answer is not an array")
	partitionField = []byte(`,"partition":`)
	offsetField    = []byte(`,"offset":`)
)

// take goes through an answer and gives how many records it has.
func (a *answers) take(body []byte) (records int, err error) {
	if len(body) < 2 || body[0] != '[' || body[len(body)-1] != ']' {
		return 0, errNoArray
	}
	if a.reads.Repeats {
		clear(a.positions)
	}
	rest := body[1 : len(body)-1]
	for len(rest) > 0 {
		if !bytes.HasPrefix(rest, a.before) || len(rest) < len(a.before)+a.value {
			return 0, fmt.Errorf("record %d of an answer begins %.100q, not with %q and a value of %d bytes", records, rest, a.before, a.value)
		}
		tail := rest[len(a.before)+a.value:]
		partition, tail, found := field(tail, partitionField)
		offset, tail, also := field(tail, offsetField)
		if !found || !also || len(tail) == 0 || tail[0] != '}' || partition >= int64(len(a.positions)) {
			return 0, fmt.Errorf("record %d of an answer does not end after its value, with partition and offset: %.100q", records, rest[len(a.before)+a.value:])
		}
		if offset != a.positions[partition] {
			return 0, fmt.Errorf("partition %d: got offset %d, want %d", partition, offset, a.positions[partition])
		}
		a.positions[partition]++
		records++
		if rest = tail[1:]; len(rest) > 0 {
			if rest[0] != ',' {
				return 0, fmt.Errorf("after record %d of an answer: %.100q", records, rest)
			}
			rest = rest[1:]
		}
	}
	return records, nil
}

// field reads a number with its name before it.
func field(text, name []byte) (n int64, rest []byte, found bool) {
	if !bytes.HasPrefix(text, name) {
		return 0, nil, false
	}
	digits := len(name)
	i := digits
	for i < len(text) && '0' <= text[i] && text[i] <= '9' {
		n = 10*n + int64(text[i]-'0')
		i++
	}
	return n, text[i:], i > digits
}

// ended gives the body of a request to seek to the beginning for the partitions that were read to their ends, and takes it as done.
// Empty: there are none.
func (a *answers) ended() string {
	if a.reads.Repeats {
		return ""
	}
	var list []byte
	for partition, position := range a.positions {
		if position < a.reads.Ends[partition] {
			continue
		}
		a.positions[partition] = 0
		if list != nil {
			list = append(list, ',')
		}
		list = fmt.Appendf(list, `{"topic":%q,"partition":%d}`, a.reads.Topic, partition)
	}
	if list == nil {
		return ""
	}
	return `{"partitions":[` + string(list) + `]}`
}

// Answer makes an answer of so many records as a gateway gives it, from offset 0 in each of so many partitions.
func Answer(topic, format string, values [][]byte, partitions, records int) []byte {
	before := beforeValue(topic)
	b := []byte{'['}
	for i := range records {
		if i > 0 {
			b = append(b, ',')
		}
		each := max(1, (records+partitions-1)/partitions) // one partition after the other
		b = append(b, before...)
		if value := values[i%len(values)]; format == "binary" {
			b = append(b, '"')
			b = base64.StdEncoding.AppendEncode(b, value)
			b = append(b, '"')
		} else {
			b = append(b, value...)
		}
		b = strconv.AppendInt(append(b, partitionField...), int64(i/each), 10)
		b = strconv.AppendInt(append(b, offsetField...), int64(i%each), 10)
		b = append(b, '}')
	}
	return append(b, ']')
}
