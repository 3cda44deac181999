package peer_test

import (
	"strings"
	"testing"

	"github.com/weir-gateway/weir/core/internal/rest/peer"
)

func TestHints(t *testing.T) {
	t.Parallel()
	a, b := peer.NewHints("a", secret), peer.NewHints("node-b", "another secret", secret)
	rotated := peer.NewHints("c", "a third secret", "another secret")
	for _, name := range []string{"x", "x~y", "~", "rest-consumer-1", strings.Repeat("n", 255), "ü\x00"} {
		for _, hints := range []*peer.Hints{a, b} {
			hinted := hints.Add("g", name)
			got, node, ok := b.Split("g", hinted)
			if want := map[*peer.Hints]string{a: "a", b: "node-b"}[hints]; got != name || node != want || !ok {
				t.Errorf("%q: got %q on %q, %v", hinted, got, node, ok)
			}
			if got, node, ok := a.Split("h", hinted); ok || got != hinted || node != "" {
				t.Errorf("%q in another group: got %q on %q, %v", hinted, got, node, ok)
			}
			if got, _, ok := a.Split("g", "x"+hinted); ok || got != "x"+hinted {
				t.Errorf("the hint of %q on another name is taken", hinted)
			}
		}
		if got, _, ok := a.Split("g", b.Add("g", name)); ok {
			t.Errorf("a hint under a secret that a does not have is taken: %q", got)
		}
		if _, node, ok := rotated.Split("g", b.Add("g", name)); !ok || node != "node-b" {
			t.Errorf("a hint under the previous secret is not taken")
		}
	}
	hinted := a.Add("g", "x")
	for i := len("x"); i < len(hinted); i++ {
		for _, c := range "AZaz09-_~=.\n" {
			forged := hinted[:i] + string(c) + hinted[i+1:]
			if got, node, ok := a.Split("g", forged); forged != hinted && (ok || got != forged || node != "") {
				t.Errorf("%q is taken for %q on %q", forged, got, node)
			}
		}
		if _, _, ok := a.Split("g", hinted[:i]); ok {
			t.Errorf("%q is taken", hinted[:i])
		}
	}
	for _, plain := range []string{"", "~", "x~", "~x", "x", "x~~", hinted + "=", hinted + "A", "~" + hinted[2:]} {
		if got, _, ok := a.Split("g", plain); ok || got != plain {
			t.Errorf("%q: got %q, %v", plain, got, ok)
		}
	}
}

func FuzzSplit(f *testing.F) {
	hints := peer.NewHints("node", secret)
	f.Add("g", "x", hints.Add("g", "x"))
	f.Add("g", "x~", "x~bm9kZQ")
	f.Fuzz(func(t *testing.T, group, name, segment string) {
		if got, node, ok := hints.Split(group, segment); ok && hints.Add(group, got) != segment || ok && node != "node" || !ok && got != segment {
			t.Errorf("%q: got %q on %q, %v", segment, got, node, ok)
		}
		if name == "" {
			return // no instance is called so
		}
		if got, node, ok := hints.Split(group, hints.Add(group, name)); got != name || node != "node" || !ok {
			t.Errorf("%q: got %q on %q, %v", name, got, node, ok)
		}
	})
}
