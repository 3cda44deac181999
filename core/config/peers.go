package config

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// nodeID is what stands in instance names, which have a length.
var nodeID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

// leastPeerSecret is how many bytes the secret of peers must have: as many as the MACs that it makes.
const leastPeerSecret = 32

// peers checks that a gateway among others can be reached by them and prove itself to them.
func (v *validator) peers(c Config) {
	p := &c.Peers
	if p.NodeID == "" {
		if len(p.Nodes) > 0 || p.Address != "" || p.Secret != "" {
			v.add("peers.node_id", "is missing, so the rest of peers has no effect", "write which of peers.nodes this gateway is, or remove peers")
		}
		return
	}
	urls := v.peerNodes(p)
	own := urls[p.NodeID]
	switch _, listed := p.Nodes[p.NodeID]; {
	case !nodeID.MatchString(p.NodeID):
		v.add("peers.node_id", shown(p.NodeID)+" is not a node id", "write up to 32 letters, digits, - and _")
	case !listed && len(p.Nodes) > 0:
		v.add("peers.node_id", fmt.Sprintf("%q is none of peers.nodes", p.NodeID),
			"write one of "+strings.Join(slices.Sorted(maps.Keys(p.Nodes)), ", ")+", or add it there", "peers.nodes")
	}
	v.peerSecrets(p)
	if p.Address == "" {
		v.add("peers.address", "is required beside node_id", `write the host:port on which peers reach this gateway, as "10.0.0.7:8084"`)
	} else {
		v.listenAddress(p.Address, "peers.address")
	}
	for path, other := range map[string]string{"listen.address": c.Listen.Address, "management.address": c.Management.Address} {
		if collide(other, p.Address) {
			v.add("peers.address", "is the address of "+path+" too", "give it a port of its own", path)
		}
	}
	v.pair(p.TLS.CertificateFile, p.TLS.KeyFile, "peers.tls")
	if p.TLS.ClientCAFile != "" && p.TLS.CertificateFile == "" {
		v.add("peers.tls.client_ca_file", "has no effect without a certificate", "give certificate_file and key_file, or remove it", "peers.tls.certificate_file")
	}
	switch encrypted := p.TLS.CertificateFile != ""; {
	case own == nil:
	case own.Scheme == "https" && !encrypted:
		v.add("peers.tls.certificate_file", "is required, since peers reach this node by https", "give certificate_file and key_file, or write its URL with http",
			join("peers.nodes", p.NodeID), "peers.tls.key_file")
	case own.Scheme == "http" && encrypted:
		v.add(join("peers.nodes", p.NodeID), "is http, but peers.tls has a certificate", "write it with https", "peers.tls.certificate_file")
	}
	https := func(u *url.URL) bool { return u.Scheme == "https" }
	if p.CAFile != "" && !slices.ContainsFunc(slices.Collect(maps.Values(urls)), https) {
		v.add("peers.ca_file", "has no effect, since no node is reached by https", "write the URLs of peers.nodes with https, or remove it", "peers.nodes")
	}
}

// peerNodes checks the nodes and gives the URLs of those that are right.
func (v *validator) peerNodes(p *Peers) map[string]*url.URL {
	if len(p.Nodes) < 2 {
		v.add("peers.nodes", "has fewer than two nodes", "list every gateway with its URL, this one included, or remove peers.node_id")
	}
	urls, first := map[string]*url.URL{}, map[string]string{}
	for _, id := range slices.Sorted(maps.Keys(p.Nodes)) {
		path := join("peers.nodes", id)
		if !nodeID.MatchString(id) {
			v.add(path, "does not have a node id as its name", "write up to 32 letters, digits, - and _")
			continue
		}
		_, fault := advertisedScheme(p.Nodes[id])
		if u, err := url.Parse(p.Nodes[id]); fault == "" && err == nil {
			if u.Path != "" {
				fault = shown(p.Nodes[id]) + " has a path"
			}
			urls[id] = u
		}
		if fault != "" {
			v.add(path, fault, `write it as "http://10.0.0.7:8084"`)
			delete(urls, id)
			continue
		}
		if other, taken := first[urls[id].Host]; taken {
			v.add(path, fmt.Sprintf("is the URL of node %s too", other), "give each node the URL of its own internal listener", join("peers.nodes", other))
			continue
		}
		first[urls[id].Host] = id
	}
	return urls
}

// peerSecrets leaves masked secrets to whoever uses them: what Redacted shows must read back.
func (v *validator) peerSecrets(p *Peers) {
	tooShort := func(s Secret) bool { return len(s) < leastPeerSecret && s != masked }
	const cure = "write at least 32 random bytes, the same on all nodes: openssl rand -base64 32"
	switch {
	case p.Secret == "":
		v.add("peers.secret", "is required beside node_id", cure)
	case tooShort(p.Secret):
		v.add("peers.secret", "is too short", cure)
	}
	if p.PreviousSecret != "" && tooShort(p.PreviousSecret) {
		v.add("peers.previous_secret", "is too short", cure)
	}
}
