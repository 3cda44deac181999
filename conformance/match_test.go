package conformance

import (
	"strings"
	"testing"
)

func TestMatchJSON(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		want, got string
		problem   string // "": it matches
	}{
		"equal":                      {`{"a":[1,"x",null,true]}`, `{"a":[1,"x",null,true]}`, ""},
		"number by value":            {`{"a":1.0}`, `{"a":1}`, ""},
		"further key":                {`{"a":1}`, `{"a":1,"b":2}`, "$.b: want no such key, got 2"},
		"open object":                {`{"a":1,"...":"<any>"}`, `{"a":1,"b":2}`, ""},
		"missing key":                {`{"a":1}`, `{}`, "$.a: want 1, got no such key"},
		"null is not absent":         {`{"a":null}`, `{}`, "$.a: want null, got no such key"},
		"absent":                     {`{"a":"<absent>"}`, `{"a":null}`, "$.a: want no such key, got null"},
		"absent and is":              {`{"a":"<absent>"}`, `{}`, ""},
		"int":                        {`"<int>"`, `12345678901234567890`, ""},
		"int is no text":             {`"<int>"`, `"1"`, `$: want <int>, got "1"`},
		"int is no fraction":         {`"<int>"`, `1.5`, "want <int>"},
		"string":                     {`"<string>"`, `""`, ""},
		"bool":                       {`"<bool>"`, `false`, ""},
		"instant":                    {`"<instant>"`, `"2024-05-01T10:00:00.123Z"`, ""},
		"instant without zone":       {`"<instant>"`, `"2024-05-01T10:00:00"`, "want <instant>"},
		"regexp":                     {`"<re:^a+$>"`, `"aaa"`, ""},
		"regexp that does not match": {`"<re:^a+$>"`, `"b"`, "want <re:"},
		"prefix":                     {`"<prefix:Bad Request: >"`, `"Bad Request: x (y)"`, ""},
		"shorter list":               {`[1,2]`, `[1]`, "$[1]: want 2, got nothing"},
		"longer list":                {`[1]`, `[1,2]`, "$[1]: want nothing, got 2"},
		"each":                       {`{"<each>":{"n":"<int>"},"<len>":2}`, `[{"n":1},{"n":2}]`, ""},
		"each but one":               {`{"<each>":{"n":1}}`, `[{"n":1},{"n":2}]`, "$[1].n: want 1, got 2"},
		"length":                     {`{"<len>":3}`, `[1]`, "$.length: want 3, got 1"},
		"has":                        {`{"<has>":["b"]}`, `["a","b"]`, ""},
		"has not":                    {`{"<has>":["c"]}`, `["a","b"]`, `want an element "c"`},
		"not JSON":                   {`1`, `{`, "not JSON"},
		"two values":                 {`1`, `1 2`, "more than one"},
		"other kind":                 {`{"a":1}`, `[1]`, "$: want"},
		"huge exponent":              {`1`, `1e999999999`, "$: want 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := strings.Join(matchJSON([]byte(test.want), []byte(test.got)), "\n")
			if test.problem == "" && got != "" || !strings.Contains(got, test.problem) {
				t.Errorf("got %q, want %q", got, test.problem)
			}
		})
	}
}

func TestMatchID(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		pattern, id string
		want        bool
	}{
		{"a/b", "a/b", true},
		{"a/b", "a/b@h2", true},
		{"a/b@h2", "a/b", false},
		{"a/*", "a/b/c", true},
		{"*/c", "a/b/c@h2", true},
		{"a/b", "a/b/c", false},
		{"a.b", "axb", false},
		{"*b*", "a/b/c", true},
		{"a*b*c", "a/c/b/c", true},
		{"a*b*c", "a/b", false},
		{"ab*ba", "aba", false},
		{"a/*", "b/a/c", false},
	} {
		if got := MatchID(test.pattern, test.id); got != test.want {
			t.Errorf("MatchID(%q, %q) = %t, want %t", test.pattern, test.id, got, test.want)
		}
	}
}
