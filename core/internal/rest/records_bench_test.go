package rest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/format"
	"github.com/weir-gateway/weir/core/internal/rawjson"
	"github.com/weir-gateway/weir/core/internal/record"
	"github.com/weir-gateway/weir/core/internal/telemetry"
)

// sink is a ResponseWriter that costs nothing.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header              { return s.header }
func (s *sink) WriteHeader(int)                  {}
func (s *sink) Write(p []byte) (int, error)      { return len(p), nil }
func (s *sink) FlushError() error                { return nil }
func (s *sink) SetWriteDeadline(time.Time) error { return nil }

// plainShape is a record's value and where it is from.
type plainShape struct{ partition int32 }

func (s *plainShape) Begin(of record.TopicPartition) { s.partition = of.Partition }

func (s *plainShape) Append(b []byte, r *record.Stored, sides *Sides) ([]byte, error) {
	b, err := sides.AppendValue(append(b, `{"value":`...), r)
	if err != nil {
		return b, err
	}
	b = strconv.AppendInt(append(b, `,"partition":`...), int64(s.partition), 10)
	b = strconv.AppendInt(append(b, `,"offset":`...), r.Offset, 10)
	return append(b, '}'), nil
}

// orders are records of a partition with different JSON values of about a kilobyte: nesting, short strings, escapes, numbers.
func orders(count int) record.Range {
	one := record.Range{TopicPartition: record.TopicPartition{Topic: "orders", Partition: 3}, End: int64(count)}
	for i := range count {
		var items strings.Builder
		for j := range 8 {
			fmt.Fprintf(&items, `{"sku":"W-%06d","quantity":%d,"price":%d.95,"note":"size \/ colour: %d\\7","tags":["a%d","b%d"]},`, i*31+j, j, i+j, j, j, i)
		}
		value := fmt.Sprintf(`{"id":"ord-%08d","express":true,"coupon":null,"customer":{"id":%d,"name":"Zo\u00eb \"Z.\" Müller","geo":[52.517037,13.388860]},"items":[%s],"total":%d.50}`,
			i, i*7919, strings.TrimSuffix(items.String(), ","), i)
		one.Records = append(one.Records, record.Stored{Offset: int64(i), Value: []byte(value)})
	}
	return one
}

// BenchmarkWriteRecords is an answer's way from records in memory to the connection, which costs nothing here.
func BenchmarkWriteRecords(b *testing.B) {
	settings := config.Default()
	request := &Request{Request: &http.Request{}, Settings: &settings}
	grant := &Grant{tally: &tally{metrics: telemetry.NewMetrics()}}
	for name, decoder := range map[string]format.Decoder{
		"json":   format.JSON{Known: rawjson.NewKnown(rawjson.Limits{Depth: 1000, NumberLength: 1000}, 0)},
		"known":  format.JSON{Known: rawjson.NewKnown(rawjson.Limits{Depth: 1000, NumberLength: 1000}, 1<<16)},
		"binary": format.Binary{},
		"string": format.String{},
	} {
		for _, count := range []int{1, 1000} {
			b.Run(fmt.Sprintf("%s-%d", name, count), func(b *testing.B) {
				ranges := []record.Range{orders(count)}
				size := 0
				for i := range ranges[0].Records {
					size += ranges[0].Records[i].Size()
				}
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					w := sink{header: http.Header{}}
					p := NewPieces(&w, request, KafkaV2JSON)
					sides := Sides{Key: decoder, Value: decoder, Undecodable: Envelope}
					if err := WriteRecords(p, grant, ranges, &plainShape{}, &sides); err != nil {
						b.Fatal(err)
					}
					if err := p.End(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*count), "ns/record")
			})
		}
	}
}
