package conformance

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// An Outcome is what became of a case.
type Outcome string

// The outcomes. A run is good when nothing failed, nothing passed that is known to fail, and no known failure matches nothing.
const (
	Passed         Outcome = "passed"
	Failed         Outcome = "failed"
	KnownFailing   Outcome = "known_failing"
	UnexpectedPass Outcome = "unexpected_pass"
	NotSupported   Outcome = "not_supported"
)

// ReportSchema names the shape of a report; it changes when a reader of the old one would misread the new.
const ReportSchema = "weir.conformance.report/1"

// Report is a whole run, in the shape that is written as JSON.
type Report struct {
	Schema   string    `json:"schema"`
	Target   string    `json:"target"`
	BaseURL  string    `json:"base_url"`
	Profile  string    `json:"profile"`
	Traits   []string  `json:"traits"`
	Features []Feature `json:"features"`
	Started  time.Time `json:"started"`
	// DurationMS is the whole run's, in milliseconds.
	DurationMS int64  `json:"duration_ms"`
	OK         bool   `json:"ok"`
	Counts     Counts `json:"counts"`
	// UnmatchedKnown are patterns of known failures that no case has.
	UnmatchedKnown []string     `json:"unmatched_known"`
	Cases          []CaseResult `json:"cases"`
}

// Counts is how many cases came to which end.
type Counts struct {
	Total          int `json:"total"`
	Passed         int `json:"passed"`
	Failed         int `json:"failed"`
	KnownFailing   int `json:"known_failing"`
	UnexpectedPass int `json:"unexpected_pass"`
	NotSupported   int `json:"not_supported"`
}

// CaseResult is one case's.
type CaseResult struct {
	ID      string  `json:"id"`
	Suite   string  `json:"suite"`
	Place   string  `json:"place"` // file:line
	Outcome Outcome `json:"outcome"`
	// Reason is why it is not supported, or known to fail.
	Reason string `json:"reason,omitempty"`
	// Deviates is why Weir answers otherwise than the Confluent REST Proxy here, if it does.
	Deviates string `json:"deviates,omitempty"`
	// DurationMS is in milliseconds.
	DurationMS int64 `json:"duration_ms"`
	// Problems are the differences between what was wanted and what came.
	Problems []string `json:"problems,omitempty"`
	// Exchange is the HTTP that went over the wire, shortened.
	Exchange string `json:"exchange,omitempty"`
}

// Message is the whole of what a person needs to know of a case that failed.
func (c *CaseResult) Message() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s (%s)\n", c.Outcome, c.ID, c.Place)
	if c.Reason != "" {
		fmt.Fprintf(&b, "    %s\n", c.Reason)
	}
	for _, problem := range c.Problems {
		fmt.Fprintf(&b, "    %s\n", problem)
	}
	for line := range strings.Lines(c.Exchange) {
		b.WriteString("      " + line)
	}
	return b.String()
}

func newReport(target *Target, results []CaseResult, started time.Time) *Report {
	r := &Report{
		Schema: ReportSchema, Target: target.Name, BaseURL: target.BaseURL, Profile: target.Profile,
		Traits: append([]string{}, target.Traits...), Features: append([]Feature{}, target.Features...), Started: started.UTC(),
		DurationMS: time.Since(started).Milliseconds(), UnmatchedKnown: []string{}, Cases: results,
	}
	for _, result := range results {
		r.Counts.Total++
		switch result.Outcome {
		case Passed:
			r.Counts.Passed++
		case Failed:
			r.Counts.Failed++
		case KnownFailing:
			r.Counts.KnownFailing++
		case UnexpectedPass:
			r.Counts.UnexpectedPass++
		case NotSupported:
			r.Counts.NotSupported++
		}
	}
	for _, known := range target.Known {
		matches := func(c CaseResult) bool { return MatchID(known.Pattern, c.ID) }
		if !slices.ContainsFunc(results, matches) {
			r.UnmatchedKnown = append(r.UnmatchedKnown, known.Pattern)
		}
	}
	r.OK = r.Counts.Failed == 0 && r.Counts.UnexpectedPass == 0 && len(r.UnmatchedKnown) == 0
	return r
}

// WriteJSON writes the report for machines.
func (r *Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// WriteTable writes the report for people: a line for each suite of which something ran, the reasons why cases are not supported, and the failures.
func (r *Report) WriteTable(w io.Writer) error {
	suites := map[string]*Counts{}
	reasons := map[string]int{}
	for _, c := range r.Cases {
		counts := suites[c.Suite]
		if counts == nil {
			counts = &Counts{}
			suites[c.Suite] = counts
		}
		switch c.Outcome {
		case Passed:
			counts.Passed++
		case NotSupported:
			counts.NotSupported++
			reasons[c.Reason]++
		case KnownFailing:
			counts.KnownFailing++
		default:
			counts.Failed++
		}
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(cells ...any) { fmt.Fprintf(table, "%v\t%v\t%v\t%v\t  %v\n", cells...) }
	row("passed", "failed", "known", "n/s", "suite")
	for _, name := range sortedKeys(suites) {
		c := suites[name]
		if c.Passed+c.Failed+c.KnownFailing == 0 {
			continue // another profile's: counted below, by reason
		}
		row(c.Passed, c.Failed, c.KnownFailing, c.NotSupported, name)
	}
	row(r.Counts.Passed, r.Counts.Failed+r.Counts.UnexpectedPass, r.Counts.KnownFailing, r.Counts.NotSupported, "all of "+r.Target)
	if err := table.Flush(); err != nil {
		return err
	}
	for _, reason := range sortedKeys(reasons) {
		fmt.Fprintf(w, "not supported: %d: %s\n", reasons[reason], reason)
	}
	for _, pattern := range r.UnmatchedKnown {
		fmt.Fprintf(w, "known failure that matches no case: %s\n", pattern)
	}
	for i := range r.Cases {
		if c := &r.Cases[i]; c.Outcome == Failed || c.Outcome == UnexpectedPass {
			fmt.Fprintf(w, "\n%s", c.Message())
		}
	}
	return nil
}
