package config

import (
	_ "embed" // for the source that comments are read from
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

//go:generate go run ./internal/generate ../../docs

// source is the file with the structs: its comments are the descriptions of the settings.
//
//go:embed config.go
var source string

// comments are the doc comments of config.go, by "Type" and "Type.Field".
type comments map[string]string

// readComments panics when the source cannot be parsed, which cannot be: it has been compiled.
func readComments() comments {
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		panic(fmt.Sprintf("config: %s", err))
	}
	read := comments{}
	for _, declaration := range file.Decls {
		general, ok := declaration.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range general.Specs {
			declared, ok := spec.(*ast.TypeSpec)
			if !ok {
				continue
			}
			structure, ok := declared.Type.(*ast.StructType)
			if !ok {
				continue
			}
			read[declared.Name.Name] = oneLine(general.Doc)
			for _, field := range structure.Fields.List {
				for _, name := range field.Names {
					read[declared.Name.Name+"."+name.Name] = oneLine(field.Doc)
				}
			}
		}
	}
	return read
}

func oneLine(doc *ast.CommentGroup) string { return strings.Join(strings.Fields(doc.Text()), " ") }

// setting describes s, a field of owner: "Address is the host:port to listen on." becomes "The host:port to listen on."
func (c comments) setting(owner reflect.Type, s setting) string {
	described := asDescription(c[owner.Name()+"."+s.goName], s.goName, s.key)
	for _, sibling := range settingsOf(owner) {
		if humps(sibling.goName) > 1 {
			whole := regexp.MustCompile(`\b` + regexp.QuoteMeta(sibling.goName) + `\b`)
			described = whole.ReplaceAllString(described, "`"+sibling.key+"`")
		}
	}
	return described
}

// section describes a section: what its field says, and what its type says beyond its first sentence.
func (c comments) section(owner reflect.Type, s setting) string {
	described := c.setting(owner, s)
	of := s.typ
	if of.Kind() == reflect.Slice {
		of = of.Elem()
	}
	if _, more, ok := strings.Cut(c[of.Name()], ". "); ok {
		described += " " + more
	}
	return described
}

// asDescription takes the name that a Go comment begins with off a sentence, or puts the key in its place.
func asDescription(comment, goName, key string) string {
	rest, ok := strings.CutPrefix(comment, goName)
	if !ok {
		return comment
	}
	for _, verb := range []string{" is ", " are ", ": "} {
		if said, ok := strings.CutPrefix(rest, verb); ok {
			return capitalised(said)
		}
	}
	word, _, _ := strings.Cut(strings.TrimPrefix(rest, " "), " ")
	switch {
	case strings.HasPrefix(rest, " ") && strings.HasSuffix(word, "s"): // "HTTP2 offers …"
		return capitalised(strings.TrimPrefix(rest, " "))
	case humps(goName) == 1: // "Compression of batches …"
		return comment
	}
	return "`" + key + "`" + rest
}

func capitalised(text string) string {
	first, width := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(first)) + text[width:]
}

// humps counts the words of a Go name.
func humps(name string) int {
	count, wasLower := 1, false
	for _, letter := range name {
		if unicode.IsUpper(letter) && wasLower {
			count++
		}
		wasLower = unicode.IsLower(letter)
	}
	return count
}
