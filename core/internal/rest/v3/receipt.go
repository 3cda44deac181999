package v3

import (
	"strconv"
	"strings"
	"time"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/record"
	"github.com/weir-gateway/weir/core/internal/rest"
)

// receipts writes what became of records, one JSON object each. Fields that do not apply are left out.
type receipts struct {
	cluster, topic string
	outcomes       bool
}

// append appends one receipt; a batch entry's begins with its id.
func (w *receipts) append(b []byte, d *decoded, receipt *record.Receipt) []byte {
	b = append(b, '{')
	if d.id != "" {
		b = append(b, `"id":"`...) // its characters need no escaping
		b = append(b, d.id...)
		b = append(b, `",`...)
	}
	if f := fault.From(receipt.Err); f != nil {
		code, message := receiptError(f)
		b = append(b, `"error_code":`...)
		b = strconv.AppendInt(b, int64(code), 10)
		b = append(b, `,"message":`...)
		b = rest.AppendString(b, message)
	} else {
		b = w.appendSuccess(b, d, receipt)
	}
	if w.outcomes {
		b = append(b, `,"outcome":"`...)
		b = append(b, receipt.Outcome.String()...)
		b = append(b, `","retry":"`...)
		b = append(b, rest.Retry(receipt)...)
		b = append(b, '"')
	}
	return append(b, '}')
}

func (w *receipts) appendSuccess(b []byte, d *decoded, receipt *record.Receipt) []byte {
	if d.id == "" {
		b = append(b, `"error_code":200,`...)
	}
	b = append(b, `"cluster_id":`...)
	b = rest.AppendString(b, w.cluster)
	b = append(b, `,"topic_name":`...)
	b = rest.AppendString(b, w.topic)
	b = append(b, `,"partition_id":`...)
	b = strconv.AppendInt(b, int64(receipt.Partition), 10)
	b = append(b, `,"offset":`...)
	b = strconv.AppendInt(b, receipt.Offset, 10)
	b = append(b, `,"timestamp":"`...)
	b = appendInstant(b, receipt.Timestamp)
	b = append(b, '"')
	b = appendSide(b, `,"key":`, d.key)
	return appendSide(b, `,"value":`, d.value)
}

func appendSide(b []byte, name string, s side) []byte {
	if s.format == "" {
		return b
	}
	b = append(b, name...)
	b = append(b, `{"type":"`...)
	b = append(b, s.format...)
	b = append(b, `","size":`...)
	b = strconv.AppendInt(b, int64(s.size), 10)
	return append(b, '}')
}

// appendInstant writes an instant as Java's does: UTC, milliseconds when there are any.
func appendInstant(b []byte, t time.Time) []byte {
	if t.UnixMilli()%1000 == 0 {
		return t.UTC().AppendFormat(b, "2006-01-02T15:04:05Z")
	}
	return t.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
}

// receiptError is a record's error code and text inside a stream or batch. The proxy's own 422 codes are all 422 here and are
// named in the text only; errors of a record's shape are 400.
func receiptError(f *fault.Error) (int, string) {
	message, _, _ := strings.Cut(f.Message, "\n")
	code := rest.WireOf(f.Code).ErrorCode
	switch {
	case f.Code == fault.Unprocessable:
		return 400, "Bad Request: " + message
	case code/100 == 422 && code != 422:
		return 422, "Error: " + strconv.Itoa(code) + " : " + message
	default:
		return code, message
	}
}
