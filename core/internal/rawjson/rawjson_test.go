package rawjson

import (
	"bytes"
	"errors"
	"io"
	"reflect"
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

// hard are texts that a scanner gets wrong first.
var hard = []string{
	``, ` `, `{}`, ` { } `, `[]`, `[ ]`, `[[]]`, `[{}]`, `{"":{}}`, `{"a":[]}`, `{"a" : [ 1 , "\"\\" ] , "b":null}`, `[[],{},"x"]`, `"a\u0020b"`, `-1.5e+3`,
	"[1]\n", `0`, `-0`, `00`, `01`, `-`, `-a`, `1.`, `.1`, `1.e1`, `1e`, `1e+`, `1E5`, `1e05`, `+1`, `1.5.5`, `1-1`, `0x1`, `1 2`, `1,2`, `,`, `[,]`, `[1,]`, `[,1]`,
	`[1,,2]`, `[1 2]`, `{,}`, `{"a":1,}`, `{"a":1,,"b":2}`, `{"a" 1}`, `{"a":}`, `{"a"}`, `{a:1}`, `{1:1}`, `{"a":1 "b":2}`, `{"a":1}}`, `[1]]`, `[1}`, `{"a":1]`, `[`, `{`,
	`{"a`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `[1`, `[1,`, `]`, `}`, `:`, `"`, `"a`, `"\`, `"\"`, `"\x"`, `"\u"`, `"\u12"`, `"\u12G4"`, `"\uD834\uDD1E"`, `"\uD834"`, `"\uD834x"`,
	`"\uD834\n"`, `"\uD834\u0041"`, `"\uD834\uD834"`, `"\uDD1E"`, `"\uD834\uDD1"`, `"\ud834\udd1e"`, `"\uFFFF\u0000"`, "\"\x00\"", "\"\x1f\"", "\"\x7f\"", "\"\n\"",
	"\"\xff\"", "\"\xc3\xa9\"", "\"\xc3\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"", "\"\xef\xbf\xbd\"", "\xef\xbb\xbf{}", "\"\xe2\x80\xa8\"",
	`true`, `tru`, `truex`, `True`, `false`, `null`, `nul`, `nullnull`, `[truefalse]`, `[true,false,null]`, "\v1", "\f1", "\u00a01", "1\x00", "//\n1", "NaN", "-Infinity",
	strings.Repeat("[", 63) + strings.Repeat("]", 63), strings.Repeat(`{"a":`, 64) + "1" + strings.Repeat("}", 64), strings.Repeat(`[{"a":`, 65) + "1" + strings.Repeat("}]", 65),
	strings.Repeat(`[{"a":`, 65) + "1" + strings.Repeat("]}", 65), strings.Repeat("[", 129) + strings.Repeat("]", 129) + "]", strings.Repeat("[[],", 200) + "1" + strings.Repeat("]", 200),
}

// verdicts compares what the scanner and the cursor say of a text with what jsontext says, and what the cursor takes with what
// jsontext makes of it.
func verdicts(t *testing.T, text []byte, limits Limits) {
	t.Helper()
	want := explain(text, limits)
	end, _, ok := scan(text, skipAny(text, 0), limits)
	if ok = ok && skipAny(text, end) == len(text); ok != (want == nil) {
		t.Fatalf("%q: the scanner says %v, jsontext says %v", text, ok, want)
	}
	cursor := NewCursor(bytes.Clone(text), limits)
	rebuilt := rebuild(cursor)
	if got := cursor.End(); !reflect.DeepEqual(got, want) {
		t.Fatalf("%q: the cursor says %v, jsontext says %v", text, got, want)
	}
	if want != nil {
		return
	}
	compact := jsontext.Value(bytes.Clone(text))
	if err := compact.Compact(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(false)); err != nil {
		t.Fatal(err)
	}
	whole := NewCursor(bytes.Clone(text), limits)
	if got := whole.Value(); !bytes.Equal(got, compact) {
		t.Fatalf("%q: the cursor takes %q, want %q", text, got, compact)
	}
	if err := Check(whole.text, limits); err != nil || whole.End() != nil {
		t.Fatalf("%q: what is left of the text, %q, is no longer JSON: %v", text, whole.text, err)
	}
	if len(rebuilt) > 0 && !bytes.Contains(rebuilt, []byte("?")) {
		var again jsontext.Value = rebuilt
		if err := again.Compact(jsontext.AllowDuplicateNames(true)); err != nil || !equalText(again, compact) {
			t.Fatalf("%q: read piece by piece it is %q", text, again)
		}
	}
}

// equalText compares texts up to the escapes of names, which a cursor gives unquoted.
func equalText(a, b jsontext.Value) bool {
	canonical := func(v jsontext.Value) string {
		v = bytes.Clone(v)
		if v.Canonicalize(jsontext.AllowDuplicateNames(true), jsontext.CanonicalizeRawFloats(false), jsontext.CanonicalizeRawInts(false), jsontext.ReorderRawObjects(false)) != nil {
			return "?"
		}
		return string(v)
	}
	return canonical(a) == canonical(b)
}

// rebuild reads containers two levels deep with the cursor, takes the values in them, and writes the text anew.
func rebuild(c *Cursor) []byte {
	var b []byte
	var read func(levels int)
	read = func(levels int) {
		switch kind := c.Kind(); {
		case levels > 0 && kind == '{':
			b = append(b, '{')
			for name := range c.Members() {
				if b[len(b)-1] != '{' {
					b = append(b, ',')
				}
				quoted, err := jsontext.AppendQuote(nil, name)
				if err != nil {
					quoted = []byte(`"?"`)
				}
				b = append(append(b, quoted...), ':')
				read(levels - 1)
			}
			b = append(b, '}')
		case levels > 0 && kind == '[':
			b = append(b, '[')
			for range c.Elements() {
				if b[len(b)-1] != '[' {
					b = append(b, ',')
				}
				read(levels - 1)
			}
			b = append(b, ']')
		default:
			b = append(b, c.Value()...)
		}
	}
	read(2)
	return b
}

func TestScannerAndCursorAgreeWithJSONText(t *testing.T) {
	t.Parallel()
	for _, text := range hard {
		for _, limits := range []Limits{limits, {Depth: 1000, NumberLength: 1000}, {Depth: 1, NumberLength: 1}, {Depth: 64, NumberLength: 5}} {
			verdicts(t, []byte(text), limits)
			verdicts(t, []byte("\t"+text+" \r\n"), limits)
			verdicts(t, []byte(`{"records": [`+text+`,{"value":`+text+`}]}`), limits)
		}
	}
}

func FuzzScan(f *testing.F) {
	for _, seed := range hard {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		verdicts(t, text, Limits{Depth: 100, NumberLength: 30})
	})
}

func TestCursorPassesOverWhatIsNotTaken(t *testing.T) {
	t.Parallel()
	c := NewCursor([]byte(` {"skip":{"a":[1,2]},"take": [ 1 , {"b" : 2} ] ,"half":[1,[2],3],"last":"x"} `), limits)
	var got []string
	for name := range c.Members() {
		switch string(name) {
		case "take":
			for i := range c.Elements() {
				if i == 1 {
					got = append(got, string(c.Value()))
				}
			}
		case "last":
			got = append(got, string(c.Value()))
		}
	}
	if err := c.End(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{`{"b":2}`, `"x"`}, got); diff != "" {
		t.Errorf("taken (-want +got):\n%s", diff)
	}
}

func TestCursorLeftEarlyStillTellsWhatIsWrong(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"a":1,"b":2}`:  "",
		`{"a":1,"b":2`:   "unexpected end of JSON at byte 12",
		`{"a":1,"b":2}x`: "unexpected data after the JSON value at byte 13",
		`[1]`:            "", // not an object: the loop takes nothing
	} {
		c := NewCursor([]byte(text), limits)
		for range c.Members() {
			break
		}
		got := ""
		if err := c.End(); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
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
