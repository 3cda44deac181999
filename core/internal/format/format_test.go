package format

import (
	"strings"
	"testing"

	"github.com/weir-gateway/weir/core/internal/fault"
)

func TestEncode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		codec      Codec
		data, want string
		err        string // of the message; empty: none
	}{
		{Binary{}, `"a2V5"`, "key", ""},
		{Binary{}, `""`, "", ""},
		{Binary{}, `"\u0059Q=="`, "a", ""}, // an escaped letter is still a letter
		{Binary{}, `1`, "", "Bad Request: data=1 is not a base64 string."},
		{Binary{}, `"_-=="`, "", `Bad Request: data="_-==" is not a valid base64 string.`}, // the URL alphabet
		{Binary{}, `"YQ"`, "", `Bad Request: data="YQ" is not a valid base64 string.`},
		{Binary{}, `"YQ==\r\n"`, "", `Bad Request: data="YQ==\r\n" is not a valid base64 string.`},
		{JSON{}, `{"b":1.0,"a":"x y","b":9007199254740993}`, `{"b":1.0,"a":"x y","b":9007199254740993}`, ""},
		{JSON{RejectDuplicateNames: true}, `{"a":{"b":1,"c":1}}`, `{"a":{"b":1,"c":1}}`, ""},
		{JSON{RejectDuplicateNames: true}, `{"a":{"b":1,"b":1}}`, "", "Bad Request: data has an object with the same name twice."},
		{String{}, `"\u00e9\n"`, "é\n", ""},
		{String{}, `{}`, "", "Bad Request: data={} is not a string."},
		{String{}, `["` + strings.Repeat("é", 99) + `"]`, "", "…"},
	} {
		got, err := c.codec.Encode([]byte(c.data))
		if c.err != "" {
			if f := fault.From(err); f == nil || f.Code != fault.InvalidRequest || !strings.Contains(f.Message, c.err) || len(f.Message) > 200 {
				t.Errorf("%T %s: got %v, want %q", c.codec, c.data, err, c.err)
			}
			continue
		}
		if err != nil || got == nil || string(got) != c.want {
			t.Errorf("%T %s: got %q, %v, want %q", c.codec, c.data, got, err, c.want)
		}
	}
}
