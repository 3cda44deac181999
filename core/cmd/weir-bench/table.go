//go:build unix

package main

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// sample is one figure of every round.
type sample []float64

// middle is the median; 0 for nothing.
func (s sample) middle() float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// over gives the quotients of two samples, round by round.
func (s sample) over(by sample) sample {
	var quotients sample
	for i := range min(len(s), len(by)) {
		quotients = append(quotients, s[i]/by[i])
	}
	return quotients
}

// plus gives the sums of two samples, round by round.
func (s sample) plus(other sample) sample {
	var sums sample
	for i := range min(len(s), len(other)) {
		sums = append(sums, s[i]+other[i])
	}
	return sums
}

// median writes the median alone.
func (s sample) median(decimals int) string {
	if len(s) == 0 {
		return "–"
	}
	return number(s.middle(), decimals)
}

// text writes the median and the range.
func (s sample) text(decimals int) string {
	if len(s) < 2 {
		return s.median(decimals)
	}
	return s.median(decimals) + " [" + number(slices.Min(s), decimals) + "–" + number(slices.Max(s), decimals) + "]"
}

// number writes a number with commas between thousands.
func number(x float64, decimals int) string {
	text := strconv.FormatFloat(x, 'f', decimals, 64)
	whole, fraction, _ := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if fraction != "" {
		whole += "." + fraction
	}
	return whole
}

// table is a Markdown table that can be read as it stands.
type table struct {
	head []string
	rows [][]string
	left int // how many columns are not numbers
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// String writes the table, with a line for each row.
func (t table) String() string {
	widths := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell), 3)
		}
	}
	var b strings.Builder
	line := func(cells []string) {
		for i, cell := range cells {
			padding := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i < t.left {
				b.WriteString("| " + cell + padding + " ")
			} else {
				b.WriteString("| " + padding + cell + " ")
			}
		}
		b.WriteString("|\n")
	}
	line(t.head)
	for i, width := range widths {
		rule := "|" + strings.Repeat("-", width+2)
		if i >= t.left {
			rule = rule[:len(rule)-1] + ":"
		}
		b.WriteString(rule)
	}
	b.WriteString("|\n")
	for _, row := range t.rows {
		line(row)
	}
	return b.String()
}
