package rest

import (
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/weir-gateway/weir/core/internal/fault"
)

// Wire is what a fault looks like as the answer to a whole request: the HTTP status, the REST Proxy's error_code, and – for
// problem+json – a title that is the same for every occurrence.
type Wire struct {
	Status    int
	ErrorCode int
	Title     string
}

// wires is the one table from fault to wire, the same for v2 and v3. Source: the proxy's own codes and its translation of
// Kafka's exceptions. Two statuses differ on purpose, because a client could not tell them from defects of its own:
// Unavailable and Overloaded are 503 with Retry-After.
var wires = map[fault.Code]Wire{
	fault.Internal:             {500, 500, "Internal Server Error"},
	fault.InvalidRequest:       {400, 400, "Bad request"},
	fault.MalformedJSON:        {400, 400, "Malformed JSON"},
	fault.Unprocessable:        {422, 422, "Unprocessable request"},
	fault.InvalidPayload:       {422, 42206, "Payload error"},
	fault.InvalidBatch:         {422, 42208, "Invalid batch"},
	fault.MissingKeySchema:     {422, 42201, "Key schema missing"},
	fault.MissingValueSchema:   {422, 42202, "Value schema missing"},
	fault.NotFound:             {404, 404, "Not found"},
	fault.MethodNotAllowed:     {405, 405, "Method not allowed"},
	fault.NotAcceptable:        {406, 406, "Not acceptable"},
	fault.UnsupportedMediaType: {415, 415, "Unsupported media type"},
	fault.RequestTimeout:       {408, 408, "Request timeout"},
	fault.StreamTooOld:         {408, 408, "Stream open for too long"},
	fault.BodyTooLarge:         {413, 413, "Request body too large"},
	fault.RecordTooLarge:       {413, 413, "Record too large"},
	fault.URITooLong:           {414, 414, "URI too long"},
	fault.HeaderTooLarge:       {431, 431, "Request header fields too large"},
	fault.RateLimited:          {429, 429, "Rate limit exceeded"},
	fault.Overloaded:           {503, 503, "Overloaded"},
	fault.Unavailable:          {503, 503, "Unavailable"},
	fault.Unauthenticated:      {401, 40101, "Unauthenticated"},
	fault.PermissionDenied:     {403, 40301, "Permission denied"},
	fault.ClusterNotFound:      {404, 404, "Cluster not found"},
	fault.TopicNotFound:        {404, 40401, "Topic not found"},
	fault.UnknownTopic:         {404, 40403, "Unknown topic or partition"},
	fault.PartitionNotFound:    {404, 40402, "Partition not found"},
	fault.KafkaRejected:        {400, 40002, "Refused by Kafka"},
	fault.KafkaThrottled:       {429, 42901, "Throttled by Kafka"},
	fault.BrokerNotAvailable:   {503, 50302, "Broker not available"},
	fault.KafkaRetriable:       {500, 50003, "Retriable failure of Kafka"},
	fault.KafkaFailed:          {500, 50002, "Failure of Kafka"},
	fault.ProduceTimeout:       {500, 50003, "No answer of Kafka in time"},

	fault.InstanceNotFound:      {404, 40403, "Consumer instance not found"},
	fault.InstanceExists:        {409, 40902, "Consumer instance exists"},
	fault.IllegalState:          {409, 40903, "Illegal state"},
	fault.FormatMismatch:        {406, 40601, "Format mismatch"},
	fault.Undecodable:           {408, 40801, "Undecodable record"},
	fault.InvalidConsumerConfig: {422, 42204, "Invalid consumer configuration"},
	fault.ConsumerConfigRange:   {422, 40001, "Invalid consumer configuration"},
	fault.TooManyInstances:      {429, 429, "Too many consumer instances"},
	fault.OffsetOutOfRange:      {416, 416, "Offset out of range"},
}

// WireOf gives a fault's wire form.
func WireOf(code fault.Code) Wire { return wires[code] }

// StrictStatus gives the HTTP status that says what became of a failed record, for clients that asked for honest ones. It is
// the request-level status, except that failures which may heal are told apart from those that will not.
func StrictStatus(code fault.Code) int {
	switch code {
	case fault.KafkaRetriable:
		return http.StatusServiceUnavailable
	case fault.ProduceTimeout:
		return http.StatusGatewayTimeout
	default:
		return wires[code].Status
	}
}

// defaultRetryAfter is told with a 429 or 503 that has no better estimate.
const defaultRetryAfter = time.Second

// setRetryAfter adds Retry-After, whole seconds rounded up, to answers that a client may repeat.
func setRetryAfter(w http.ResponseWriter, status int, f *fault.Error) {
	if status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable {
		return
	}
	wait := f.RetryAfter
	if wait <= 0 {
		wait = defaultRetryAfter
	}
	w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
}

// writeError is the only writer of error answers. as is the negotiated media type.
func writeError(w http.ResponseWriter, as MediaType, f *fault.Error) {
	wire := wires[f.Code]
	setRetryAfter(w, wire.Status, f)
	if f.Code == fault.NotAcceptable { // nothing can be said in a type that the client takes
		w.Header().Del("Content-Type")
		w.WriteHeader(wire.Status)
		return
	}
	WriteJSON(w, wire.Status, as, AppendError(nil, wire.ErrorCode, f.Message))
}

// AppendError appends the error object that v2 and v3 share.
func AppendError(b []byte, code int, message string) []byte {
	b = append(b, `{"error_code":`...)
	b = strconv.AppendInt(b, int64(code), 10)
	b = append(b, `,"message":`...)
	b = AppendString(b, message)
	return append(b, '}')
}

// AppendString appends a JSON string; bytes that are not UTF-8 become U+FFFD.
func AppendString(b []byte, s string) []byte {
	quoted, _ := jsontext.AppendQuote(b, s) // an error is invalid UTF-8 only, and then the text is there with its replacements
	return quoted
}

// WriteJSON writes a finished body.
func WriteJSON(w http.ResponseWriter, status int, as MediaType, body []byte) {
	header := w.Header()
	header["Content-Type"] = []string{string(as)}
	header["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	w.Write(body) //nolint:errcheck // the client has gone; the access log shows it
}

// Problem is an RFC 9457 answer: what strict handling turns failed records into. Extra is appended to the object as it
// stands, `,"name":value…`.
type Problem struct {
	Status int
	Fault  *fault.Error
	Extra  []byte
}

// WriteProblem writes a problem.
func WriteProblem(w http.ResponseWriter, r *Request, p Problem) {
	wire := wires[p.Fault.Code]
	b := append([]byte(nil), `{"type":"urn:weir:error:`...)
	b = append(b, p.Fault.Code.String()...)
	b = append(b, `","title":`...)
	b = AppendString(b, wire.Title)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(p.Status), 10)
	b = append(b, `,"detail":`...)
	b = AppendString(b, p.Fault.Message)
	b = append(b, `,"error_code":`...)
	b = strconv.AppendInt(b, int64(wire.ErrorCode), 10)
	b = append(b, `,"retriable":`...)
	b = strconv.AppendBool(b, p.Fault.Code.Retriable())
	b = append(b, `,"request_id":`...)
	b = AppendString(b, r.ID)
	b = append(b, p.Extra...)
	b = append(b, '}')
	setRetryAfter(w, p.Status, p.Fault)
	WriteJSON(w, p.Status, ProblemJSON, b)
}
