package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// relations checks what no setting can say about itself alone.
func (v *validator) relations(c Config) {
	v.listeners(c)
	v.clusters(c.Clusters)
	v.api(c.API)
	v.peers(c)
	v.times(c)
	v.sizes(c)
}

func (v *validator) listeners(c Config) {
	v.listenAddress(c.Listen.Address, "listen.address")
	v.pair(c.Listen.TLS.CertificateFile, c.Listen.TLS.KeyFile, "listen.tls")
	if c.Listen.TLS.ClientCAFile != "" && c.Listen.TLS.CertificateFile == "" {
		v.add("listen.tls.client_ca_file", "has no effect without a certificate",
			"give certificate_file and key_file, or remove it", "listen.tls.certificate_file")
	}
	if c.Management.Address == "" {
		return
	}
	v.listenAddress(c.Management.Address, "management.address")
	if collide(c.Listen.Address, c.Management.Address) {
		v.add("management.address", "is the address of listen.address too", "give it a port of its own", "listen.address")
	}
}

func (v *validator) listenAddress(address, path string) {
	if host, port, err := net.SplitHostPort(address); err != nil || !isPort(port, 0) || !isHost(host) && host != "" {
		v.add(path, shown(address)+" is not host:port", `write it as "127.0.0.1:8082", or ":8082" for all interfaces`)
	}
}

// collide says whether both addresses cannot be listened on at once.
func collide(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	return strings.EqualFold(hostA, hostB) || isWildcard(hostA) || isWildcard(hostB)
}

func isWildcard(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "" || err == nil && address.IsUnspecified()
}

func isPort(text string, least int) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return err == nil && int(port) >= least
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})$`)

func isHost(host string) bool {
	if hostName.MatchString(host) {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}

// pair checks that a certificate and its key come together.
func (v *validator) pair(certificate, key, path string) {
	certificatePath, keyPath := join(path, "certificate_file"), join(path, "key_file")
	switch {
	case certificate != "" && key == "":
		v.add(certificatePath, "needs a key_file beside it", "give the private key of the certificate", keyPath)
	case certificate == "" && key != "":
		v.add(keyPath, "needs a certificate_file beside it", "give the certificate of the private key", certificatePath)
	}
}

// operationName is the shape of an entry of the lists: dotted lower-case words, and perhaps a final .* for a family.
var operationName = regexp.MustCompile(`^[a-z0-9]+(?:[.-][a-z0-9]+)*(?:\.\*)?$`)

var authority = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[0-9]{1,5})?$`)

func (v *validator) api(api API) {
	if !api.V2 && !api.V3 {
		v.add("api", "offers nothing: v2 and v3 are both off", "turn one of them on", "api.v2", "api.v3")
	}
	for path, names := range map[string][]string{"api.allowlist": api.Allowlist, "api.blocklist": api.Blocklist} {
		for i, name := range names {
			if !operationName.MatchString(name) {
				v.add(element(path, i), shown(name)+" is not the name of an operation",
					"write a name such as api.v3.topics.list, or a family such as api.v3.topics.*")
			}
		}
	}
	schemes := map[string]int{}
	for i, advertised := range api.AdvertisedURLs {
		path := element("api.advertised_urls", i)
		scheme, fault := advertisedScheme(advertised)
		if fault != "" {
			v.add(path, fault, `write it as "https://gateway.example.com", with a path if there is one`)
			continue
		}
		if first, ok := schemes[scheme]; ok {
			v.add(path, fmt.Sprintf("is a second %s URL", scheme), "keep one for each scheme",
				element("api.advertised_urls", first))
			continue
		}
		schemes[scheme] = i
	}
	if api.ResourceNameAuthority != "" && !authority.MatchString(api.ResourceNameAuthority) {
		v.add("api.resource_name_authority", shown(api.ResourceNameAuthority)+" is not a host name",
			"write letters, digits, dots and dashes, as kafka.example.com")
	}
}

func advertisedScheme(text string) (scheme, fault string) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "" || u.Port() != "" && !isPort(u.Port(), 1):
		return "", shown(text) + " is not an absolute URL"
	case u.Scheme != "http" && u.Scheme != "https":
		return "", shown(text) + " is neither http nor https"
	case u.User != nil:
		return "", "has a user in its URL (not shown: it may hold a password)"
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", shown(text) + " has a query or a fragment"
	}
	return u.Scheme, ""
}

// times checks that what waits for something waits at least as long as that may take.
func (v *validator) times(c Config) {
	if c.Produce.StallTimeout > c.Produce.Timeout {
		v.add("produce.stall_timeout", fmt.Sprintf("%s is longer than produce.timeout, which is %s",
			durationText(c.Produce.StallTimeout), durationText(c.Produce.Timeout)),
			"make it at most produce.timeout: after that no record is left to wait for", "produce.timeout")
	}
	if c.Produce.Timeout > c.Limits.RequestTimeout {
		v.add("produce.timeout", fmt.Sprintf("%s is longer than limits.request_timeout, which is %s",
			durationText(c.Produce.Timeout), durationText(c.Limits.RequestTimeout)),
			"make it at most limits.request_timeout: a request must outlive its records", "limits.request_timeout")
	}
	if c.Consume.HeartbeatInterval > c.Consume.SessionTimeout/heartbeatsInSession {
		v.add("consume.heartbeat_interval", fmt.Sprintf("%s is longer than a third of consume.session_timeout, which is %s",
			durationText(c.Consume.HeartbeatInterval), durationText(c.Consume.SessionTimeout)),
			"make it at most a third: a member that is given up between two heartbeats still reads partitions that others own", "consume.session_timeout")
	}
	if c.Consume.RequestTimeout > c.Consume.MaxRequestTimeout {
		v.add("consume.request_timeout", fmt.Sprintf("%s is longer than consume.max_request_timeout, which is %s",
			durationText(c.Consume.RequestTimeout), durationText(c.Consume.MaxRequestTimeout)),
			"make it at most consume.max_request_timeout", "consume.max_request_timeout")
	}
}

// heartbeatsInSession is how many heartbeats there must be in a session, as Kafka advises: one may be lost.
const heartbeatsInSession = 3

// sizes checks that what is allowed by one bound fits under the next.
func (v *validator) sizes(c Config) {
	record := int64(c.Produce.MaxRecordBytes)
	fits := func(path string, size int64, within string, most int64, unlimited bool) {
		if !unlimited && size > most {
			v.add(path, fmt.Sprintf("%d is larger than %s, which is %d", size, within, most),
				"make it at most "+within+": nothing of its size could pass", within)
		}
	}
	fits("produce.max_record_bytes", record, "limits.body_bytes", c.Limits.BodyBytes, false)
	fits("produce.max_record_bytes", record, "produce.buffer_bytes", c.Produce.BufferBytes, c.Produce.BufferBytes == 0)
	fits("limits.body_bytes", c.Limits.BodyBytes, "limits.buffered_bytes", c.Limits.BufferedBytes, c.Limits.BufferedBytes == 0)
}
