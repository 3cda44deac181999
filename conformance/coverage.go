package conformance

import (
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

//go:embed coverage.yaml
var coverageText []byte

// Coverage ties what the API is known to do to the cases that hold it.
type Coverage struct {
	// Rows are the black-box behaviours of the behavioural reference, by their number.
	Rows map[int]Covered `json:"rows"`
	// Codes are the error codes that a REST Proxy gives, by error_code.
	Codes map[int]Covered `json:"codes"`
	// Complaints are what users of REST proxies have reported about reading, by project and the number of the issue.
	Complaints map[string]Covered `json:"complaints"`
}

// Covered is where one of them stands: cases that hold it, or the reason why none does yet, or ever.
type Covered struct {
	// What is the behaviour, in a few words.
	What string `json:"what"`
	// Cases are ids of cases, in which * stands for any text.
	Cases []string `json:"cases,omitempty"`
	// Tests are Go tests of this repository that hold what one gateway in front of one broker cannot show.
	Tests []string `json:"tests,omitempty"`
	// Later is why there is none: what has to come first.
	Later string `json:"later,omitempty"`
	// Never is why there will be none.
	Never string `json:"never,omitempty"`
}

// How many rows the reference has, and the codes that it lists.
const coverageRows = 60

func coverageCodes() []int {
	return []int{
		40001, 40002, 40101, 40301, 40401, 40402, 40403, 40404, 40405, 40601, 40801, 40901, 40902, 40903,
		42201, 42202, 42203, 42204, 42205, 42206, 42207, 42208, 42901, 429, 50002, 50003, 50101, 50301, 50302,
	}
}

// coverageComplaints are the complaints that must have an answer.
func coverageComplaints() []string {
	var all []string
	for project, issues := range map[string][]int{
		"confluent": {
			83, 110, 155, 201, 212, 233, 262, 307, 341, 396, 417, 432, 433, 461, 523, 584, 597, 609, 633, 698, 725, 752, 760, 935, 951,
			1010, 1040, 1057, 1065, 1133, 1167, 1245, 1308, 1309,
		},
		"strimzi":    {125, 379, 498, 532, 748, 1151, 1159},
		"karapace":   {260, 261, 488, 1138},
		"gravitee":   {6686, 6730},
		"kafka-pixy": {59, 62, 120, 182, 183, 195},
	} {
		for _, issue := range issues {
			all = append(all, fmt.Sprintf("%s-%d", project, issue))
		}
	}
	return append(all, "karapace-max-bytes", "strimzi-max-bytes")
}

// ReadCoverage reads coverage.yaml and holds it against the cases: every row, code and complaint is there, and each is held by cases
// that exist, or by Go tests, or says why not.
func ReadCoverage(cases []*Case) (*Coverage, error) {
	tree, err := parseYAML(coverageText)
	if err != nil {
		return nil, fmt.Errorf("coverage.yaml: %w", err)
	}
	var coverage Coverage
	if err := decodeStrict(tree.json(), &coverage); err != nil {
		return nil, fmt.Errorf("coverage.yaml: %w", err)
	}
	var problems []error
	check := func(section string, names []string, covered map[string]Covered) {
		for _, name := range names {
			if _, ok := covered[name]; !ok {
				problems = append(problems, fmt.Errorf("coverage.yaml: %s: %s is missing", section, name))
			}
		}
		for name, c := range covered {
			place := fmt.Sprintf("coverage.yaml:%d: %s.%s", tree.lineAt([]string{section, name}), section, name)
			if !slices.Contains(names, name) {
				problems = append(problems, fmt.Errorf("%s is not in the reference", place))
			}
			if err := c.check(cases); err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", place, err))
			}
		}
	}
	rows := make([]int, coverageRows)
	for i := range rows {
		rows[i] = i + 1
	}
	check("rows", texts(rows), byText(coverage.Rows))
	check("codes", texts(coverageCodes()), byText(coverage.Codes))
	check("complaints", coverageComplaints(), coverage.Complaints)
	return &coverage, errors.Join(problems...)
}

func texts(numbers []int) []string {
	all := make([]string, len(numbers))
	for i, n := range numbers {
		all[i] = strconv.Itoa(n)
	}
	return all
}

func byText(covered map[int]Covered) map[string]Covered {
	all := make(map[string]Covered, len(covered))
	for number, c := range covered {
		all[strconv.Itoa(number)] = c
	}
	return all
}

// Held reports whether something holds it.
func (c *Covered) Held() bool { return len(c.Cases)+len(c.Tests) > 0 }

func (c *Covered) check(cases []*Case) error {
	given := 0
	for _, is := range []bool{c.Held(), c.Later != "", c.Never != ""} {
		if is {
			given++
		}
	}
	if given != 1 {
		return errors.New("want exactly one of cases or tests, later and never")
	}
	for _, pattern := range c.Cases {
		if !slices.ContainsFunc(cases, func(one *Case) bool { return MatchID(pattern, one.ID) }) {
			return fmt.Errorf("no case is called %s", pattern)
		}
	}
	if reason := c.Later + c.Never; given == 1 && !c.Held() && len(strings.Fields(reason)) < 3 {
		return fmt.Errorf("%q is no reason", reason)
	}
	return nil
}
