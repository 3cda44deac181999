package config

import (
	"regexp"
	"strings"
)

// shape is what a node of the file is, before anyone asks what it should have been.
type shape int

const (
	nothing  shape = iota
	text           // a string, quoted or plain
	number         // plain digits and the like
	boolean        // plain true or false
	loose          // text of which the setting decides the type: from a WEIR_… variable
	resolved       // loose, with its references resolved already
	list
	section
)

// node is a YAML value with its place: aliases and merges resolved, nothing converted.
type node struct {
	place   place
	shape   shape
	text    string
	items   []*node // nil where a problem took the place of an item
	entries []entry
}

type entry struct {
	key   string
	place place
	value *node // nil where a problem took its place
}

func (n *node) entry(key string) *entry {
	for i := range n.entries {
		if n.entries[i].key == key {
			return &n.entries[i]
		}
	}
	return nil
}

// keyName is what a key may look like to be repeated in a message. Anything else may be a value that slipped into the place
// of a key, as "password:hunter2" does without its space.
var keyName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// describe says what was given, with the value unless it is secret.
func (n *node) describe(secret bool) string {
	switch n.shape {
	case nothing:
		return "nothing"
	case list:
		return "a list"
	case section:
		return "a section"
	case number:
		if secret {
			return "a number"
		}
		return "the number " + strings.Trim(shown(n.text), `"`)
	case boolean:
		if secret {
			return "true or false"
		}
		return n.text
	default:
		if secret {
			return "text"
		}
		return "the text " + shown(n.text)
	}
}
