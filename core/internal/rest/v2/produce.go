package v2

import (
	"context"
	"net/http"
	"strconv"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/record"
	"github.com/weir-gateway/weir/core/internal/rest"
)

func bindProduceToTopic(r *rest.Request) (rest.Operation, rest.Serve, error) {
	return bindProduce(r, record.AnyPartition)
}

func bindProduceToPartition(r *rest.Request) (rest.Operation, rest.Serve, error) {
	partition, err := rest.PathPartition(r)
	if err != nil {
		return rest.Operation{}, nil, err
	}
	return bindProduce(r, partition)
}

// bindProduce reads and decodes all records, so that a request with one bad record sends none.
func bindProduce(r *rest.Request, partition int32) (rest.Operation, rest.Serve, error) {
	topic := r.PathValue("topic")
	body, err := r.Body()
	if err != nil {
		return rest.Operation{}, nil, err
	}
	decode := decoder{
		codec: codecFor(r), limits: r.JSONLimits(), maxRecords: r.Settings.Limits.RecordsPerRequest,
		template: record.Record{Topic: topic, Partition: partition},
	}
	records, err := decode.request(body)
	if err != nil {
		return rest.Operation{}, nil, err
	}
	operation := rest.Operation{Resources: []rest.Resource{{Type: "topic", Name: topic}}, Records: len(records)}
	return operation, func(ctx context.Context, w http.ResponseWriter, grant *rest.Grant) error {
		cluster, err := grant.Cluster()
		if err != nil {
			return err
		}
		receipts := grant.Produce(ctx, cluster, records)
		if f := rest.NothingTried(receipts); f != nil {
			return f
		}
		return writeReceipts(w, r, receipts)
	}, nil
}

// writeReceipts answers with one entry for each record. The status is 200 even when records failed – clients depend on that –
// unless one failed for want of authentication or permission, or the client asked for an honest status.
func writeReceipts(w http.ResponseWriter, r *rest.Request, receipts []record.Receipt) error {
	status, failed := http.StatusOK, 0
	var first *fault.Error
	b := make([]byte, 0, 64+64*len(receipts))
	b = append(b, `{"offsets":[`...)
	for i := range receipts {
		if i > 0 {
			b = append(b, ',')
		}
		f := fault.From(receipts[i].Err)
		if f != nil {
			if failed++; first == nil {
				first = f
			}
			if code := recordErrorCode(f.Code); status == http.StatusOK && (code == 40101 || code == 40301) {
				status = code / 100
			}
		}
		b = appendReceipt(b, &receipts[i], f, r.Prefer.Outcomes)
	}
	b = append(b, `],"key_schema_id":null,"value_schema_id":null}`...)
	w.Header()["Weir-Record-Errors"] = []string{strconv.Itoa(failed)}
	r.Prefer.Apply(w)
	if first != nil && r.Prefer.Strict {
		offsets := b[1 : len(b)-len(`,"key_schema_id":null,"value_schema_id":null}`)]
		rest.WriteProblem(w, r, rest.Problem{Status: rest.StrictStatus(first.Code), Fault: first, Extra: append([]byte{','}, offsets...)})
		return nil
	}
	rest.WriteJSON(w, status, r.Answer, b)
	return nil
}

func appendReceipt(b []byte, receipt *record.Receipt, f *fault.Error, outcomes bool) []byte {
	if f == nil {
		b = append(b, `{"partition":`...)
		b = strconv.AppendInt(b, int64(receipt.Partition), 10)
		b = append(b, `,"offset":`...)
		b = strconv.AppendInt(b, receipt.Offset, 10)
		b = append(b, `,"error_code":null,"error":null`...)
	} else {
		b = append(b, `{"partition":null,"offset":null,"error_code":`...)
		b = strconv.AppendInt(b, int64(recordErrorCode(f.Code)), 10)
		b = append(b, `,"error":`...)
		b = rest.AppendString(b, f.Message)
	}
	if outcomes {
		b = append(b, `,"outcome":"`...)
		b = append(b, receipt.Outcome.String()...)
		b = append(b, `","retry":"`...)
		b = append(b, rest.Retry(receipt)...)
		b = append(b, '"')
	}
	return append(b, '}')
}

// recordErrorCode is v2's own, coarse table for a record: who the gateway is, what it may do, whether Kafka calls the failure
// retriable (an unknown topic is: the metadata may yet come), or none of these.
func recordErrorCode(code fault.Code) int {
	switch code {
	case fault.Unauthenticated:
		return 40101
	case fault.PermissionDenied:
		return 40301
	case fault.TopicNotFound, fault.UnknownTopic:
		return 50003
	default:
		if code.Retriable() {
			return 50003
		}
		return 50002
	}
}
