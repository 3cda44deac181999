package conformance

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestExpand(t *testing.T) {
	t.Parallel()
	v := vars{"n": []byte("41"), "o": []byte(`{"x":[1]}`), "loop": []byte(`"${loop}"`), "deep": []byte(`"<${s}>"`), "further": []byte(`"${o}"`)}
	v.set("s", `say "hi"`)
	for name, test := range map[string]struct {
		text    string
		partial bool
		want    string
		failure string
	}{
		"whole keeps its type":     {text: `{"a":"${n}","b":"${o}"}`, want: `{"a":41,"b":{"x":[1]}}`},
		"inside text":              {text: `"n is ${n}, ${s}"`, want: `"n is 41, say \"hi\""`},
		"an object inside text":    {text: `"${o}!"`, want: `"{\"x\":[1]}!"`},
		"counting":                 {text: `["${n+1}","x${n-2}"]`, want: `[42,"x39"]`},
		"a value that is one":      {text: `{"a":"${further}"}`, want: `{"a":{"x":[1]}}`},
		"a value with a reference": {text: `"${deep}"`, want: `"<say \"hi\">"`},
		"unknown":                  {text: `"${x}"`, failure: "${x} is not known here"},
		"unknown but partial":      {text: `"${x} ${n}"`, partial: true, want: `"${x} 41"`},
		"counting from text":       {text: `"${s+1}"`, failure: "not an integer"},
		"a circle":                 {text: `"x${loop}${loop}"`, failure: "refer to themselves"},
		"what only looks like one": {text: `"$n {n} $[n]"`, want: `"$n {n} $[n]"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := v.expand([]byte(test.text), test.partial)
			if test.failure != "" {
				if err == nil || !strings.Contains(err.Error(), test.failure) {
					t.Errorf("got error %v, want one with %q", err, test.failure)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestOctets(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ text, want, failure string }{
		"text":       {text: `"aé"`, want: "aé"},
		"hex":        {text: `{"hex":"ff 00fe"}`, want: "\xff\x00\xfe"},
		"base64":     {text: `{"base64":"AAE="}`, want: "\x00\x01"},
		"base64 of":  {text: `{"base64_of":{"hex":"0001"}}`, want: "AAE="},
		"repeat":     {text: `{"repeat":["a",{"hex":"62"}],"times":3}`, want: "ababab"},
		"parts":      {text: `["x",{"repeat":"y","times":2},"z"]`, want: "xyyz"},
		"empty":      {text: `""`, want: ""},
		"number":     {text: `-1.0`, want: "-1.0"},
		"true":       {text: `true`, failure: "written as a string"},
		"unknown":    {text: `{"file":"x"}`, failure: "unknown field"},
		"nothing":    {text: `{"times":1}`, failure: "one of hex"},
		"bad hex":    {text: `{"hex":"zz"}`, failure: "hex"},
		"too much":   {text: `{"repeat":"0123456789","times":1000000000}`, failure: "bytes in all"},
		"bad base64": {text: `{"base64":"*"}`, failure: "base64"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got octets
			err := got.UnmarshalJSON([]byte(test.text))
			if test.failure != "" {
				if err == nil || !strings.Contains(err.Error(), test.failure) {
					t.Errorf("got error %v, want one with %q", err, test.failure)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != test.want || got == nil {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	var null octets = []byte("x")
	if err := null.UnmarshalJSON([]byte("null")); err != nil || null != nil {
		t.Errorf("null: got %q, %v, want nil", null, err)
	}
}
