package format

import (
	"encoding/base64"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/weir-gateway/weir/core/internal/fault"
)

// Decoder is a Codec's way back: it writes stored bytes as the JSON that a client reads. data is not nil – Kafka's null is JSON's
// null in every format. An error is a *fault.Error, Undecodable, that says why the bytes are not of the format; b is then given back
// unchanged.
type Decoder interface {
	AppendJSON(b, data []byte) ([]byte, error)
}

// AppendJSON appends the bytes as a base64 string.
func (Binary) AppendJSON(b, data []byte) ([]byte, error) {
	b = append(b, '"')
	b = base64.StdEncoding.AppendEncode(b, data)
	return append(b, '"'), nil
}

// AppendJSON appends the text as it is stored: whoever wrote it may have had a reason for its spelling.
func (j JSON) AppendJSON(b, data []byte) ([]byte, error) {
	if err := j.Known.Check(data); err != nil {
		return b, fault.Newf(fault.Undecodable, "not JSON: %v", err)
	}
	return append(b, data...), nil
}

// AppendJSON appends the text as a JSON string.
func (String) AppendJSON(b, data []byte) ([]byte, error) {
	if !utf8.Valid(data) {
		return b, fault.New(fault.Undecodable, "not UTF-8")
	}
	quoted, err := jsontext.AppendQuote(b, data)
	if err != nil {
		return b, fault.Newf(fault.Undecodable, "not a string: %v", err)
	}
	return quoted, nil
}
