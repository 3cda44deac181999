package conformance

import (
	"slices"
	"testing"
	"time"
)

// RunTests holds the target against the cases as subtests of t, each named by its case's id. Cases run in parallel within the
// bounds of the test binary, those with faults one at a time after all others. A case that is not supported is skipped, a known
// failure is logged. The report is returned when all subtests have ended.
func RunTests(t *testing.T, target Target, env Env, options Options) *Report {
	t.Helper()
	r, err := newRun(t.Context(), target, env, &options)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close(t.Context())
	started := time.Now()
	results := make([]CaseResult, len(r.cases))
	one := func(t *testing.T, i int) {
		t.Helper()
		results[i] = r.do(t.Context(), r.cases[i])
		r.progress(results[i])
		switch result := &results[i]; result.Outcome {
		case Failed, UnexpectedPass:
			t.Error(result.Message())
		case KnownFailing:
			t.Log(result.Message())
		case NotSupported:
			t.Skip(result.Reason)
		case Passed:
		}
	}
	slots := make(chan struct{}, options.Parallel)
	t.Run("cases", func(t *testing.T) {
		for i, c := range r.cases {
			if c.hasFaults() {
				continue
			}
			t.Run(c.ID, func(t *testing.T) {
				t.Parallel()
				slots <- struct{}{}
				defer func() { <-slots }()
				one(t, i)
			})
		}
	})
	t.Run("faults", func(t *testing.T) {
		for i, c := range r.cases {
			if c.hasFaults() {
				t.Run(c.ID, func(t *testing.T) { one(t, i) })
			}
		}
	})
	ran := slices.DeleteFunc(results, func(c CaseResult) bool { return c.ID == "" }) // the test's -run left some out
	report := newReport(&r.target, ran, started)
	if len(ran) == len(r.cases) && options.Match == "" {
		for _, pattern := range report.UnmatchedKnown {
			t.Errorf("known failure that matches no case: %s", pattern)
		}
	}
	return report
}
