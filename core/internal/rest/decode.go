package rest

import (
	"errors"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/rawjson"
)

// Decode reads a body that is one JSON object into a struct: for bodies that describe something. Records have decoders of their
// own. A field that the struct does not have is refused, and so is one that is there twice. empty: there is no body, or it is null.
func (r *Request) Decode(into any) (empty bool, err error) {
	text, err := r.Body()
	if err != nil {
		return false, err
	}
	r.blank = len(rawjson.Trim(text)) == 0
	if trimmed := rawjson.Trim(text); len(trimmed) == 0 || string(trimmed) == "null" {
		return true, nil
	}
	if err := rawjson.Check(text, r.JSONLimits()); err != nil {
		return false, Malformed(err)
	}
	if err := json.Unmarshal(text, into, json.RejectUnknownMembers(true)); err != nil {
		return false, mismatch(err)
	}
	return false, nil
}

// Empty reports, after Decode, whether there was no body at all, not even null.
func (r *Request) Empty() bool { return r.blank }

// pointer takes the escapes out of a JSON pointer (RFC 6901).
var pointer = strings.NewReplacer("~1", "/", "~0", "~")

// mismatch words an error of decoding checked JSON: an unknown field, or a value of the wrong type.
func mismatch(err error) error {
	var semantic *json.SemanticError
	if errors.As(err, &semantic) {
		field := pointer.Replace(strings.ReplaceAll(strings.TrimPrefix(string(semantic.JSONPointer), "/"), "/", "."))
		if errors.Is(err, json.ErrUnknownName) {
			return fault.Newf(fault.Unprocessable, "Unrecognized field: %s", field)
		}
		if field == "" {
			return fault.New(fault.MalformedJSON, "The request body must be a JSON object.")
		}
		return fault.Wrap(fault.MalformedJSON, err, "The field "+field+" has the wrong type.")
	}
	return fault.Wrap(fault.MalformedJSON, err, "The request body is malformed: a field is there twice.")
}
