package config

import (
	"reflect"
	"strings"
)

// nearest is the known name that name was probably meant to be, or "". Case and separators do not count, so that
// bootstrapServers and bootstrap.servers find bootstrap_servers.
func nearest(name string, known []string) string {
	const longest = 100
	if len(name) > longest {
		return ""
	}
	wanted := []rune(plain(name))
	best, bestDistance := "", 2+len(wanted)/6
	for _, candidate := range known {
		d := distance(wanted, []rune(plain(candidate)))
		if len(candidate) >= 4 && strings.HasPrefix(plain(name), plain(candidate)) {
			d = min(d, 1) // "warning" for "warn"
		}
		if d < bestDistance {
			best, bestDistance = candidate, d
		}
	}
	return best
}

var separators = strings.NewReplacer("_", "", "-", "", ".", "")

func plain(name string) string { return separators.Replace(strings.ToLower(name)) }

// distance counts the insertions, deletions, replacements and swaps of neighbours between a and b.
func distance(a, b []rune) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range b {
		rows[0][j+1] = j + 1
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

// suggestKey is the cure for an unknown key of section, and the key of this section that was meant, if it was one.
func suggestKey(section reflect.Type, key string) (cure, meant string) {
	var here []string
	for _, s := range settingsOf(section) {
		here = append(here, s.key)
	}
	if near := nearest(key, here); near != "" {
		return "did you mean " + near + "?", near
	}
	elsewhere := keysNamed(reflect.TypeFor[Config](), "", strings.ToLower(key))
	const most = 4
	if len(elsewhere) > 0 && len(elsewhere) <= most {
		return "did you mean " + alternatives(elsewhere) + "?", ""
	}
	return "the keys here are " + strings.Join(here, ", "), ""
}

// keysNamed lists the paths of all settings and sections whose key is the given one.
func keysNamed(section reflect.Type, path, key string) []string {
	var paths []string
	for _, s := range settingsOf(section) {
		here := join(path, s.key)
		if s.key == key {
			paths = append(paths, here)
		}
		switch s.kind {
		case sectionKind:
			paths = append(paths, keysNamed(s.typ, here, key)...)
		case sectionsKind:
			paths = append(paths, keysNamed(s.typ.Elem(), here+"[]", key)...)
		}
	}
	return paths
}
