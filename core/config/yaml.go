package config

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds of a file, against files that are no configuration and aliases that multiply.
const (
	maxFileBytes = 1 << 20
	maxDepth     = 32
	maxTokens    = 50_000 // the parser takes time that grows with the square of a section's keys
	maxNodes     = 50_000
)

// reader turns the syntax tree of one file into nodes.
type reader struct {
	file     string
	problems Problems
	anchors  map[string]ast.Node
	open     map[string]bool // the anchors that are being expanded
	nodes    int
	tooMany  bool
}

// readYAML reads data as one YAML document whose root is a section. The node is nil when the text is not YAML.
func readYAML(file string, data []byte) (*node, Problems) {
	r := &reader{file: file, anchors: map[string]ast.Node{}, open: map[string]bool{}}
	start := place{file: file, line: 1, column: 1}
	if len(data) > maxFileBytes {
		r.add(start, "", fmt.Sprintf("is larger than %d bytes", maxFileBytes), "give a configuration file")
		return nil, r.problems
	}
	if line, column, ok := invalidText(data); !ok {
		r.add(place{file: file, line: line, column: column}, "", "holds bytes that are not UTF-8 text", "save the file as UTF-8")
		return nil, r.problems
	}
	tokens := lexer.Tokenize(string(data))
	if len(tokens) > maxTokens {
		r.add(r.at(tokens[maxTokens]), "", fmt.Sprintf("has more than %d words and signs", maxTokens), "give a configuration file")
		return nil, r.problems
	}
	if deep := tooDeep(tokens); deep != nil {
		r.add(r.at(deep), "", fmt.Sprintf("is nested deeper than %d levels", maxDepth), "check brackets and indentation")
		return nil, r.problems
	}
	// Duplicate keys are let through so that they are told together with all other problems.
	parsed, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.syntax(err, start)
		return nil, r.problems
	}
	root := &node{place: start, shape: section}
	documents := 0
	for _, document := range parsed.Docs {
		if document.Body == nil {
			continue
		}
		if documents++; documents > 1 {
			r.add(r.begin(document.Body), "", "holds a second document", "remove the --- and what follows it")
			break
		}
		read := r.node(document.Body, "", 0)
		switch {
		case read == nil || read.shape == nothing:
		case read.shape != section:
			r.add(read.place, "", "expected keys and values at the top, got "+read.describe(false), "begin with a section, as listen:")
			return nil, r.problems
		default:
			root.entries = read.entries
		}
	}
	return root, r.problems
}

func invalidText(data []byte) (line, column int, ok bool) {
	line, column = 1, 1
	for len(data) > 0 {
		character, width := utf8.DecodeRune(data)
		switch {
		case character == 0 || character == utf8.RuneError && width == 1:
			return line, column, false
		case character == '\n':
			line, column = line+1, 1
		default:
			column++
		}
		data = data[width:]
	}
	return 0, 0, true
}

// tooDeep finds the token at which nesting passes maxDepth within flow brackets or within one line. The parser recurses, so
// this has to be known before. Deeper nesting by indentation is bounded by the size of the file until node counts it.
func tooDeep(tokens token.Tokens) *token.Token {
	flow, line, onLine := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, onLine = t.Position.Line, 0
		}
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.TagType, token.AliasType:
			if flow == 0 {
				onLine++
			}
		}
		if flow > maxDepth || onLine > maxDepth {
			return t
		}
	}
	return nil
}

func (r *reader) add(at place, path, message, cure string) {
	r.problems = append(r.problems, at.problem(path, message, cure))
}

func (r *reader) at(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{file: r.file, line: 1, column: 1}
	}
	return place{file: r.file, line: t.Position.Line, column: t.Position.Column}
}

// begin is where n begins: for a section in lines, at its first key.
func (r *reader) begin(n ast.Node) place {
	switch n := n.(type) {
	case *ast.MappingNode:
		if len(n.Values) > 0 && !n.IsFlowStyle {
			return r.at(n.Values[0].Key.GetToken())
		}
	case *ast.MappingValueNode:
		return r.at(n.Key.GetToken())
	}
	return r.at(n.GetToken())
}

// syntax reports an error of the parser. Its texts are sentences of its own unless they quote the file, which may be a secret.
func (r *reader) syntax(err error, start place) {
	message, at := "is not YAML", start
	var wrong *yaml.SyntaxError
	if errors.As(err, &wrong) {
		at = r.at(wrong.Token)
		if !strings.ContainsAny(wrong.Message, `"`+"`") {
			message += ": " + strings.ReplaceAll(wrong.Message, "\t", `\t`)
		}
	}
	r.add(at, "", message, "check indentation, colons with a space after them, and quotes")
}

// node converts n. It gives nil when a problem took the place of the value.
func (r *reader) node(n ast.Node, path string, depth int) *node {
	if r.nodes++; r.nodes > maxNodes {
		if !r.tooMany {
			r.tooMany = true
			r.add(r.at(n.GetToken()), path, fmt.Sprintf("makes more than %d values", maxNodes), "use fewer aliases")
		}
		return nil
	}
	if depth > maxDepth {
		r.add(r.at(n.GetToken()), path, fmt.Sprintf("is nested deeper than %d levels", maxDepth), "check brackets and indentation")
		return nil
	}
	made := &node{place: r.begin(n)}
	switch n := n.(type) {
	case *ast.NullNode:
		made.shape = nothing
	case *ast.BoolNode:
		made.shape, made.text = boolean, n.GetToken().Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		made.shape, made.text = number, n.GetToken().Value
	case *ast.StringNode:
		made.shape, made.text = text, n.Value
		if n.Token.Type == token.StringType && isNumber(n.Value) {
			made.shape = number // with more digits than the parser knows a type for
		}
	case *ast.LiteralNode:
		made.shape, made.text = text, n.Value.Value
	case *ast.SequenceNode:
		made.shape = list
		for i, value := range n.Values {
			made.items = append(made.items, r.node(value, element(path, i), depth+1))
		}
	case *ast.MappingNode:
		made.shape = section
		r.entries(made, n.Values, path, depth)
	case *ast.MappingValueNode:
		made.shape = section
		r.entries(made, []*ast.MappingValueNode{n}, path, depth)
	case *ast.AnchorNode:
		if n.Value == nil {
			made.shape = nothing
			break
		}
		r.anchors[n.Name.GetToken().Value] = n.Value
		return r.node(n.Value, path, depth+1)
	case *ast.AliasNode:
		return r.alias(n, path, depth)
	default:
		r.add(made.place, path, "uses YAML that no setting needs (a tag or a directive)", "write the plain value")
		return nil
	}
	return made
}

func (r *reader) alias(n *ast.AliasNode, path string, depth int) *node {
	name := n.Value.GetToken().Value
	target, ok := r.anchors[name]
	switch {
	case !ok:
		r.add(r.at(n.GetToken()), path, "is an alias of nothing", "define the anchor (&name) before its alias (*name)")
	case r.open[name]:
		r.add(r.at(n.GetToken()), path, "is an alias inside of what it stands for", "write the value out")
	default:
		r.open[name] = true
		made := r.node(target, path, depth+1)
		delete(r.open, name)
		return made
	}
	return nil
}

// entries converts the pairs of a mapping. Keys written out win over merged ones (<<), and of duplicates the first stays.
func (r *reader) entries(into *node, pairs []*ast.MappingValueNode, path string, depth int) {
	var merged []entry
	for _, pair := range pairs {
		if r.tooMany {
			return
		}
		if pair.Key.IsMergeKey() {
			merged = append(merged, r.merge(pair.Value, path, depth)...)
			continue
		}
		at := r.at(pair.Key.GetToken())
		key, ok := keyText(pair.Key)
		if !ok {
			r.add(at, path, "has a key that is not a name (not shown: it may be a value)",
				"check the colon: it needs a space after it; names are letters, digits and _")
			continue
		}
		if first := into.entry(key); first != nil {
			r.add(at, join(path, key), fmt.Sprintf("is given twice, first in line %d", first.place.line), "remove one of them")
			continue
		}
		into.entries = append(into.entries, entry{key, at, nil})
		if value := r.node(pair.Value, join(path, key), depth+1); value != nil {
			into.entries[len(into.entries)-1].value = value
		}
	}
	for _, e := range merged {
		if into.entry(e.key) == nil {
			into.entries = append(into.entries, e)
		}
	}
}

func (r *reader) merge(n ast.Node, path string, depth int) []entry {
	value := r.node(n, path, depth+1)
	if value == nil {
		return nil
	}
	switch value.shape {
	case section:
		return value.entries
	case list:
		var all []entry
		for _, item := range value.items {
			if item != nil && item.shape == section {
				all = append(all, item.entries...)
			}
		}
		return all
	}
	r.add(value.place, path, "merges (<<) something that is not a section", "merge an alias of a section, as <<: *name")
	return nil
}

func keyText(key ast.MapKeyNode) (string, bool) {
	name, ok := key.(*ast.StringNode)
	if !ok {
		// A number or true as a key: as text it may still be the key of a map.
		if scalar, is := key.(ast.ScalarNode); is && keyName.MatchString(scalar.GetToken().Value) {
			return scalar.GetToken().Value, true
		}
		return "", false
	}
	return name.Value, keyName.MatchString(name.Value)
}
