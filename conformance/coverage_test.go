package conformance

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
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
	tests := goTests(t)
	held, open := 0, 0
	for _, section := range []map[string]Covered{byText(coverage.Rows), byText(coverage.Codes), coverage.Complaints} {
		for name, c := range section {
			if c.Held() {
				held++
			} else {
				open++
			}
			for _, test := range c.Tests {
				if !tests[test] {
					t.Errorf("coverage.yaml: %s: there is no test %s", name, test)
				}
			}
		}
	}
	t.Logf("%d rows, codes and complaints are held, %d are open with a reason", held, open)
}

// goTests finds the tests of the core, those that need a tag included.
func goTests(t *testing.T) map[string]bool {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9_]+)\(t \*testing\.T\)`)
	found := map[string]bool{}
	err := filepath.WalkDir("../core", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, match := range declared.FindAllSubmatch(text, -1) {
			found[string(match[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
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
		"a test":              {Covered{Tests: []string{"TestX"}}, ""},
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
