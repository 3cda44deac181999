package conformance

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
)

// maxOctets bounds what a case can build: a slip in a count must not take the machine down.
const maxOctets = 256 << 20

// octets are bytes as a case writes them: a string or a number (its text, in UTF-8), or a part, or a list of these:
//
//	{hex: "ff fe"}                       these bytes
//	{base64: "AAEC"}                     the decoded bytes
//	{repeat: OCTETS, times: 1000}        OCTETS so many times
//	{base64_of: OCTETS}                  the base64 text of OCTETS
//
// A nil octets is null or was not given; the two are told apart by the field that holds it.
type octets []byte

// UnmarshalJSON implements json.Unmarshaler.
func (o *octets) UnmarshalJSON(text []byte) error {
	var b bytes.Buffer
	if bytes.Equal(text, []byte("null")) {
		*o = nil
		return nil
	}
	if err := appendOctets(&b, text); err != nil {
		return err
	}
	*o = b.Bytes()
	if *o == nil {
		*o = octets{}
	}
	return nil
}

func appendOctets(b *bytes.Buffer, text []byte) error {
	switch {
	case len(text) > 0 && text[0] == '"':
		var s string
		if err := json.Unmarshal(text, &s); err != nil {
			return err
		}
		b.WriteString(s)
	case len(text) > 0 && text[0] == '[':
		var parts []json.RawMessage
		if err := json.Unmarshal(text, &parts); err != nil {
			return err
		}
		for _, part := range parts {
			if err := appendOctets(b, part); err != nil {
				return err
			}
		}
	case len(text) > 0 && text[0] == '{':
		return appendPart(b, text)
	case jsonNumber.Match(text):
		b.Write(text)
	default:
		return fmt.Errorf("bytes are written as a string, a number, a part or a list of these, not as %.40s", text)
	}
	if b.Len() > maxOctets {
		return fmt.Errorf("more than %d bytes", maxOctets)
	}
	return nil
}

func appendPart(b *bytes.Buffer, text []byte) error {
	var part struct {
		Hex      *string         `json:"hex"`
		Base64   *string         `json:"base64"`
		Base64Of json.RawMessage `json:"base64_of"`
		Repeat   json.RawMessage `json:"repeat"`
		Times    int             `json:"times"`
	}
	if err := decodeStrict(text, &part); err != nil {
		return err
	}
	switch {
	case part.Hex != nil:
		decoded, err := hex.DecodeString(strings.ReplaceAll(*part.Hex, " ", ""))
		if err != nil {
			return fmt.Errorf("hex: %w", err)
		}
		b.Write(decoded)
	case part.Base64 != nil:
		decoded, err := base64.StdEncoding.DecodeString(*part.Base64)
		if err != nil {
			return fmt.Errorf("base64: %w", err)
		}
		b.Write(decoded)
	case part.Base64Of != nil:
		var inner bytes.Buffer
		if err := appendOctets(&inner, part.Base64Of); err != nil {
			return err
		}
		b.WriteString(base64.StdEncoding.EncodeToString(inner.Bytes()))
	case part.Repeat != nil:
		var inner bytes.Buffer
		if err := appendOctets(&inner, part.Repeat); err != nil {
			return err
		}
		if part.Times < 0 || inner.Len()*part.Times > maxOctets {
			return fmt.Errorf("repeat %d times: want 0 to %d bytes in all", part.Times, maxOctets)
		}
		b.Grow(inner.Len() * part.Times)
		for range part.Times {
			b.Write(inner.Bytes())
		}
	default:
		return fmt.Errorf("a part has one of hex, base64, base64_of, repeat: %.80s", text)
	}
	return nil
}

// decodeStrict reads one JSON value and refuses fields that the type does not have.
func decodeStrict(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}
