package producer

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"
)

type seenAnswer struct {
	Topic     string
	Partition int32
	Code      int16
	Message   string
	Faulty    []int32
	Records   []string
}

// answerFrame is a produce answer as a broker sends it, length included.
func answerFrame(version int16) []byte {
	response := kmsg.NewPtrProduceResponse()
	response.Version = version
	for _, name := range []string{"first", "second"} {
		topic := kmsg.NewProduceResponseTopic()
		topic.Topic = name
		for id := range int32(2) {
			p := kmsg.NewProduceResponseTopicPartition()
			p.Partition, p.BaseOffset = id, 42
			if name == "second" && id == 1 {
				p.ErrorCode, p.BaseOffset = invalidRecord, -1
				if version >= 8 {
					text, record := "One or more records have been rejected", "no key"
					p.ErrorMessage = &text
					p.ErrorRecords = []kmsg.ProduceResponseTopicPartitionErrorRecord{{RelativeOffset: 3, ErrorMessage: &record}, {RelativeOffset: 5}}
				}
			}
			topic.Partitions = append(topic.Partitions, p)
		}
		response.Topics = append(response.Topics, topic)
	}
	frame := []byte{0, 0, 0, 0, 0, 0, 0, 9} // length, correlation id
	if version >= 9 {
		frame = append(frame, 0) // no tags
	}
	frame = response.AppendTo(frame)
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	return frame
}

func wantAnswers(version int16) []seenAnswer {
	refused := seenAnswer{Topic: "second", Partition: 1, Code: invalidRecord}
	if version >= 8 {
		refused.Message = "One or more records have been rejected"
		refused.Faulty, refused.Records = []int32{3, 5}, []string{"no key", ""}
	}
	return []seenAnswer{{Topic: "first"}, {Topic: "first", Partition: 1}, {Topic: "second"}, refused}
}

func TestReadProduceAnswer(t *testing.T) {
	t.Parallel()
	for version := int16(3); version <= 11; version++ {
		frame := answerFrame(version)
		var got []seenAnswer
		collect := func(topic string, partition int32, a batchAnswer) {
			got = append(got, seenAnswer{topic, partition, a.code, a.message, a.faulty, a.records})
		}
		if err := readProduceAnswer(frame[4:], version, collect); err != nil {
			t.Errorf("version %d: %v", version, err)
		}
		if diff := cmp.Diff(wantAnswers(version), got); diff != "" {
			t.Errorf("version %d (-want +got):\n%s", version, diff)
		}
		for cut := range len(frame) - 4 - 8 {
			if err := readProduceAnswer(frame[4:4+cut], version, func(string, int32, batchAnswer) {}); err == nil {
				t.Errorf("version %d: cut to %d bytes it is taken for whole", version, cut)
			}
		}
	}
}

func FuzzReadProduceAnswer(f *testing.F) {
	for version := int16(3); version <= 11; version++ {
		f.Add(answerFrame(version)[4:], version)
	}
	f.Fuzz(func(t *testing.T, frame []byte, version int16) {
		_ = readProduceAnswer(frame, version, func(string, int32, batchAnswer) {}) // must end and not panic
	})
}

// script is a connection whose other side is written down.
type script struct {
	net.Conn
	in   []byte
	step int // bytes of each read
	end  error
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.in) == 0 {
		return 0, s.end
	}
	n := copy(p, s.in[:min(s.step, len(s.in))])
	s.in = s.in[n:]
	return n, nil
}

func (s *script) Write(p []byte) (int, error)   { return len(p), nil }
func (s *script) Close() error                  { return nil }
func (s *script) SetDeadline(t time.Time) error { return nil }

func requestFrame(key, version int16) []byte {
	frame := make([]byte, 20)
	binary.BigEndian.PutUint32(frame, 16)
	binary.BigEndian.PutUint16(frame[4:], uint16(key))
	binary.BigEndian.PutUint16(frame[6:], uint16(version))
	return frame
}

func TestWireConnection(t *testing.T) {
	t.Parallel()
	const version = 9
	other := []byte{0, 0, 0, 5, 1, 2, 3, 4, 5} // an answer to something else
	for step := range 40 {
		var got int
		w := &wire{answered: func(string, int32, batchAnswer) { got++ }}
		inner := &script{step: step + 1, end: io.EOF, in: append(append([]byte{}, other...), other...)}
		conn := w.observe(inner)
		buffer := make([]byte, 64)
		drain := func() {
			for len(inner.in) > 0 {
				if _, err := conn.Read(buffer); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := conn.Write(requestFrame(18, 3)); err != nil {
			t.Fatal(err)
		}
		drain()
		for range 2 {
			if _, err := conn.Write(requestFrame(produceKey, version)); err != nil {
				t.Fatal(err)
			}
			inner.in = answerFrame(version)
			drain()
		}
		if got != 8 || w.broken.Load() != 0 {
			t.Fatalf("reads of %d bytes: %d answers, want 8; %d doubts, want 0", inner.step, got, w.broken.Load())
		}
		if _, err := conn.Write(requestFrame(produceKey, version)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(buffer); !errors.Is(err, io.EOF) || w.broken.Load() != 1 {
			t.Fatalf("an end with a request out: %v, %d doubts, want 1", err, w.broken.Load())
		}
	}
}

func TestInnocentRecordsOfARefusedBatch(t *testing.T) {
	t.Parallel()
	p := &partition{}
	p.answered(batchAnswer{code: invalidRecord, message: "batch", faulty: []int32{1, 2}, records: []string{"no key", ""}})
	want := []rejection{
		{known: true, innocent: true},
		{known: true, message: "no key"},
		{known: true, message: "batch"},
		{known: true, innocent: true},
	}
	for i := range want {
		if got := p.rejectionFor(invalidRecord, 1); got != want[i] {
			t.Errorf("record %d: %+v, want %+v", i, got, want[i])
		}
	}
	if got := p.rejectionFor(policyViolation, 1); got.known {
		t.Errorf("another error: %+v", got)
	}
}
