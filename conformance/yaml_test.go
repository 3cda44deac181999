package conformance

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestYAMLKeepsOrderAndSpelling(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ yaml, want string }{
		"key order":                             {"{z: 1, a: 2, m: 3}", `{"z":1,"a":2,"m":3}`},
		"number spelling":                       {"{a: 1.0, b: 1e400, c: -0, d: 12345678901234567890123}", `{"a":1.0,"b":1e400,"c":-0,"d":12345678901234567890123}`},
		"text":                                  {"a: 'x <y> & \"z\" \\u0000'", `{"a":"x <y> & \"z\" \\u0000"}`},
		"block text":                            {"a: |\n  one\n  two\n", `{"a":"one\ntwo\n"}`},
		"escapes":                               {`a: "x\r\n"`, `{"a":"x\r\n"}`},
		"words that YAML 1.1 took for booleans": {"{on: no, y: yes}", `{"on":"no","y":"yes"}`},
		"nulls":                                 {"a: null\nb:\nc: ~", `{"a":null,"b":null,"c":null}`},
		"merge and alias":                       {"base: &b {x: 1, y: 2}\nuse: {<<: *b, y: 3}\nsame: *b", `{"base":{"x":1,"y":2},"use":{"y":3,"x":1},"same":{"x":1,"y":2}}`},
		"empty containers":                      {"{a: {}, b: []}", `{"a":{},"b":[]}`},
		"integer keys":                          {"{200: a}", `{"200":"a"}`},
		"quoted key":                            {`{"...": "<any>", '<len>': 1}`, `{"...":"<any>","<len>":1}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, err := parseYAML([]byte(test.yaml))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(n.json())); diff != "" {
				t.Errorf("JSON (-want +got):\n%s", diff)
			}
		})
	}
}

func TestYAMLErrorsNameTheLine(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ yaml, want string }{
		"number of another kind": {"a: 1\nb: 0x10", "line 2"},
		"key given twice":        {"a: 1\nb: 2\na: 3", "3:1"},
		"alias without anchor":   {"a: *b", "line 1"},
		"two documents":          {"a: 1\n---\nb: 2", "one YAML document"},
		"infinity":               {"a: .inf", "line 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := parseYAML([]byte(test.yaml))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestLineAt(t *testing.T) {
	t.Parallel()
	n, err := parseYAML([]byte("a:\n- x: 1\n- y: 2\n  z:\n    deep: 3\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		path []string
		want int
	}{
		{[]string{"a", "1", "z", "deep"}, 5},
		{[]string{"a", "0"}, 2},
		{[]string{"a", "1", "absent", "more"}, 3},
		{nil, 1},
	} {
		if got := n.lineAt(test.path); got != test.want {
			t.Errorf("lineAt(%v) = %d, want %d", test.path, got, test.want)
		}
	}
}
