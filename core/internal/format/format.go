// Package format turns what a client wrote as JSON into the bytes that Kafka stores: one Codec for each embedded format of
// the REST APIs. Codecs know neither the API that calls them nor Kafka; formats that need a schema implement the same seam
// elsewhere.
//
// Bytes given to a codec belong to it: the result may share their memory.
package format

import (
	"bytes"
	"encoding/base64"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/rawjson"
)

// Codec encodes the data of a record's key or value. data is one JSON value that package rawjson has checked, and is neither
// null – that is Kafka's null in every format, and no codec's business – nor has white space between its tokens. The error is a *fault.Error whose message is for the
// client.
type Codec interface {
	Encode(data []byte) ([]byte, error)
}

// Binary stores the bytes of a base64 string (RFC 4648 §4: standard alphabet, padded).
type Binary struct{}

// Encode decodes the base64.
func (Binary) Encode(data []byte) ([]byte, error) {
	if rawjson.Kind(data) != '"' {
		return nil, fault.Newf(fault.InvalidRequest, "Bad Request: data=%s is not a base64 string.", Excerpt(data))
	}
	decoded, err := Base64(rawjson.Unquote(data))
	if err != nil {
		return nil, fault.Newf(fault.InvalidRequest, "Bad Request: data=%s is not a valid base64 string.", Excerpt(data))
	}
	return decoded, nil
}

// Base64 decodes standard, padded base64. Unlike encoding/base64 it takes no line breaks. The result is never nil.
func Base64(text []byte) ([]byte, error) {
	if i := bytes.IndexAny(text, "\r\n"); i >= 0 {
		return nil, base64.CorruptInputError(i)
	}
	decoded := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(decoded, text)
	return decoded[:n:n], err
}

// JSON stores the JSON text itself, without white space and otherwise unchanged: the spelling of numbers and escapes and the
// order of members are the client's, because the bytes of a key decide its partition.
type JSON struct {
	// RejectDuplicateNames makes an object with a name twice an error.
	RejectDuplicateNames bool
	// Known says what is JSON when it is read back. Encoding does not need it.
	Known *rawjson.Known
}

// Encode gives the text.
func (j JSON) Encode(data []byte) ([]byte, error) {
	if j.RejectDuplicateNames && !jsontext.Value(data).IsValid() {
		// The text was checked with duplicates allowed, so duplicates are all that can be wrong with it.
		return nil, fault.New(fault.InvalidRequest, "Bad Request: data has an object with the same name twice. Remove one, or set json.duplicate_names to allow.")
	}
	return data, nil
}

// String stores the UTF-8 bytes of a string.
type String struct{}

// Encode unquotes the string.
func (String) Encode(data []byte) ([]byte, error) {
	if rawjson.Kind(data) != '"' {
		return nil, fault.Newf(fault.InvalidRequest, "Bad Request: data=%s is not a string.", Excerpt(data))
	}
	return rawjson.Unquote(data), nil
}

// excerptLength bounds how much of a client's data is echoed in an error.
const excerptLength = 64

// Excerpt gives the beginning of checked JSON text, for an error message.
func Excerpt(data []byte) string {
	if len(data) <= excerptLength {
		return string(data)
	}
	cut := excerptLength
	for cut > 0 && data[cut]&0xC0 == 0x80 { // not in the middle of a character
		cut--
	}
	return string(data[:cut]) + "…"
}
