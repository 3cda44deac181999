package history

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Anomaly is a way in which a gateway can break its word.
type Anomaly string

// The anomalies.
const (
	// Missing: told persisted, and nowhere in the log.
	Missing Anomaly = "acknowledged but missing"
	// Misplaced: told persisted at a partition and offset where another record lies.
	Misplaced Anomaly = "lies elsewhere than told"
	// Duplicated: sent once, and more than once in the log.
	Duplicated Anomaly = "duplicated"
	// Inverted: of two acknowledged records with the same key, the one sent later lies before the other.
	Inverted Anomaly = "order of a key inverted"
	// Scattered: acknowledged records with the same key lie in different partitions.
	Scattered Anomaly = "key in several partitions"
	// Denied: told not persisted, or refused, and in the log all the same.
	Denied Anomaly = "told not persisted, yet in the log"
	// Altered: key or value differ from what was sent.
	Altered Anomaly = "key or value altered"
	// Foreign: in the log, and sent by nobody.
	Foreign Anomaly = "in the log, sent by nobody"
	// Contradictory: error_code, outcome and retry of one answer do not fit each other.
	Contradictory Anomaly = "answer contradicts itself"
)

// Anomalies lists every anomaly, in the order of a report.
func Anomalies() []Anomaly {
	return []Anomaly{Missing, Misplaced, Duplicated, Inverted, Scattered, Denied, Altered, Foreign, Contradictory}
}

// examplesKept bounds how many instances of an anomaly a report describes; it counts them all.
const examplesKept = 10

// Report is the outcome of Check.
type Report struct {
	// Told is how many records got each verdict, and InLog how many of those are in the log.
	Told, InLog map[Verdict]int
	// Silent is how many records got no answer although the client did not cut the connection; SilentExamples describes the
	// first.
	Silent         int
	SilentExamples []string
	// Found is how often each anomaly occurs; Examples describes the first of each.
	Found    map[Anomaly]int
	Examples map[Anomaly][]string
}

func (r *Report) found(anomaly Anomaly, format string, arguments ...any) {
	r.Found[anomaly]++
	if len(r.Examples[anomaly]) < examplesKept {
		r.Examples[anomaly] = append(r.Examples[anomaly], fmt.Sprintf(format, arguments...))
	}
}

// Check compares what clients were told with what lies in the log. The entries of one partition must be in the order of
// their offsets. No record may be under way any more: the gateway has ended, or has answered all that it took.
func Check(attempts []Attempt, log []Entry) *Report {
	r := &Report{
		Told: make(map[Verdict]int), InLog: make(map[Verdict]int),
		Found: make(map[Anomaly]int), Examples: make(map[Anomaly][]string),
	}
	sent := make(map[string]*Attempt, len(attempts))
	for i := range attempts {
		sent[attempts[i].ID] = &attempts[i]
	}
	lies := make(map[string][]*Entry, len(log))
	for i := range log {
		entry := &log[i]
		if sent[entry.ID] == nil {
			r.found(Foreign, "%s-%d@%d, id %q", entry.Topic, entry.Partition, entry.Offset, entry.ID)
			continue
		}
		lies[entry.ID] = append(lies[entry.ID], entry)
	}
	for i := range attempts {
		r.checkOne(&attempts[i], lies[attempts[i].ID])
	}
	r.checkOrder(sent, log)
	return r
}

// checkOne holds one record's answer against the places where it lies.
func (r *Report) checkOne(a *Attempt, lies []*Entry) {
	r.Told[a.Verdict]++
	if len(lies) > 0 {
		r.InLog[a.Verdict]++
	}
	if a.Verdict == Unanswered && !a.Cut {
		r.Silent++
		if len(r.SilentExamples) < examplesKept {
			r.SilentExamples = append(r.SilentExamples, fmt.Sprintf("%s by %s, status %d, after %v: %s", a.ID, a.Mode, a.Status, a.Took, a.Message))
		}
	}
	if len(lies) > 1 {
		r.found(Duplicated, "%s: %d times, at %s-%d@%d and %s-%d@%d among others", a.ID, len(lies), lies[0].Topic, lies[0].Partition,
			lies[0].Offset, lies[1].Topic, lies[1].Partition, lies[1].Offset)
	}
	for _, entry := range lies {
		if entry.Sum != sum(a.key(), a.value()) {
			r.found(Altered, "%s at %s-%d@%d", a.ID, entry.Topic, entry.Partition, entry.Offset)
		}
	}
	switch a.Verdict {
	case Persisted:
		if len(lies) == 0 {
			r.found(Missing, "%s, told %s-%d@%d", a.ID, a.Topic, a.Partition, a.Offset)
		} else if !a.liesIn(lies) {
			r.found(Misplaced, "%s, told %s-%d@%d, lies at %s-%d@%d", a.ID, a.Topic, a.Partition, a.Offset, lies[0].Topic,
				lies[0].Partition, lies[0].Offset)
		}
	case NotPersisted, Refused:
		if len(lies) > 0 {
			r.found(Denied, "%s, told %s (status %d, error_code %d, %s), lies at %s-%d@%d", a.ID, a.Verdict, a.Status, a.Code, a.Message,
				lies[0].Topic, lies[0].Partition, lies[0].Offset)
		}
	}
	if why := a.contradiction(); why != "" {
		r.found(Contradictory, "%s: %s (error_code %d, outcome %s, retry %q)", a.ID, why, a.Code, a.Verdict, a.Retry)
	}
}

func (a *Attempt) liesIn(places []*Entry) bool {
	for _, entry := range places {
		if entry.Topic == a.Topic && entry.Partition == a.Partition && entry.Offset == a.Offset {
			return true
		}
	}
	return false
}

// contradiction says how an answer about one record contradicts itself, or nothing.
func (a *Attempt) contradiction() string {
	var retries []string
	switch a.Verdict {
	case Persisted:
		retries = []string{"", "none"}
	case NotPersisted:
		retries = []string{"", "safe", "futile"}
	case Unknown:
		retries = []string{"", "duplicate_risk"}
	case Refused, Unanswered:
		return ""
	default:
		return "no such outcome"
	}
	if a.succeeded() != (a.Verdict == Persisted) {
		return "error_code and outcome disagree"
	}
	if !slices.Contains(retries, a.Retry) {
		return fmt.Sprintf("retry should be one of %q", retries)
	}
	return ""
}

// checkOrder walks the log and holds the acknowledged records of each key against the order in which they were sent.
func (r *Report) checkOrder(sent map[string]*Attempt, log []Entry) {
	type place struct {
		attempt *Attempt
		entry   *Entry
	}
	last := make(map[string]place)
	scattered := make(map[string]bool)
	for i := range log {
		entry := &log[i]
		a := sent[entry.ID]
		if a == nil || a.Key == "" || a.Verdict != Persisted || a.Offset != entry.Offset || a.Partition != entry.Partition {
			continue // further copies of a record are duplicates, not inversions
		}
		before, known := last[a.Key]
		last[a.Key] = place{a, entry}
		switch {
		case !known:
		case before.entry.Partition != entry.Partition || before.entry.Topic != entry.Topic:
			if !scattered[a.Key] {
				scattered[a.Key] = true
				r.found(Scattered, "%s: in %s-%d and in %s-%d", a.Key, before.entry.Topic, before.entry.Partition, entry.Topic, entry.Partition)
			}
		case before.attempt.Sequence > a.Sequence:
			r.found(Inverted, "%s: number %d at %s-%d@%d, number %d after it @%d", a.Key, before.attempt.Sequence, entry.Topic,
				entry.Partition, before.entry.Offset, a.Sequence, entry.Offset)
		}
	}
}

// Err is nil when no anomaly was found, and the whole report otherwise.
func (r *Report) Err() error {
	if len(r.Found) == 0 {
		return nil
	}
	return errors.New(r.String())
}

// String gives the report as text: what was told, how much of it is in the log, and each anomaly with examples.
func (r *Report) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%-36s %9s %9s\n", "told", "records", "in log")
	for _, verdict := range []Verdict{Persisted, NotPersisted, Unknown, Refused, Unanswered} {
		fmt.Fprintf(&text, "%-36s %9d %9d\n", verdict, r.Told[verdict], r.InLog[verdict])
	}
	fmt.Fprintf(&text, "%-36s %9d\n", "  of these not cut by the client", r.Silent)
	for _, example := range r.SilentExamples {
		fmt.Fprintf(&text, "    %s\n", example)
	}
	for _, anomaly := range Anomalies() {
		fmt.Fprintf(&text, "%-36s %9d\n", anomaly, r.Found[anomaly])
		for _, example := range r.Examples[anomaly] {
			fmt.Fprintf(&text, "    %s\n", example)
		}
	}
	return text.String()
}
