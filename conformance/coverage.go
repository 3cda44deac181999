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
}

// Covered is where one of them stands: cases that hold it, or the reason why none does yet, or ever.
type Covered struct {
	// What is the behaviour, in a few words.
	What string `json:"what"`
	// Cases are ids of cases, in which * stands for any text.
	Cases []string `json:"cases,omitempty"`
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

// ReadCoverage reads coverage.yaml and holds it against the cases: every row and code is there, and each is held by cases that
// exist or says why not.
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
	check := func(section string, numbers []int, covered map[int]Covered) {
		for _, number := range numbers {
			if _, ok := covered[number]; !ok {
				problems = append(problems, fmt.Errorf("coverage.yaml: %s: %d is missing", section, number))
			}
		}
		for number, c := range covered {
			place := fmt.Sprintf("coverage.yaml:%d: %s.%d", tree.lineAt([]string{section, strconv.Itoa(number)}), section, number)
			if !slices.Contains(numbers, number) {
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
	check("rows", rows, coverage.Rows)
	check("codes", coverageCodes(), coverage.Codes)
	return &coverage, errors.Join(problems...)
}

func (c *Covered) check(cases []*Case) error {
	given := 0
	for _, is := range []bool{len(c.Cases) > 0, c.Later != "", c.Never != ""} {
		if is {
			given++
		}
	}
	if given != 1 {
		return errors.New("want exactly one of cases, later and never")
	}
	for _, pattern := range c.Cases {
		if !slices.ContainsFunc(cases, func(one *Case) bool { return MatchID(pattern, one.ID) }) {
			return fmt.Errorf("no case is called %s", pattern)
		}
	}
	if reason := c.Later + c.Never; given == 1 && len(c.Cases) == 0 && len(strings.Fields(reason)) < 3 {
		return fmt.Errorf("%q is no reason", reason)
	}
	return nil
}
