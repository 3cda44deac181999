package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// A node is a YAML value that keeps what an ordinary decoder drops and a case needs: the order of keys and the spelling of
// numbers (both reach the wire), and the line (errors name it).
type node struct {
	line   int
	scalar string   // JSON text, for anything that is not a mapping or a sequence
	keys   []string // a mapping's keys, in order
	values []*node  // a mapping's or a sequence's values
	isMap  bool
	isList bool
}

// jsonNumber is the grammar of RFC 8259: only such a spelling may reach the wire unchanged.
var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

// parseYAML reads one YAML document. Anchors, aliases and merge keys are resolved. Errors carry the line.
func parseYAML(text []byte) (*node, error) {
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, fmt.Errorf("not YAML: %w", err)
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		return nil, fmt.Errorf("line 1: want exactly one YAML document, got %d", len(file.Docs))
	}
	b := &nodeBuilder{anchors: map[string]*node{}}
	return b.build(file.Docs[0].Body)
}

type nodeBuilder struct {
	anchors map[string]*node
}

func (b *nodeBuilder) build(n ast.Node) (*node, error) {
	line := n.GetToken().Position.Line
	switch n := n.(type) {
	case *ast.NullNode:
		return &node{line: line, scalar: "null"}, nil
	case *ast.BoolNode:
		return &node{line: line, scalar: strconv.FormatBool(n.Value)}, nil
	case *ast.IntegerNode, *ast.FloatNode:
		text := n.GetToken().Value
		if !jsonNumber.MatchString(text) {
			return nil, fmt.Errorf("line %d: %s is not spelled as JSON spells numbers; quote it if it is text", line, text)
		}
		return &node{line: line, scalar: text}, nil
	case *ast.StringNode:
		if n.Token.Type == token.StringType && jsonNumber.MatchString(n.Value) {
			return &node{line: line, scalar: n.Value}, nil // plain, but beyond what the parser holds as a number
		}
		return &node{line: line, scalar: quoteJSON(n.Value)}, nil
	case *ast.LiteralNode:
		return &node{line: line, scalar: quoteJSON(n.Value.Value)}, nil
	case *ast.SequenceNode:
		list := &node{line: line, isList: true}
		for _, value := range n.Values {
			child, err := b.build(value)
			if err != nil {
				return nil, err
			}
			list.values = append(list.values, child)
		}
		return list, nil
	case *ast.MappingNode:
		return b.mapping(line, n.Values)
	case *ast.MappingValueNode:
		return b.mapping(line, []*ast.MappingValueNode{n})
	case *ast.AnchorNode:
		child, err := b.build(n.Value)
		if err == nil {
			b.anchors[n.Name.GetToken().Value] = child
		}
		return child, err
	case *ast.AliasNode:
		name := n.Value.GetToken().Value
		child, ok := b.anchors[name]
		if !ok {
			return nil, fmt.Errorf("line %d: alias *%s has no anchor before it", line, name)
		}
		return child, nil
	default:
		return nil, fmt.Errorf("line %d: %s is not allowed in a case file", line, n.Type())
	}
}

func (b *nodeBuilder) mapping(line int, values []*ast.MappingValueNode) (*node, error) {
	m := &node{line: line, isMap: true}
	var merged []*node
	for _, value := range values {
		child, err := b.build(value.Value)
		if err != nil {
			return nil, err
		}
		if _, ok := value.Key.(*ast.MergeKeyNode); ok {
			if !child.isMap {
				return nil, fmt.Errorf("line %d: << wants a mapping", child.line)
			}
			merged = append(merged, child)
			continue
		}
		key := value.Key.GetToken().Value
		if slices.Contains(m.keys, key) {
			return nil, fmt.Errorf("line %d: %q is given twice", value.Key.GetToken().Position.Line, key)
		}
		m.keys, m.values = append(m.keys, key), append(m.values, child)
	}
	for _, other := range merged {
		for i, key := range other.keys {
			if !slices.Contains(m.keys, key) {
				m.keys, m.values = append(m.keys, key), append(m.values, other.values[i])
			}
		}
	}
	return m, nil
}

// field gives a mapping's value, or nil.
func (n *node) field(key string) *node {
	if i := slices.Index(n.keys, key); i >= 0 {
		return n.values[i]
	}
	return nil
}

// lineAt gives the line of the value at a JSON pointer's tokens, or of the nearest value around it.
func (n *node) lineAt(path []string) int {
	for _, step := range path {
		var next *node
		if n.isMap {
			next = n.field(step)
		} else if i, err := strconv.Atoi(step); err == nil && n.isList && i < len(n.values) {
			next = n.values[i]
		}
		if next == nil {
			break
		}
		n = next
	}
	return n.line
}

// json writes the value as JSON text, keys in the file's order and numbers as the file spells them.
func (n *node) json() []byte {
	var b bytes.Buffer
	n.writeJSON(&b)
	return b.Bytes()
}

func (n *node) writeJSON(b *bytes.Buffer) {
	switch {
	case n.isMap:
		b.WriteByte('{')
		for i, key := range n.keys {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(quoteJSON(key))
			b.WriteByte(':')
			n.values[i].writeJSON(b)
		}
		b.WriteByte('}')
	case n.isList:
		b.WriteByte('[')
		for i, value := range n.values {
			if i > 0 {
				b.WriteByte(',')
			}
			value.writeJSON(b)
		}
		b.WriteByte(']')
	default:
		b.WriteString(n.scalar)
	}
}

// quoteJSON writes text as a JSON string, escaping nothing that need not be: what a case says is what reaches the wire.
func quoteJSON(text string) string {
	quoted, err := marshal(text)
	if err != nil {
		panic("conformance: a string that cannot be JSON: " + err.Error()) // a string has no error to give
	}
	return string(quoted)
}

// marshal is json.Marshal without its escapes for HTML.
func marshal(value any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
