package history

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// record makes an acknowledged record of a key and the log entry that belongs to it.
func record(id, key string, sequence int64, partition int32, offset int64) (Attempt, Entry) {
	a := Attempt{ID: id, Topic: "t", Key: key, Sequence: sequence, Verdict: Persisted, Partition: partition, Offset: offset,
		Status: 200, Code: 200, Retry: "none"}
	return a, Entry{Topic: "t", Partition: partition, Offset: offset, ID: id, Sum: sum(a.key(), a.value())}
}

// Each case breaks a clean history in one way, and the report must show that anomaly and no other.
func TestCheckFindsEveryAnomaly(t *testing.T) {
	t.Parallel()
	// Two keys in two partitions, a record without a key, and one record for each of the other verdicts.
	clean := func() ([]Attempt, []Entry) {
		a0, e0 := record("a0", "a", 0, 0, 0)
		a1, e1 := record("a1", "a", 1, 0, 1)
		a2, e2 := record("a2", "a", 2, 0, 3)
		b0, f0 := record("b0", "b", 0, 1, 0)
		n0, g0 := record("n0", "", 0, 1, 1)
		unknown := Attempt{ID: "u0", Topic: "t", Key: "a", Sequence: 3, Verdict: Unknown, Code: 50003, Retry: "duplicate_risk"}
		e3 := Entry{Topic: "t", Partition: 0, Offset: 2, ID: "u0", Sum: sum(unknown.key(), unknown.value())}
		return []Attempt{
			a0, a1, a2, b0, n0, unknown,
			{ID: "u1", Topic: "t", Key: "a", Sequence: 4, Verdict: Unknown, Code: 50003, Retry: "duplicate_risk"},
			{ID: "p0", Topic: "t", Key: "b", Sequence: 1, Verdict: NotPersisted, Code: 50003, Retry: "safe"},
			{ID: "r0", Topic: "t", Key: "b", Sequence: 2, Verdict: Refused, Status: 503, Code: 503},
			{ID: "s0", Topic: "t", Key: "b", Sequence: 3, Verdict: Unanswered, Cut: true},
		}, []Entry{e0, e1, e3, e2, f0, g0}
	}
	for name, test := range map[string]struct {
		breakIt func([]Attempt, []Entry) ([]Attempt, []Entry)
		want    map[Anomaly]int
	}{
		"nothing": {func(a []Attempt, e []Entry) ([]Attempt, []Entry) { return a, e }, map[Anomaly]int{}},
		"an acknowledged record is not there": {func(a []Attempt, e []Entry) ([]Attempt, []Entry) {
			return a, e[1:]
		}, map[Anomaly]int{Missing: 1}},
		"another offset was told": {func(a []Attempt, e []Entry) ([]Attempt, []Entry) {
			a[0].Offset = 77
			return a, e
		}, map[Anomaly]int{Misplaced: 1}},
		"another partition was told": {func(a []Attempt, e []Entry) ([]Attempt, []Entry) {
			a[4].Partition = 0
			return a, e
		}, map[Anomaly]int{Misplaced: 1}},
		"an acknowledged record lies there twice": {func(a []Attempt, e []Entry) ([]Attempt, []Entry) {
			again := e[0]
			again.Offset = 4
			return a, append(e, again)
		}, map[Anomaly]int{Duplicated: 1}},
		"an unknown record lies there twice": {func(a []Attempt, e []Entry) ([]Attempt, []Entry) {
			again := e[2]
			again.Offset = 4
			return a, append(e, again)
		}, map[Anomaly]int{Duplicated: 1}},
		"a later record of a key overtakes": {func(a []Attempt, e []Entry) ([]Attempt, []Entry) {
			a[0].Offset, a[1].Offset = 1, 0
			e[0], e[1] = e[1], e[0]
			e[0].Offset, e[1].Offset = 0, 1
			return a, e
		}, map[Anomaly]int{Inverted: 1}},
		"a key wanders": {func(a []Attempt, e []Entry) ([]Attempt, []Entry) {
			a[2].Partition, a[2].Offset, e[3].Partition, e[3].Offset = 1, 2, 1, 2
			return a, []Entry{e[0], e[1], e[2], e[4], e[5], e[3]}
		}, map[Anomaly]int{Scattered: 1}},
		"not_persisted is there": {func(a []Attempt, e []Entry) ([]Attempt, []Entry) {
			return a, append(e, Entry{Topic: "t", Partition: 1, Offset: 2, ID: "p0", Sum: sum(a[7].key(), a[7].value())})
		}, map[Anomaly]int{Denied: 1}},
		"a refused record is there": {func(a []Attempt, e []Entry) ([]Attempt, []Entry) {
			return a, append(e, Entry{Topic: "t", Partition: 1, Offset: 2, ID: "r0", Sum: sum(a[8].key(), a[8].value())})
		}, map[Anomaly]int{Denied: 1}},
		"a value changed": {func(a []Attempt, e []Entry) ([]Attempt, []Entry) {
			e[1].Sum = sum(a[1].key(), append(a[1].value(), ' '))
			return a, e
		}, map[Anomaly]int{Altered: 1}},
		"an absent key became an empty one": {func(a []Attempt, e []Entry) ([]Attempt, []Entry) {
			e[5].Sum = sum([]byte{}, a[4].value())
			return a, e
		}, map[Anomaly]int{Altered: 1}},
		"a record that nobody sent": {func(a []Attempt, e []Entry) ([]Attempt, []Entry) {
			return a, append(e, Entry{Topic: "t", Partition: 1, Offset: 2, ID: "z"})
		}, map[Anomaly]int{Foreign: 1}},
		"a success called unknown": {func(a []Attempt, e []Entry) ([]Attempt, []Entry) {
			a[5].Code = 200
			return a, e
		}, map[Anomaly]int{Contradictory: 1}},
		"a failure called persisted": {func(a []Attempt, e []Entry) ([]Attempt, []Entry) {
			a[0].Code = 50003
			return a, e
		}, map[Anomaly]int{Contradictory: 1}},
		"unknown with a safe retry": {func(a []Attempt, e []Entry) ([]Attempt, []Entry) {
			a[5].Retry = "safe"
			return a, e
		}, map[Anomaly]int{Contradictory: 1}},
		"an outcome that does not exist": {func(a []Attempt, e []Entry) ([]Attempt, []Entry) {
			a[5].Verdict = "perhaps"
			return a, e
		}, map[Anomaly]int{Contradictory: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			report := Check(test.breakIt(clean()))
			if diff := cmp.Diff(test.want, report.Found); diff != "" {
				t.Errorf("anomalies (-want +got):\n%s%s", diff, report)
			}
			if (report.Err() == nil) != (len(test.want) == 0) {
				t.Errorf("got error %v", report.Err())
			}
			for anomaly := range test.want {
				if !strings.Contains(report.String(), report.Examples[anomaly][0]) {
					t.Errorf("the report shows no example:\n%s", report)
				}
			}
		})
	}
}

func TestCheckCounts(t *testing.T) {
	t.Parallel()
	a0, e0 := record("a0", "a", 0, 0, 0)
	report := Check([]Attempt{
		a0,
		{ID: "u0", Verdict: Unknown, Code: 50003},
		{ID: "s0", Verdict: Unanswered, Cut: true},
		{ID: "s1", Verdict: Unanswered},
	}, []Entry{e0})
	if diff := cmp.Diff(map[Verdict]int{Persisted: 1, Unknown: 1, Unanswered: 2}, report.Told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[Verdict]int{Persisted: 1}, report.InLog); diff != "" {
		t.Errorf("in log (-want +got):\n%s", diff)
	}
	if report.Silent != 1 {
		t.Errorf("got %d silent, want 1", report.Silent)
	}
}

func TestReportKeepsFewExamples(t *testing.T) {
	t.Parallel()
	var log []Entry
	for i := range 1000 {
		log = append(log, Entry{Topic: "t", Offset: int64(i)})
	}
	report := Check(nil, log)
	if report.Found[Foreign] != 1000 || len(report.Examples[Foreign]) != examplesKept {
		t.Errorf("got %d found and %d examples, want 1000 and %d", report.Found[Foreign], len(report.Examples[Foreign]), examplesKept)
	}
}
