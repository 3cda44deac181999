package conformance

import (
	"strings"
	"testing"
)

func TestCoverage(t *testing.T) {
	t.Parallel()
	cases, err := Cases()
	if err != nil {
		t.Fatal(err)
	}
	coverage, err := ReadCoverage(cases)
	if err != nil {
		t.Fatal(err)
	}
	held, open := 0, 0
	for _, section := range []map[int]Covered{coverage.Rows, coverage.Codes} {
		for _, c := range section {
			if len(c.Cases) > 0 {
				held++
			} else {
				open++
			}
		}
	}
	t.Logf("%d rows and codes are held by cases, %d are open with a reason", held, open)
}

func TestCoverageRefuses(t *testing.T) {
	t.Parallel()
	cases := []*Case{{ID: "a/b/c"}, {ID: "a/b/c@h2"}}
	for name, test := range map[string]struct {
		covered Covered
		problem string
	}{
		"a case":              {Covered{Cases: []string{"a/b/*"}}, ""},
		"a case that is none": {Covered{Cases: []string{"a/b/c", "a/x"}}, "no case is called a/x"},
		"a reason":            {Covered{Later: "consumers come first"}, ""},
		"no reason":           {Covered{Later: "later"}, "is no reason"},
		"nothing":             {Covered{What: "x"}, "exactly one"},
		"both":                {Covered{Cases: []string{"a/b/c"}, Never: "it is never raised"}, "exactly one"},
	} {
		err := test.covered.check(cases)
		if test.problem == "" && err != nil || test.problem != "" && (err == nil || !strings.Contains(err.Error(), test.problem)) {
			t.Errorf("%s: got error %v, want %q", name, err, test.problem)
		}
	}
}
