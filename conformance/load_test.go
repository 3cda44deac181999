package conformance

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

const oneCase = "cases: [{name: x, send: {method: GET, path: /}, want: {status: 200}}]\n"

func TestLoaderRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		files   map[string]string
		problem string
	}{
		"duplicate case names": {
			map[string]string{"a.yaml": "suite: s\ncases:\n- {name: x, send: {method: GET, path: /}, want: {status: 200}}\n- {name: x, send: {method: GET, path: /}, want: {status: 200}}\n"},
			"a.yaml:4: s/x is already the name of the case at a.yaml:3",
		},
		"duplicate suites":            {map[string]string{"a.yaml": "suite: s\n" + oneCase, "b.yaml": "suite: s\n" + oneCase}, "b.yaml:1: suite s is already the name of a.yaml"},
		"no expectation":              {map[string]string{"a.yaml": "suite: s\ncases:\n- {name: x, send: {method: GET, path: /}}\n"}, "a.yaml:3"},
		"an empty expectation":        {map[string]string{"a.yaml": "suite: s\ncases:\n- name: x\n  send: {method: GET, path: /}\n  want: {}\n"}, "a.yaml:5"},
		"no status":                   {map[string]string{"a.yaml": "suite: s\ncases:\n- name: x\n  send: {method: GET, path: /}\n  want: {json: {}}\n"}, "an expectation has no status"},
		"an unknown field":            {map[string]string{"a.yaml": "suite: s\ncases:\n- name: x\n  send: {method: GET, path: /}\n  want:\n    status: 200\n    jsn: {}\n"}, "a.yaml:7: cases.0.want: additional properties 'jsn' not allowed"},
		"an unknown top field":        {map[string]string{"a.yaml": "suite: s\nneed: [v2]\n" + oneCase}, "a.yaml:2: : additional properties 'need' not allowed"},
		"an unknown feature":          {map[string]string{"a.yaml": "suite: s\nneeds:\n- v2\n- v4\n" + oneCase}, "a.yaml:4: needs.1"},
		"an unknown profile":          {map[string]string{"a.yaml": "suite: s\nprofile: nope\n" + oneCase}, "no profile is called nope"},
		"an unknown reference":        {map[string]string{"a.yaml": "suite: s\ncases:\n- {name: x, send: {method: GET, path: '/${nope}'}, want: {status: 200}}\n"}, "${nope} is not known here"},
		"a matcher that is none":      {map[string]string{"a.yaml": "suite: s\ncases:\n- {name: x, send: {method: GET, path: /}, want: {status: 200, json: {a: <integer>}}}\n"}, "<integer> is no matcher"},
		"a bad regexp":                {map[string]string{"a.yaml": "suite: s\ncases:\n- {name: x, send: {method: GET, path: /}, want: {status: 200, json: '<re:(>'}}\n"}, "missing closing"},
		"a script of no use":          {map[string]string{"a.yaml": "suite: s\ncases:\n- {name: x, stream: {method: POST, path: /}, script: [{write: x}, {close: true}]}\n"}, "the script expects nothing"},
		"a body of a GET":             {map[string]string{"a.yaml": "suite: s\ncases:\n- {name: x, stream: {method: GET, path: /}, script: [{write: x}, {end: {}}]}\n"}, "a GET has no body"},
		"gathering without an end":    {map[string]string{"a.yaml": "suite: s\ncases:\n- {name: x, send: {method: GET, path: /}, want: {status: 200}, gather: {count: 1}}\n"}, "within says how long"},
		"gathering nothing":           {map[string]string{"a.yaml": "suite: s\ncases:\n- {name: x, send: {method: GET, path: /}, want: {status: 200}, gather: {count: 0}, within: 1s}\n"}, "count wants a positive number"},
		"a timestamp that is none":    {map[string]string{"a.yaml": "suite: s\ncases:\n- {name: x, kafka: {produce: {topic: a, records: [{timestamp: noon}]}}}\n"}, "record 0: timestamp"},
		"two things at once":          {map[string]string{"a.yaml": "suite: s\ncases:\n- name: x\n  steps:\n  - {pause: 1s, kafka: {delete_records: {topic: a, partition: 0, before: 1}}}\n"}, "a.yaml:5"},
		"a fault that is none":        {map[string]string{"a.yaml": "suite: s\ncases:\n- name: x\n  steps:\n  - faults: [{api: Fetch}]\n"}, "a.yaml:5"},
		"before that is wrong":        {map[string]string{"a.yaml": "suite: s\nbefore:\n- {send: {method: GET, path: '/${nope}'}, want: {status: 200}}\n" + oneCase}, "${nope} is not known here"},
		"raw bytes of no use":         {map[string]string{"a.yaml": "suite: s\ncases:\n- {name: x, raw: {write: x}, responses: []}\n"}, "raw bytes that expect nothing"},
		"an alternative of no reason": {map[string]string{"a.yaml": "suite: s\ncases:\n- name: x\n  send: {method: GET, path: /}\n  want: {status: 200}\n  also:\n  - want: {status: 201}\n"}, "a.yaml:7"},
		"not YAML":                    {map[string]string{"a.yaml": "suite: [\n"}, "a.yaml: not YAML"},
		"nothing":                     {map[string]string{"a.txt": ""}, "no *.yaml file"},
		"every problem":               {map[string]string{"a.yaml": "suite: s\nprofile: nope\n" + oneCase, "b.yaml": "suite: t\nprofile: nope\n" + oneCase}, "b.yaml:3: t/x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := fstest.MapFS{}
			for path, text := range test.files {
				files[path] = &fstest.MapFile{Data: []byte(text)}
			}
			_, err := Load(files)
			if err == nil || !strings.Contains(err.Error(), test.problem) {
				t.Errorf("got error %v\nwant one with %q", err, test.problem)
			}
		})
	}
}

func TestLoaderPermutes(t *testing.T) {
	t.Parallel()
	cases, err := Load(fstest.MapFS{"dir/a.yaml": {Data: []byte(`
suite: s
needs: [v2]
let: {common: 7}
each: {one: {root: /v3}, two: {root: /kafka/v3}}
cases:
- name: x
  each:
  - {a: {code: 200}, b: {code: 404}}
  - {c: {text: c}, d: {text: "${common}"}}
  http: [h1]
  send: {method: GET, path: "${root}/${text}"}
  want: {status: "${code}"}
- name: y
  topics: {t: 1, gone: null}
  send: {method: POST, path: "/topics/${t}", json: {n: "${limits.key_bytes+1}"}}
  want: {status: 200}
  kafka_has: [{topic: "${t}", records: [{value: null, headers: [[a, x], [b, null]]}]}]
- name: z
  raw: {write: "GET / HTTP/1.1\r\n\r\n"}
  responses: [{status: 400}]
  closed: true
- name: k
  http: [h1]
  steps:
  - kafka: {committed: {group: g, offsets: []}}
  - faults: [{down: true}]
  - stream: {method: GET, path: /}
    script: [{receipt: []}, {end: {}}]
`)}})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	needs := map[string][]Feature{}
	for _, c := range cases {
		ids = append(ids, c.ID)
		needs[c.ID] = c.Needs
	}
	want := []string{
		"s/x/one/a/c", "s/x/one/a/d", "s/x/one/b/c", "s/x/one/b/d", "s/x/two/a/c", "s/x/two/a/d", "s/x/two/b/c", "s/x/two/b/d",
		"s/y/one", "s/y/one@h2", "s/y/two", "s/y/two@h2", "s/z/one", "s/z/two", "s/k/one", "s/k/two",
	}
	if diff := cmp.Diff(want, ids); diff != "" {
		t.Errorf("ids (-want +got):\n%s", diff)
	}
	for id, want := range map[string][]Feature{
		"s/x/two/b/d": {V2, H1}, "s/y/one@h2": {V2, Topics, ReadBack, H2}, "s/z/one": {V2, Raw, H1}, "s/k/two": {V2, Kafka, Faults, H1},
	} {
		if diff := cmp.Diff(want, needs[id]); diff != "" {
			t.Errorf("needs of %s (-want +got):\n%s", id, diff)
		}
	}
	if got := string(cases[7].steps[0]); !strings.Contains(got, `"path":"/kafka/v3/7"`) || !strings.Contains(got, `"status":404`) {
		t.Errorf("step of %s: %s", cases[7].ID, got)
	}
}

func TestEmbeddedCasesLoad(t *testing.T) {
	t.Parallel()
	cases, err := Cases()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d cases", len(cases))
}
