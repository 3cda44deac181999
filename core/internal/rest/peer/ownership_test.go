package peer

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-gateway/weir/core/internal/kafka/consumer"
)

// newMembership is the view of one of nodes, all of them up; told are the changes that it announces.
func newMembership(self string, nodes ...string) (m *membership, told *[]change) {
	m = &membership{self: self, nodes: nodes, peers: map[string]*node{}, lifetime: time.Minute, own: map[digest]time.Time{}}
	for _, id := range nodes {
		if id != self {
			m.peers[id] = newNode(id, &url.URL{Scheme: "http", Host: id}, &http.Transport{}, slog.New(slog.DiscardHandler))
			m.peers[id].answered(pong{Node: id, Incarnation: "1"})
		}
	}
	told = &[]change{}
	m.announce = func(_ context.Context, made change) { *told = append(*told, made) }
	return m, told
}

func key(name string) consumer.Key { return consumer.Key{Owner: "o", Group: "g", Name: name} }

func TestAllNodesAgreeOnWhereANameBelongs(t *testing.T) {
	t.Parallel()
	a, _ := newMembership("a", "a", "b", "c")
	b, _ := newMembership("b", "a", "b", "c")
	without, _ := newMembership("a", "a", "b")
	const names = 9000
	counts := map[string]int{}
	for i := range names {
		k := key(strconv.Itoa(i))
		owner := a.Owner(k)
		counts[owner]++
		if got := b.Owner(k); got != owner {
			t.Fatalf("%v is on %s for a and on %s for b", k, owner, got)
		}
		order := a.order(digestOf(k))
		if sorted := slices.Sorted(slices.Values(order)); !slices.Equal(sorted, []string{"a", "b", "c"}) || order[0] != owner {
			t.Fatalf("%v: order %v, owner %s", k, order, owner)
		}
		if got := without.Owner(k); owner != "c" && got != owner {
			t.Fatalf("%v moved from %s to %s because c went", k, owner, got)
		}
		if nodes, taken := a.Candidates(k); taken || !slices.Equal(nodes, order) {
			t.Fatalf("%v: candidates %v (taken %v), order %v", k, nodes, taken, order)
		}
	}
	for node, count := range counts {
		if count < names/3*9/10 || count > names/3*11/10 {
			t.Errorf("%s has %d of %d names", node, count, names)
		}
	}
	if digestOf(consumer.Key{Owner: "ab", Group: "c", Name: "d"}) == digestOf(consumer.Key{Owner: "a", Group: "bc", Name: "d"}) {
		t.Error("two instances have one digest")
	}
}

// named gives a name whose order begins with the given nodes.
func named(m *membership, begin ...string) consumer.Key {
	for i := 0; ; i++ {
		if k := key(strconv.Itoa(i)); slices.Equal(m.order(digestOf(k))[:len(begin)], begin) {
			return k
		}
	}
}

func TestClaimsOfThisNode(t *testing.T) {
	t.Parallel()
	m, told := newMembership("a", "a", "b", "c")
	mine, others := named(m, "a"), named(m, "b", "a")
	m.Claim(t.Context(), mine, false)
	m.Claim(t.Context(), others, false)
	m.Claim(t.Context(), others, false) // again: they know
	m.Claim(t.Context(), mine, true)
	want := []change{{1, digestOf(others), true}, {2, digestOf(mine), true}}
	if diff := cmp.Diff(want, *told, cmp.AllowUnexported(change{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if nodes, taken := m.Candidates(others); m.Owner(others) != "a" || !taken || nodes[0] != "a" {
		t.Errorf("a claimed instance is on %s, candidates %v, taken %v", m.Owner(others), nodes, taken)
	}
	m.Release(t.Context(), mine)
	m.Release(t.Context(), mine)
	m.expire(time.Now().Add(m.lifetime - time.Second))
	if version, claims := m.snapshot(); version != 3 || !slices.Equal(claims, []digest{digestOf(others)}) {
		t.Errorf("version %d, claims %v", version, claims)
	}
	m.expire(time.Now().Add(m.lifetime + time.Second))
	if version, claims := m.snapshot(); version != 4 || len(claims) != 0 || m.Owner(others) != "b" {
		t.Errorf("after its lifetime: version %d, claims %v", version, claims)
	}
}

func TestClaimsOfOthers(t *testing.T) {
	t.Parallel()
	m, _ := newMembership("a", "a", "b", "c")
	k := named(m, "a", "b", "c")
	d, c := digestOf(k), m.peers["c"]
	for _, step := range []struct {
		incarnation string
		change      change
		followed    bool
		owner       string
	}{
		{"1", change{1, d, true}, true, "c"},
		{"1", change{1, d, false}, true, "c"},  // heard before
		{"1", change{3, d, false}, false, "c"}, // one is missing
		{"2", change{2, d, false}, false, "c"}, // another life
		{"1", change{2, d, false}, true, "a"},
		{"1", change{3, d, true}, true, "c"},
	} {
		if followed := c.apply(step.incarnation, step.change); followed != step.followed || m.Owner(k) != step.owner {
			t.Errorf("%+v: followed %v, the instance is on %s", step, followed, m.Owner(k))
		}
	}
	c.replace("1", 2, nil) // was on its way for long
	if got := m.Owner(k); got != "c" {
		t.Errorf("an old list took back a new claim: it is on %s", got)
	}
	c.down(errGone)
	if got := m.Owner(k); got != "a" {
		t.Errorf("it is on %s although c is down", got)
	}
	c.answered(pong{Node: "c", Incarnation: "1", Version: 3})
	if got := m.Owner(k); got != "c" {
		t.Errorf("it is on %s although c is back", got)
	}
	c.answered(pong{Node: "c", Incarnation: "2"})
	if got := m.Owner(k); got != "a" {
		t.Errorf("it is on %s although c has started anew", got)
	}
	c.replace("2", 1, []digest{d})
	if got := m.Owner(k); got != "c" || !c.knows("2", 1) {
		t.Errorf("it is on %s although c claims it", got)
	}
	c.answered(pong{Node: "c", Incarnation: "2", Version: 1, Leaving: true})
	if nodes, taken := m.Candidates(named(m, "c", "b")); taken || !slices.Equal(nodes, []string{"b", "a"}) {
		t.Errorf("candidates %v, taken %v, while c is leaving", nodes, taken)
	}
}

// A node that is slow to answer once or twice has not gone; what is under way to it is not given up.
func TestANodeThatMissesPings(t *testing.T) {
	t.Parallel()
	m, _ := newMembership("a", "a", "b")
	b := m.peers["b"]
	life := b.life()
	for range missesUntilDown - 1 {
		b.missed(errGone)
	}
	if !b.isUp() || life.Err() != nil {
		t.Fatal("it was given up early")
	}
	b.answered(pong{Node: "b", Incarnation: "1"})
	for range missesUntilDown {
		b.missed(errGone)
	}
	if b.isUp() || life.Err() == nil {
		t.Error("it was not given up")
	}
}
