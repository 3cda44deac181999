package config

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	clusterName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	// clusterID is what can stand in a path; "-" is the wildcard of v3 there.
	clusterID = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,128}$`)
	clientID  = regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`)
)

func (v *validator) clusters(clusters []Cluster) {
	if len(clusters) == 0 {
		v.add("clusters", "has no cluster", "give one with a name and bootstrap_servers, or set WEIR_CLUSTERS_0_NAME and "+
			"WEIR_CLUSTERS_0_BOOTSTRAP_SERVERS")
	}
	names, ids := map[string]int{}, map[string]int{}
	for i, c := range clusters {
		path := element("clusters", i)
		switch first, taken := names[c.Name]; {
		case c.Name == "":
			v.add(path+".name", "is required", "give the cluster a name, as \"main\"")
		case !clusterName.MatchString(c.Name):
			v.add(path+".name", shown(c.Name)+" is not a name", "write up to 64 letters, digits, - and _")
		case taken:
			v.add(path+".name", fmt.Sprintf("%q is the name of clusters[%d] too", c.Name, first), "give each cluster a name of its own",
				element("clusters", first)+".name")
		default:
			names[c.Name] = i
		}
		switch first, taken := ids[c.ID]; {
		case c.ID == "":
		case !clusterID.MatchString(c.ID) || c.ID == "-" || c.ID == "." || c.ID == "..":
			v.add(path+".id", shown(c.ID)+" is not a cluster id", "write the id that the brokers report, or leave it out")
		case taken:
			v.add(path+".id", fmt.Sprintf("%q is the id of clusters[%d] too", c.ID, first), "pin each id once",
				element("clusters", first)+".id")
		default:
			ids[c.ID] = i
		}
		v.brokers(c, path)
		v.clientTLS(c.TLS, path+".tls")
		v.sasl(c, path+".sasl")
	}
}

func (v *validator) brokers(c Cluster, path string) {
	if len(c.BootstrapServers) == 0 {
		v.add(path+".bootstrap_servers", "is required", `give at least one broker, as ["broker1:9092"]`)
	}
	for i, server := range c.BootstrapServers {
		host, port, err := net.SplitHostPort(server)
		if err != nil || !isHost(host) || !isPort(port, 1) {
			v.add(element(path+".bootstrap_servers", i), shown(server)+" is not host:port",
				`write it as "broker1:9092", without a scheme`)
		}
	}
	if !clientID.MatchString(c.ClientID) {
		v.add(path+".client_id", shown(c.ClientID)+" is not a client id", "write letters, digits, dots, - and _")
	}
	if fault := versionFault(c.KafkaVersion); fault != nil {
		v.add(path+".kafka_version", fault.message, fault.cure)
	}
}

// versionFault says what is wrong with a Kafka version. The least is the first with zstd; idempotent producers came before.
func versionFault(version string) *complaint {
	const form = `write it as "4.0.0"`
	parts := strings.Split(version, ".")
	if len(parts) < 2 || len(parts) > 3 {
		return &complaint{shown(version) + " is not a Kafka version", form}
	}
	var numbers [3]int
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 15)
		if err != nil {
			return &complaint{shown(version) + " is not a Kafka version", form}
		}
		numbers[i] = int(n)
	}
	least := [3]int{2, 1, 0}
	if slices.Compare(numbers[:], least[:]) < 0 {
		return &complaint{version + " is too old", "the least is 2.1.0"}
	}
	return nil
}

func (v *validator) clientTLS(tls ClientTLS, path string) {
	v.pair(tls.CertificateFile, tls.KeyFile, path)
	if tls.Enabled {
		return
	}
	for key, given := range map[string]bool{
		"ca_file":              tls.CAFile != "",
		"certificate_file":     tls.CertificateFile != "",
		"key_file":             tls.KeyFile != "",
		"server_name":          tls.ServerName != "",
		"insecure_skip_verify": tls.InsecureSkipVerify,
	} {
		if given {
			v.add(join(path, key), "has no effect: TLS is off", "add enabled: true to tls, or remove it", path+".enabled")
		}
	}
}

func (v *validator) sasl(c Cluster, path string) {
	s := c.SASL
	mechanism := path + ".mechanism"
	required := func(key, value string) {
		if value == "" {
			v.add(join(path, key), "is required for "+s.Mechanism, "set it", mechanism)
		}
	}
	switch s.Mechanism {
	case "":
		for key, given := range map[string]bool{
			"username": s.Username != "",
			"password": s.Password != "",
			"oauth":    s.OAuth.TokenURL != "" || s.OAuth.ClientID != "" || s.OAuth.ClientSecret != "",
		} {
			if given {
				v.add(join(path, key), "has no effect: there is no mechanism", "give a mechanism beside it, or remove it", mechanism)
			}
		}
		return
	case "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512":
		required("username", s.Username)
		required("password", s.Password.Reveal())
	case "OAUTHBEARER":
		required("oauth.token_url", s.OAuth.TokenURL)
		required("oauth.client_id", s.OAuth.ClientID)
		required("oauth.client_secret", s.OAuth.ClientSecret.Reveal())
		v.oauth(s.OAuth, path+".oauth")
	default: // no choice, which is told already
		return
	}
	if !c.TLS.Enabled && !s.AllowPlaintext {
		v.add(mechanism, "would send credentials over a connection without TLS",
			"add enabled: true to the cluster's tls, or allow_plaintext: true to sasl on a network that is safe",
			strings.TrimSuffix(path, ".sasl")+".tls.enabled", path+".allow_plaintext")
	}
}

var extensionName = regexp.MustCompile(`^[A-Za-z]+$`)

func (v *validator) oauth(o OAuth, path string) {
	if o.TokenURL != "" {
		if fault := tokenURLFault(o.TokenURL); fault != "" {
			v.add(path+".token_url", fault, "write an https URL; http is for 127.0.0.1, [::1] and localhost")
		}
	}
	for i, scope := range o.Scopes {
		if scope == "" || strings.ContainsAny(scope, " \"\\\t\r\n") {
			v.add(element(path+".scopes", i), shown(scope)+" is not a scope", "write one scope for each element, without spaces")
		}
	}
	// RFC 7628 §3.1: names are letters, "auth" is the token's own, and values are visible text, spaces and line breaks.
	for _, name := range slices.SortedFunc(maps.Keys(o.Extensions), cmp.Compare[string]) {
		at := path + ".extensions." + name
		if !extensionName.MatchString(name) || name == "auth" {
			v.add(at, "is not the name of an extension", "write letters only, and not auth")
		}
		if strings.ContainsFunc(o.Extensions[name], func(r rune) bool { return r < ' ' && !strings.ContainsRune("\t\r\n", r) || r > '~' }) {
			v.add(at, "has a value with control characters or letters beyond ASCII", "write visible ASCII text")
		}
	}
}

func tokenURLFault(text string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "":
		return shown(text) + " is not an absolute URL"
	case u.User != nil:
		return "has a user in its URL (not shown: it may hold a password)"
	case u.Fragment != "":
		return shown(text) + " has a fragment"
	case u.Scheme == "https":
		return ""
	case u.Scheme != "http":
		return shown(text) + " is neither http nor https"
	case !isLoopback(u.Hostname()):
		return shown(text) + " would send the client's secret without TLS"
	}
	return ""
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}
