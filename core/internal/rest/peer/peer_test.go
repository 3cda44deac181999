package peer_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/rest"
)

// created is an instance with the ways in which a client may name it.
type created struct {
	node, name string
	paths      []string
}

// populate makes count instances in turn on nodes, each second one under a name that the client chose.
func populate(t *testing.T, c *http.Client, nodes []*testNode, count int) []created {
	t.Helper()
	var all []created
	for i := range count {
		name := ""
		if i%2 == 1 {
			name = fmt.Sprintf("chosen-%d~x", i)
		}
		all = append(all, create(t, c, nodes[i%len(nodes)], "g", name))
	}
	return all
}

func create(t *testing.T, c *http.Client, through *testNode, group, name string) created {
	t.Helper()
	status, a := do(t, c, http.MethodPost, through.url+"/consumers/"+group, name)
	if status != http.StatusOK {
		t.Fatalf("creating %q through %s: %d %+v", name, through.id, status, a)
	}
	path, found := strings.CutPrefix(a.BaseURI, through.url)
	if !found {
		t.Errorf("base_uri %s is not on the node that the client asked, %s", a.BaseURI, through.url)
	}
	return created{a.Node, a.Name, []string{path, "/consumers/" + group + "/instances/" + a.InstanceID}}
}

func TestAnyNodeServesAnyInstance(t *testing.T) {
	t.Parallel()
	nodes, c := start(t, 3, nil), client(t)
	instances := populate(t, c, nodes, 60)
	homes := map[string]int{}
	forwardedBefore := nodes[0].forwarded.Load() + nodes[1].forwarded.Load() + nodes[2].forwarded.Load()
	calls := int64(0)
	for _, instance := range instances {
		homes[instance.node]++
		for _, path := range instance.paths {
			for _, through := range nodes {
				status, a := do(t, c, http.MethodGet, through.url+path+"?a=%2F&;b", "", "X-Mine", "1")
				want := answer{Node: instance.node, Name: instance.name, Principal: "anonymous", Query: "a=%2F&;b", BaseURI: through.url, Headers: "X-Mine=1 Accept-Encoding=gzip"}
				want.Remote = a.Remote
				if status != http.StatusOK || a != want || !strings.HasPrefix(a.Remote, "127.0.0.1:") {
					t.Fatalf("%s through %s: %d %+v, want %+v", path, through.id, status, a, want)
				}
				if through.id != instance.node {
					calls++
				}
			}
		}
	}
	if hops := nodes[0].forwarded.Load() + nodes[1].forwarded.Load() + nodes[2].forwarded.Load() - forwardedBefore; hops != calls {
		t.Errorf("%d internal hops for %d calls to another node", hops, calls)
	}
	for _, node := range nodes {
		if homes[node.id] < 5 {
			t.Errorf("node %s holds %d of 60 instances", node.id, homes[node.id])
		}
	}
	for _, instance := range instances {
		for _, through := range nodes {
			if !strings.HasPrefix(instance.name, "chosen") {
				continue
			}
			if status, a := do(t, c, http.MethodPost, through.url+"/consumers/g", instance.name); status != http.StatusConflict || a.Code != 40902 {
				t.Errorf("%s again, through %s: %d %+v", instance.name, through.id, status, a)
			}
		}
	}
	if !strings.Contains(nodes[0].log.String(), `"forwarded_to":"n1"`) || !strings.Contains(nodes[1].log.String(), `"forwarded_from":"n0"`) {
		t.Error("the access log does not say what was passed on")
	}
}

func TestANodeDiesAndComesBack(t *testing.T) {
	t.Parallel()
	nodes, c := start(t, 3, nil), client(t)
	instances := populate(t, c, nodes, 60)
	dead, alive := nodes[2], nodes[:2]
	dead.kill()
	var lost []created
	for i, instance := range instances {
		for _, path := range instance.paths {
			status, a := do(t, c, http.MethodGet, alive[i%2].url+path, "")
			switch {
			case instance.node != dead.id && status != http.StatusOK:
				t.Errorf("%s on %s: %d %+v", path, instance.node, status, a)
			case instance.node == dead.id && (status != http.StatusNotFound || a.Code != 40403):
				t.Errorf("%s on the dead node: %d %+v", path, status, a)
			}
		}
		if instance.node == dead.id && strings.HasPrefix(instance.name, "chosen") {
			lost = append(lost, instance)
		}
	}
	if len(lost) < 3 {
		t.Fatalf("only %d chosen names were on the dead node", len(lost))
	}
	for i := range lost { // the same names, at once
		made := create(t, c, alive[i%2], "g", lost[i].name)
		lost[i].node, lost[i].paths = made.node, append(lost[i].paths[1:], made.paths...) // base_uri of old is gone with its node
		if status, _ := do(t, c, http.MethodPost, alive[(i+1)%2].url+"/consumers/g", lost[i].name); status != http.StatusConflict {
			t.Errorf("%s again: %d", lost[i].name, status)
		}
	}
	dead.restart()
	found := func(through *testNode, moment string) {
		t.Helper()
		for _, instance := range lost {
			for _, path := range instance.paths {
				if status, a := do(t, c, http.MethodGet, through.url+path, ""); status != http.StatusOK || a.Node != instance.node {
					t.Errorf("%s, through %s: %s on %s: %d %+v", moment, through.id, path, instance.node, status, a)
				}
			}
			if status, _ := do(t, c, http.MethodPost, through.url+"/consumers/g", instance.name); status != http.StatusConflict {
				t.Errorf("%s, through %s: %s again: %d", moment, through.id, instance.name, status)
			}
		}
	}
	found(dead, "at once")
	for _, node := range alive { // the node that came back has asked them, so they know
		if !node.sees(dead) {
			t.Errorf("%s does not know that %s is back", node.id, dead.id)
		}
		found(node, "after it came back")
	}
	first := lost[0] // its exception ends with it: it is made where it belongs again
	if status, _ := do(t, c, http.MethodDelete, dead.url+first.paths[0], ""); status != http.StatusOK {
		t.Errorf("deleting %s: %d", first.name, status)
	}
	if made := create(t, c, alive[0], "g", first.name); made.node != dead.id {
		t.Errorf("%s was made on %s, and belongs on %s", first.name, made.node, dead.id)
	}
}

// A client that makes its instance again under the generated name that it was given finds it under that name.
func TestAnInstanceIsMadeAgainUnderItsHintedName(t *testing.T) {
	t.Parallel()
	nodes, c := start(t, 3, nil), client(t)
	for i := range 12 {
		old := create(t, c, nodes[i%3], "g", "")
		id := old.paths[1][strings.LastIndex(old.paths[1], "/")+1:]
		if status, _ := do(t, c, http.MethodDelete, nodes[0].url+old.paths[0], ""); status != http.StatusOK {
			t.Fatalf("deleting: %d", status)
		}
		again := create(t, c, nodes[(i+1)%3], "g", id)
		for _, through := range nodes {
			for _, path := range append(again.paths, old.paths...) {
				if status, a := do(t, c, http.MethodGet, through.url+path, ""); status != http.StatusOK || a.Node != again.node {
					t.Errorf("%s through %s: %d %+v, want node %s", path, through.id, status, a, again.node)
				}
			}
		}
	}
}

// A node that is shutting down takes nothing new and serves what it has.
func TestALeavingNodeTakesNothingNew(t *testing.T) {
	t.Parallel()
	nodes, c := start(t, 3, nil), client(t)
	instances := populate(t, c, nodes, 30)
	marker := ""
	for i := 0; marker == ""; i++ { // a name that belongs on the node
		made := create(t, c, nodes[0], "marker", fmt.Sprint("marker-", i))
		if made.node == nodes[2].id {
			marker = made.name
		}
		do(t, c, http.MethodDelete, nodes[0].url+made.paths[0], "")
	}
	nodes[2].peers.Leave()
	for _, through := range nodes[:2] {
		eventually(t, func() bool { // they ask every second
			made := create(t, c, through, "marker", marker)
			do(t, c, http.MethodDelete, through.url+made.paths[0], "")
			return made.node != nodes[2].id
		})
	}
	for i := range 30 {
		made := create(t, c, nodes[i%2], "new", fmt.Sprint("new-", i))
		if made.node == nodes[2].id {
			t.Errorf("%s was made on the leaving node", made.name)
		}
		for _, through := range nodes {
			if status, _ := do(t, c, http.MethodGet, through.url+made.paths[1], ""); status != http.StatusOK {
				t.Errorf("%s through %s: %d", made.name, through.id, status)
			}
		}
	}
	for i, instance := range instances {
		if status, _ := do(t, c, http.MethodGet, nodes[i%2].url+instance.paths[1], ""); status != http.StatusOK {
			t.Errorf("%s on %s: %d", instance.name, instance.node, status)
		}
	}
}

// The secret is exchanged on one node after the other, in the steps that the documentation gives.
func TestTheSecretIsExchangedNodeByNode(t *testing.T) {
	t.Parallel()
	const before, after = config.Secret(secret), config.Secret("another secret, which is as long as it must be")
	steps := [][2]config.Secret{{before, ""}, {before, after}, {after, before}, {after, ""}}
	for i := range steps[1:] {
		nodes := start(t, 2, func(node int, settings *config.Config) {
			settings.Peers.Secret, settings.Peers.PreviousSecret = steps[i+node][0], steps[i+node][1]
		})
		c := client(t)
		for _, instance := range populate(t, c, nodes, 8) {
			for _, through := range nodes {
				if status, a := do(t, c, http.MethodGet, through.url+instance.paths[0], ""); status != http.StatusOK {
					t.Errorf("step %d: %s through %s: %d %+v", i, instance.paths[0], through.id, status, a)
				}
			}
		}
		for _, node := range nodes {
			node.kill()
		}
	}
}

func TestAloneThereAreNoHints(t *testing.T) {
	t.Parallel()
	settings := config.Default()
	request := rest.Request{Settings: &settings}
	if got := request.Hinted("g", "a"); got != "a" || request.Node() != "" {
		t.Errorf("got %q on node %q", got, request.Node())
	}
}
