package rest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weir-gateway/weir/core/config"
)

// access decides which operations are offered at all, before anyone is asked who they are: a non-empty allowlist admits only
// what it names, the blocklist takes away from that. An entry is an operation's id or a family, id.*.
type access struct{ allow, block []string }

// newAccess checks the lists against the operations that exist, since a misspelt entry of a blocklist would leave open what it
// was meant to close.
func newAccess(api config.API, operations []string) (access, error) {
	a := access{allow: api.Allowlist, block: api.Blocklist}
	for setting, entries := range map[string][]string{"api.allowlist": a.allow, "api.blocklist": a.block} {
		for _, entry := range entries {
			if !slices.ContainsFunc(operations, func(id string) bool { return covers(entry, id) }) {
				return access{}, fmt.Errorf("%s: %q names no operation. Names are those of docs/api/openapi.yaml, or a family such as api.v3.topics.*", setting, entry)
			}
		}
	}
	return a, nil
}

func (a access) offers(id string) bool {
	covered := func(entry string) bool { return covers(entry, id) }
	return (len(a.allow) == 0 || slices.ContainsFunc(a.allow, covered)) && !slices.ContainsFunc(a.block, covered)
}

func covers(entry, id string) bool {
	if family, found := strings.CutSuffix(entry, ".*"); found {
		return strings.HasPrefix(id, family+".")
	}
	return entry == id
}
