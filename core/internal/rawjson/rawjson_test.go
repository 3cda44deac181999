package rawjson

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

var limits = Limits{Depth: 10, NumberLength: 20}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, want string }{
		{"object", `{"a":[1,2.5e-3,true,null,"x"]}`, ""},
		{"space around", " \n{}\t", ""},
		{"empty", ``, "unexpected end of JSON at byte 0"},
		{"cut", `{"a":`, "unexpected end of JSON at byte 5"},
		{"trailing", `{} x`, "unexpected data after the JSON value at byte 3"},
		{"two values", `{}{}`, "unexpected data after the JSON value at byte 2"},
		{"deep", strings.Repeat("[", 11) + strings.Repeat("]", 11), "JSON is nested deeper than 10 levels"},
		{"as deep as allowed", strings.Repeat("[", 10) + strings.Repeat("]", 10), ""},
		{"many brackets, not deep", "[" + strings.Repeat("[],", 50) + "[]]", ""},
		{"brackets in a string", `"` + strings.Repeat("[", 50) + `"`, ""},
		{"long number", strings.Repeat("1", 21), "a number is longer than 20 characters"},
		{"as long as allowed", strings.Repeat("1", 20), ""},
		{"long number inside", `{"a":"b","c":[-` + strings.Repeat("1", 20) + `]}`, "a number is longer than 20 characters"},
		{"digits in a string", `"` + strings.Repeat("1", 50) + `"`, ""},
		{"duplicate names are the reader's business", `{"a":1,"a":2}`, ""},
	} {
		err := Check([]byte(c.text), limits)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"01", "+1", "1.", ".5", "NaN", "Infinity", "'a'", `"\x"`, "\"\t\"", "\"\xff\"", `"\ud800"`, "\ufeff{}",
		"{a:1}", "[1,]", `{"a":1,}`, "tru", "//x\n1", "\x00"} {
		var syntax *SyntaxError
		if err := Check([]byte(text), limits); !errors.As(err, &syntax) {
			t.Errorf("%q: got %v, want a syntax error", text, err)
		}
	}
}

// Whatever a text is made of, the work is proportional to its length. Of megabytes a quadratic pass takes hours, so this test
// needs no clock.
func TestWorkIsLinear(t *testing.T) {
	t.Parallel()
	const megabytes = 16 << 20
	for name, piece := range map[string]string{"numbers": "12345,", "letters of numbers": `"e1e1e1",`, "brackets": "[],{},"} {
		text := []byte("[" + strings.Repeat(piece, megabytes/len(piece)) + "1]")
		if err := CheckLimits(text, Limits{Depth: 10, NumberLength: 5}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, piece := range map[string]string{"escapes": `\\`, "escaped quotes": `\"`, "now and then": `0123456789abcdef0123\"`, "no escapes": "x"} {
		text := []byte(`"` + strings.Repeat(piece, megabytes/len(piece)) + `"`)
		if got := stringEnd(append(text, `,"next"`...), 0); got != len(text) {
			t.Errorf("%s: a string of %d bytes ends at %d", name, len(text), got)
		}
	}
}

func TestWalk(t *testing.T) {
	t.Parallel()
	var got []string
	for name, value := range Members([]byte(" { \"a\" : 1 , \"b\\u0062\":{\"x\":[1,{\"y\":\"}\"}]},\"a\":\"q\\\"\\\\\" , \"n\": [ ] }")[1:]) {
		got = append(got, string(name)+"="+string(value))
	}
	want := []string{`a=1`, `bb={"x":[1,{"y":"}"}]}`, `a="q\"\\"`, `n=[ ]`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
	got = nil
	for element := range Elements([]byte(`[ 1, "a,b" ,[2,3],{} , null]`)) {
		got = append(got, string(element))
	}
	if diff := cmp.Diff([]string{`1`, `"a,b"`, `[2,3]`, `{}`, `null`}, got); diff != "" {
		t.Errorf("elements (-want +got):\n%s", diff)
	}
}

func TestReader(t *testing.T) {
	t.Parallel()
	read := func(text string, max int) (values []string, last error) {
		r := NewReader(strings.NewReader(text), max, limits)
		for {
			value, err := r.Next()
			var limit *LimitError
			if err != nil && !errors.As(err, &limit) {
				return values, err
			}
			if err != nil {
				value = []byte("limit")
			}
			values = append(values, string(value))
		}
	}
	for _, c := range []struct {
		name, text string
		max        int
		want       []string
		wantErr    string
	}{
		{"concatenated", `{"a":1}{"b":2} 3` + "\n[4]", 100, []string{`{"a":1}`, `{"b":2}`, `3`, `[4]`}, "EOF"},
		{"empty", " \n ", 100, nil, "EOF"},
		{"cut", `{}{"a`, 100, []string{`{}`}, "unexpected end of JSON at byte 5"},
		{"comma", `{},{}`, 100, []string{`{}`}, "at byte 2"},
		{"too large", `{}"` + strings.Repeat("x", 100) + `"`, 50, []string{`{}`}, ErrTooLarge.Error()},
		{"far too large", `{}"` + strings.Repeat("x", 1<<20) + `"`, 50, []string{`{}`}, ErrTooLarge.Error()},
		{"limit goes on", strings.Repeat("[", 11) + strings.Repeat("]", 11) + `{}`, 100, []string{"limit", "{}"}, "EOF"},
	} {
		got, err := read(c.text, c.max)
		if diff := cmp.Diff(c.want, got); diff != "" || !strings.Contains(err.Error(), c.wantErr) {
			t.Errorf("%s: err %v, want %q; values (-want +got):\n%s", c.name, err, c.wantErr, diff)
		}
	}
}

// A stream's client waits for the receipt of a record before it sends the next, so a value must be given out before any
// byte of the following one has come.
func TestReaderDoesNotWaitForWhatFollows(t *testing.T) {
	t.Parallel()
	in, out := io.Pipe()
	r := NewReader(in, 100, limits)
	go out.Write([]byte(`{"a":1}`))
	if value, err := r.Next(); err != nil || string(value) != `{"a":1}` {
		t.Fatalf("got %s, %v", value, err)
	}
	go func() { out.Write([]byte("\n{\"b\":2}")); out.Close() }()
	if value, err := r.Next(); err != nil || string(value) != `{"b":2}` {
		t.Fatalf("got %s, %v", value, err)
	}
}

func FuzzWalk(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a" : [ 1 , "\"\\" ] , "b":null}`, `[[],{},"x"]`, `"a\u0020b"`, `-1.5e+3`, "[1]\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if Check(text, Limits{Depth: 10000, NumberLength: 1 << 20}) != nil {
			return
		}
		value := Trim(text)
		want := jsontext.Value(bytes.Clone(value))
		if err := want.Compact(jsontext.AllowDuplicateNames(true)); err != nil {
			t.Fatal(err)
		}
		walk(value)
		if got := Compact(value); !bytes.Equal(got, want) {
			t.Fatalf("compact %q: got %q, want %q", text, got, want)
		}
	})
}

func walk(value []byte) {
	switch Kind(value) {
	case '{':
		for _, member := range Members(value) {
			walk(member)
		}
	case '[':
		for element := range Elements(value) {
			walk(element)
		}
	case '"':
		Unquote(value)
	}
}
