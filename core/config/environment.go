package config

import (
	"cmp"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const variablePrefix = "WEIR_"

// serviceLink matches what Kubernetes puts into every pod for a Service whose name begins with weir (WEIR_SERVICE_HOST,
// WEIR_PORT_8082_TCP_ADDR …). These are no settings, and a gateway must start beside them.
var serviceLink = regexp.MustCompile(
	`^WEIR_(?:[A-Z0-9_]+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)$`)

// step is one part of the way to a setting: a key, or an index when key is empty.
type step struct {
	key   string
	index int
}

// override is one WEIR_… variable that names a setting.
type override struct {
	variable string
	value    string
	path     string
	steps    []step
}

// environmentOf reads environ, as os.Environ gives it. Of a name given twice the last counts.
func environmentOf(environ []string) map[string]string {
	variables := make(map[string]string, len(environ))
	for _, pair := range environ {
		if name, value, ok := strings.Cut(pair, "="); ok && name != "" {
			variables[name] = value
		}
	}
	return variables
}

// overlay puts the WEIR_… variables over root.
func overlay(root *node, environment map[string]string) Problems {
	var problems Problems
	var overrides []override
	for name, value := range environment {
		rest, ours := strings.CutPrefix(name, variablePrefix)
		if !ours {
			continue
		}
		o := override{variable: name, value: value}
		at := place{file: environmentPlace, variable: name}
		switch found, isSection := findSetting(reflect.TypeFor[Config](), rest, &o); {
		case found:
			overrides = append(overrides, o)
		case serviceLink.MatchString(name):
		case isSection:
			problems = append(problems, at.problem("", "names a section, not a setting",
				"set its parts, as "+firstVariable(name, rest)))
		default:
			problems = append(problems, at.problem("", "is no setting", nearestVariable(name)))
		}
	}
	// Elements are appended one by one, so 2 comes before 10.
	slices.SortFunc(overrides, func(a, b override) int {
		return slices.CompareFunc(a.steps, b.steps, func(a, b step) int {
			return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.index, b.index))
		})
	})
	for _, o := range overrides {
		if problem := o.apply(root); problem != nil {
			problems = append(problems, *problem)
		}
	}
	return problems
}

// findSetting finds the setting that rest (LISTEN_ADDRESS) names within section and adds the way to o. Keys hold underscores
// themselves, so each key that rest begins with is tried.
func findSetting(section reflect.Type, rest string, o *override) (found, isSection bool) {
	path, steps := o.path, o.steps
	for _, s := range settingsOf(section) {
		name := strings.ToUpper(s.key)
		tail, ok := strings.CutPrefix(rest, name)
		if !ok || tail != "" && tail[0] != '_' {
			continue
		}
		tail = strings.TrimPrefix(tail, "_")
		o.path, o.steps = join(path, s.key), append(slices.Clone(steps), step{key: s.key})
		switch s.kind {
		case sectionKind:
			if tail == "" {
				isSection = true
				continue
			}
			if found, inner := findSetting(s.typ, tail, o); found || inner {
				return found, inner
			}
		case sectionsKind:
			index, tail, _ := strings.Cut(tail, "_")
			n, err := strconv.Atoi(index)
			if err != nil || n < 0 || strconv.Itoa(n) != index || tail == "" {
				isSection = isSection || index == "" || err == nil && tail == ""
				continue
			}
			o.path, o.steps = element(o.path, n), append(o.steps, step{index: n})
			if found, inner := findSetting(s.typ.Elem(), tail, o); found || inner {
				return found, inner
			}
		default:
			if tail == "" {
				return true, false
			}
		}
	}
	o.path, o.steps = path, steps
	return false, isSection
}

// apply sets the value in the tree, making what is missing on the way. Where the file has something of another type on the
// way it leaves that alone: it is a problem already.
func (o override) apply(root *node) *Problem {
	at, around := place{file: environmentPlace, variable: o.variable}, place{file: environmentPlace}
	current := &root
	for i, s := range o.steps {
		if s.key == "" {
			items := (*current).items
			if s.index > len(items) {
				listPath := o.path[:strings.LastIndex(o.path, "[")]
				problem := at.problem(o.path, fmt.Sprintf("skips elements: %s has %d", listPath, len(items)),
					fmt.Sprintf("the next one is number %d (they count from 0)", len(items)))
				return &problem
			}
			if s.index == len(items) {
				(*current).items = append(items, &node{place: around, shape: section})
			}
			current = &(*current).items[s.index]
		} else {
			e := (*current).entry(s.key)
			if e == nil {
				(*current).entries = append((*current).entries, entry{key: s.key, place: around, value: &node{place: around}})
				e = (*current).entry(s.key)
			}
			if i == len(o.steps)-1 {
				e.place = at
			}
			current = &e.value
		}
		if i == len(o.steps)-1 {
			*current = &node{place: at, shape: loose, text: o.value}
			return nil
		}
		wanted := section
		if o.steps[i+1].key == "" {
			wanted = list
		}
		if *current == nil {
			return nil
		}
		if (*current).shape == nothing {
			(*current).shape = wanted
		}
		if (*current).shape != wanted {
			return nil
		}
	}
	return nil
}

// variablesOf lists the variables of section's settings, with 0 for every index.
func variablesOf(section reflect.Type, prefix string) []string {
	var names []string
	for _, s := range settingsOf(section) {
		name := prefix + strings.ToUpper(s.key)
		switch s.kind {
		case sectionKind:
			names = append(names, variablesOf(s.typ, name+"_")...)
		case sectionsKind:
			names = append(names, variablesOf(s.typ.Elem(), name+"_0_")...)
		default:
			names = append(names, name)
		}
	}
	return names
}

func firstVariable(name, rest string) string {
	for _, known := range variablesOf(reflect.TypeFor[Config](), variablePrefix) {
		if strings.HasPrefix(known, variablePrefix+rest+"_") {
			return known
		}
	}
	return name + "_…"
}

var indexInName = regexp.MustCompile(`_[0-9]+_`)

// nearestVariable is the cure for a WEIR_… variable that names nothing.
func nearestVariable(name string) string {
	index := indexInName.FindString(name)
	general := name
	if index != "" {
		general = strings.Replace(name, index, "_0_", 1)
	}
	near := nearest(general, variablesOf(reflect.TypeFor[Config](), variablePrefix))
	if near == "" {
		return "unset it; the names are in docs/config.md"
	}
	if index != "" {
		if own := strings.Replace(near, "_0_", index, 1); own != name { // else it is the number that is wrong: 00
			near = own
		}
	}
	return "did you mean " + near + "?"
}
