package rest

import (
	"net/http"
	"strings"
	"testing"
)

func TestNegotiate(t *testing.T) {
	t.Parallel()
	one := []MediaType{KafkaV2JSON}
	two := []MediaType{KafkaV2JSON, "application/vnd.kafka.binary.v2+json"}
	for _, c := range []struct {
		accept   []string
		produces []MediaType
		want     MediaType // empty: 406
	}{
		{nil, two, KafkaV2JSON},
		{[]string{""}, two, KafkaV2JSON},
		{[]string{"*/*"}, two, KafkaV2JSON},
		{[]string{"*"}, two, KafkaV2JSON},
		{[]string{"application/*"}, two, KafkaV2JSON},
		{[]string{"text/plain"}, one, ""},
		{[]string{"application/json"}, one, ""},
		{[]string{"text/plain, */*;q=0.1"}, one, KafkaV2JSON},
		{[]string{"application/vnd.kafka.binary.v2+json"}, two, two[1]},
		{[]string{"application/vnd.kafka.v2+json;q=0.5, application/vnd.kafka.binary.v2+json"}, two, two[1]},
		{[]string{"application/vnd.kafka.v2+json;q=0.5, application/vnd.kafka.binary.v2+json;q=0.5"}, two, KafkaV2JSON},
		{[]string{"application/vnd.kafka.v2+json;q=0.1", "application/*;q=0.9"}, two, two[1]},
		{[]string{"application/vnd.kafka.v2+json;q=0"}, one, ""},
		{[]string{"application/vnd.kafka.v2+json;q=0, */*"}, one, ""},
		{[]string{"APPLICATION/VND.KAFKA.V2+JSON; charset=utf-8; q=1"}, one, KafkaV2JSON},
		{[]string{"application/vnd.kafka.v2+json;q=nonsense"}, one, ""},
		{[]string{"application/vnd.kafka.v2+json;q=2"}, one, ""},
		{[]string{"application/vnd.kafka.v2+json;q=NaN"}, one, ""},
		{[]string{"garbage"}, one, ""},
	} {
		got, ok := negotiate(c.accept, c.produces)
		if ok != (c.want != "") || ok && got != c.want {
			t.Errorf("Accept %q: got %q %v, want %q", c.accept, got, ok, c.want)
		}
	}
}

func TestContentType(t *testing.T) {
	t.Parallel()
	consumes := []MediaType{"application/vnd.kafka.binary.v2+json", "application/vnd.kafka.json.v2+json"}
	for _, c := range []struct {
		header []string
		want   ContentType // zero: 415
	}{
		{nil, ContentType{Type: consumes[0]}},
		{[]string{"*/*"}, ContentType{Type: consumes[0]}},
		{[]string{"application/vnd.kafka.json.v2+json"}, ContentType{Type: consumes[1]}},
		{[]string{"Application/vnd.kafka.json.v2+JSON; charset=utf-8"}, ContentType{consumes[1], "utf-8"}},
		{[]string{"application/json"}, ContentType{}},
		{[]string{"text/plain"}, ContentType{}},
		{[]string{";;;"}, ContentType{}},
		{[]string{"application/vnd.kafka.json.v2+json", "text/plain"}, ContentType{}},
	} {
		r := &http.Request{Header: http.Header{}}
		if c.header != nil {
			r.Header["Content-Type"] = c.header
		}
		got, ok := contentType(r, consumes)
		if ok != (c.want.Type != "") || got != c.want {
			t.Errorf("Content-Type %q: got %+v %v, want %+v", c.header, got, ok, c.want)
		}
	}
}

func FuzzNegotiate(f *testing.F) {
	for _, seed := range []string{"", "*/*", "a/b;q=0.5,c/*", "application/vnd.kafka.v2+json; q=1", ",,;q=;", "a/b;q=1e400"} {
		f.Add(seed, seed)
	}
	produces := []MediaType{KafkaV2JSON, ApplicationJSON}
	f.Fuzz(func(t *testing.T, accept, body string) {
		if got, ok := negotiate([]string{accept}, produces); ok && got != produces[0] && got != produces[1] {
			t.Fatalf("Accept %q: negotiated %q, which is not offered", accept, got)
		}
		r := &http.Request{Header: http.Header{"Content-Type": {body}, "Accept": {accept}, "Prefer": {body}}}
		if got, ok := contentType(r, produces); ok && got.Type != produces[0] && got.Type != produces[1] {
			t.Fatalf("Content-Type %q: took %q, which is not consumed", body, got.Type)
		}
		if got := errorTypeFromAccept(r); got != ApplicationJSON && got != KafkaV2JSON {
			t.Fatalf("Accept %q: error type %q", accept, got)
		}
		parsePreferences(r)
	})
}

func FuzzCleanTarget(f *testing.F) {
	for _, seed := range []string{"/topics/t", "/topics//t", "/topics/%2e%2e/x", "/topics/a%2fb", "/topics/t/", "/%00", "/./", "/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, target string) {
		r, err := http.NewRequest(http.MethodGet, "http://h"+target, nil)
		if err != nil {
			return
		}
		if clean := cleanTarget(r); clean != nil {
			for segment := range strings.SplitSeq(clean.URL.Path, "/") {
				if segment == "." || segment == ".." {
					t.Fatalf("%q: routed with a %q segment", target, segment)
				}
			}
			if strings.Contains(clean.URL.Path, "//") {
				t.Fatalf("%q: routed with an empty segment", target)
			}
		}
	})
}
