package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"
)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

const referenceCure = "write ${env:NAME}, ${env:NAME:-default} or ${file:PATH}, and $${ for a literal ${"

// expander resolves ${env:NAME}, ${env:NAME:-default} and ${file:PATH}. What it puts in is not looked at again.
type expander struct {
	environment map[string]string
	directory   string // that relative paths start from
}

// expand gives text with every reference resolved, and whether there was one ($${ alone is none). Complaints name variables
// and files, never values.
func (x expander) expand(text string) (expanded string, dynamic bool, complaints []complaint) {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		if !found {
			out.WriteString(text)
			return out.String(), dynamic, complaints
		}
		if literal, ok := strings.CutSuffix(before, "$"); ok {
			out.WriteString(literal + "${")
			text = rest
			continue
		}
		out.WriteString(before)
		reference, after, closed := strings.Cut(rest, "}")
		if !closed {
			return "", true, append(complaints, complaint{"has a ${ without its }", referenceCure})
		}
		dynamic = true
		value, wrong := x.resolve(reference)
		if wrong != nil {
			complaints = append(complaints, *wrong)
		}
		out.WriteString(value)
		text = after
	}
}

func (x expander) resolve(reference string) (string, *complaint) {
	source, argument, _ := strings.Cut(reference, ":")
	switch source {
	case "env":
		return x.variable(argument)
	case "file":
		return x.file(argument)
	}
	return "", &complaint{"has a ${…} that is neither ${env:NAME} nor ${file:PATH}", referenceCure}
}

func (x expander) variable(argument string) (string, *complaint) {
	name, fallback, hasFallback := strings.Cut(argument, ":-")
	if !variableName.MatchString(name) {
		return "", &complaint{"has an ${env:…} without the name of a variable", referenceCure}
	}
	value, ok := x.environment[name]
	switch {
	case hasFallback && value == "":
		return fallback, nil
	case !ok:
		return "", &complaint{"needs the environment variable " + name + ", which is not set",
			"set it, or give a default: ${env:" + name + ":-default}"}
	case !utf8.ValidString(value):
		return "", &complaint{"needs the environment variable " + name + ", which is not UTF-8 text", "set it to UTF-8 text"}
	}
	return value, nil
}

func (x expander) file(path string) (string, *complaint) {
	if path == "" {
		return "", &complaint{"has a ${file:…} without a path", referenceCure}
	}
	path = inDirectory(x.directory, path)
	data, err := readRegular(path, maxFileBytes)
	switch {
	case err != nil:
		return "", &complaint{fmt.Sprintf("needs the file %s, which %s", path, err), "create it, or correct the path"}
	case !utf8.Valid(data):
		return "", &complaint{fmt.Sprintf("needs the file %s, which is not UTF-8 text", path), "store the value as UTF-8 text"}
	}
	value, cut := strings.CutSuffix(string(data), "\n")
	if cut {
		value = strings.TrimSuffix(value, "\r")
	}
	return value, nil
}

// inDirectory is path as seen from directory.
func inDirectory(directory, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(directory, path)
}

// readRegular reads a regular file of at most limit bytes: a pipe or a device could block or never end. Its errors
// complete "the file …, which".
func readRegular(path string, limit int64) ([]byte, error) {
	switch info, err := os.Stat(path); {
	case err != nil:
		return nil, fileFault(err)
	case !info.Mode().IsRegular():
		return nil, errors.New("is not a regular file")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fileFault(err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, fileFault(err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("is larger than %d bytes", limit)
	}
	return data, nil
}

// fileFault says what the system said about a file, without its path.
func fileFault(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("does not exist")
	case errors.Is(err, fs.ErrPermission):
		return errors.New("may not be read by this user")
	}
	var wrong *fs.PathError
	if errors.As(err, &wrong) {
		err = wrong.Err
	}
	return fmt.Errorf("cannot be read (%w)", err)
}
