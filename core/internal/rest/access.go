package rest

import (
	"slices"
	"strings"
)

// access decides which operations are offered at all, before anyone is asked who they are: a non-empty allowlist admits only
// what it names, the blocklist takes away from that. An entry is an operation's id or a family, id.*.
type access struct{ allow, block []string }

func (a access) offers(id string) bool {
	covered := func(entry string) bool { return covers(entry, id) }
	return (len(a.allow) == 0 || slices.ContainsFunc(a.allow, covered)) && !slices.ContainsFunc(a.block, covered)
}

// Offers reports whether an operation is offered at all, for a route that does another operation's work too.
func (r *Request) Offers(id string) bool {
	return access{allow: r.Settings.API.Allowlist, block: r.Settings.API.Blocklist}.offers(id)
}

func covers(entry, id string) bool {
	if family, found := strings.CutSuffix(entry, ".*"); found {
		return strings.HasPrefix(id, family+".")
	}
	return entry == id
}

// Covers reports whether an entry of an allow or block list names one of the operations.
func Covers(entry string, operations []string) bool {
	return slices.ContainsFunc(operations, func(id string) bool { return covers(entry, id) })
}
