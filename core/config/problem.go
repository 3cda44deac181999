package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// environmentPlace is the File of a problem that no file caused but a WEIR_… variable, or a setting that is given nowhere.
const environmentPlace = "environment"

// Problem is one thing that is wrong in a configuration. Its texts never contain the value of a secret.
type Problem struct {
	// File is the file that the problem is in, as it was named to Load; "environment" for what WEIR_… variables say, and
	// empty for a Config that came from no text at all.
	File string `json:"file,omitempty"`
	// Line counts from 1; 0 when there is no line.
	Line int `json:"line,omitempty"`
	// Column counts characters from 1; 0 when there is no line.
	Column int `json:"column,omitempty"`
	// Variable is the environment variable that set the value, if one did.
	Variable string `json:"variable,omitempty"`
	// Path is the setting, as clusters[0].sasl.password; empty for the file as a whole.
	Path string `json:"path,omitempty"`
	// Message says what is wrong.
	Message string `json:"message"`
	// Cure says what to do about it.
	Cure string `json:"cure,omitempty"`
}

// String is one line: file:line:column: path: message. Cure.
func (p Problem) String() string {
	var line strings.Builder
	if p.File != "" {
		line.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&line, ":%d:%d", p.Line, p.Column)
		}
		line.WriteString(": ")
	}
	for _, part := range []string{p.Variable, p.Path} {
		if part != "" {
			line.WriteString(part + ": ")
		}
	}
	line.WriteString(sentence(p.Message))
	if p.Cure != "" {
		line.WriteString(" " + capitalised(sentence(p.Cure)))
	}
	return line.String()
}

// sentence ends text with a full stop unless it ends already.
func sentence(text string) string {
	if strings.HasSuffix(text, "?") {
		return text
	}
	return text + "."
}

// Problems is every problem of one configuration, in the order of their places. As an error it prints one to a line.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

// orNil is p as an error, sorted by place, or nil when there is no problem: an empty Problems must not become a non-nil error.
func (p Problems) orNil() error {
	if len(p) == 0 {
		return nil
	}
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(
			boolOrder(a.File == environmentPlace, b.File == environmentPlace),
			cmp.Compare(a.File, b.File),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Variable, b.Variable),
			cmp.Compare(a.Path, b.Path),
			cmp.Compare(a.Message, b.Message),
		)
	})
	return slices.Compact(p)
}

func boolOrder(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return 1
	}
}

// place is where a value was written.
type place struct {
	file         string
	line, column int
	variable     string
}

func (p place) problem(path, message, cure string) Problem {
	return Problem{File: p.file, Line: p.line, Column: p.column, Variable: p.variable, Path: path, Message: message, Cure: cure}
}
