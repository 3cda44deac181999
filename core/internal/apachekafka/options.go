//go:build unix

package apachekafka

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// Listener names one of the listeners that every broker of a cluster has.
type Listener string

// The listeners. All but Plaintext exist only in a cluster with Options.SASL.
const (
	// Plaintext asks for nothing. In a cluster with SASL it is the door for tests themselves: who comes through it may do
	// everything.
	Plaintext Listener = "PLAINTEXT"
	// SASLPlaintext asks for PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512, without TLS.
	SASLPlaintext Listener = "SASL_PLAINTEXT"
	// SASLTLS asks for the same over TLS.
	SASLTLS Listener = "SASL_SSL"
	// MutualTLS asks for a client certificate; its common name is the user's name.
	MutualTLS Listener = "SSL"
)

// User is a user that a cluster with SASL knows, by PLAIN and by both SCRAM mechanisms.
type User struct{ Name, Password string }

// Users of a cluster with SASL. Admin may do everything; the others may do what a test allows them, at first nothing.
func Users() []User {
	return []User{{"admin", "admin-secret"}, {"alice", "alice-secret"}, {"bob", "bob-secret"}}
}

// Options say what cluster to start.
type Options struct {
	// Brokers is 1, 2 or 3. Zero: 1.
	//
	// Three brokers form the controller quorum together and replicate topics three times with two in-sync replicas needed,
	// so that any one of them may fail. Of two, only the first is a controller and topics have one replica, so that the
	// second may fail or hang without the first losing anything but that.
	Brokers int
	// SASL adds the listeners for SASL and TLS and an authorizer that denies what no ACL allows.
	SASL bool
	// Properties are further server properties for every broker; they win over the package's own.
	Properties map[string]string
	// Directory is an empty or absent directory for data and logs. Empty: a temporary one, removed by Close.
	Directory string

	javaOptions []string
}

func (o Options) validate() error {
	if o.Brokers < 1 || o.Brokers > 3 {
		return fmt.Errorf("%d brokers asked for: 1, 2 or 3 are possible", o.Brokers)
	}
	for name, value := range o.Properties {
		if strings.ContainsAny(name+value, "\r\n") {
			return errors.New("a server property contains a line break: " + name)
		}
	}
	return nil
}

func (o Options) listeners() []Listener {
	if o.SASL {
		return []Listener{Plaintext, SASLPlaintext, SASLTLS, MutualTLS}
	}
	return []Listener{Plaintext}
}

// heapMiB keeps three brokers small enough to share a small computer.
func (o Options) heapMiB() int {
	if o.Brokers == 1 {
		return 512
	}
	return 384
}

// controllers is how many of the brokers are controllers as well.
func (o Options) controllers() int {
	if o.Brokers == 2 {
		return 1
	}
	return o.Brokers
}

// properties of one node.
func (c *Cluster) properties(n *Node) map[string]string {
	replicas, inSync := "1", "1"
	if c.options.Brokers == 3 {
		replicas, inSync = "3", "2"
	}
	roles := "broker"
	var listeners, advertised []string
	for _, listener := range c.options.listeners() {
		at := string(listener) + "://" + address(n.ports[listener])
		listeners, advertised = append(listeners, at), append(advertised, at)
	}
	if n.controllerPort != 0 {
		roles = "broker,controller"
		listeners = append(listeners, "CONTROLLER://"+address(n.controllerPort))
	}
	var voters []string
	for _, node := range c.nodes {
		if node.controllerPort != 0 {
			voters = append(voters, fmt.Sprintf("%d@%s", node.id, address(node.controllerPort)))
		}
	}
	properties := map[string]string{
		"process.roles":                                    roles,
		"node.id":                                          fmt.Sprint(n.id),
		"controller.quorum.voters":                         strings.Join(voters, ","),
		"controller.listener.names":                        "CONTROLLER",
		"listeners":                                        strings.Join(listeners, ","),
		"advertised.listeners":                             strings.Join(advertised, ","),
		"listener.security.protocol.map":                   "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL",
		"inter.broker.listener.name":                       string(Plaintext),
		"log.dirs":                                         n.dataDirectory(),
		"default.replication.factor":                       replicas,
		"min.insync.replicas":                              inSync,
		"offsets.topic.replication.factor":                 replicas,
		"transaction.state.log.replication.factor":         replicas,
		"transaction.state.log.min.isr":                    inSync,
		"share.coordinator.state.topic.replication.factor": replicas,
		"share.coordinator.state.topic.min.isr":            inSync,
		// Few partitions, threads and megabytes: these are brokers for a handful of topics.
		"offsets.topic.num.partitions":                 "4",
		"transaction.state.log.num.partitions":         "4",
		"share.coordinator.state.topic.num.partitions": "4",
		"num.partitions":                               "1",
		"num.network.threads":                          "2",
		"num.io.threads":                               "4",
		"num.recovery.threads.per.data.dir":            "1",
		"log.cleaner.dedupe.buffer.size":               "16777216",
		// A topic that is there without having been created hides the mistake that a test is about.
		"auto.create.topics.enable":        "false",
		"group.initial.rebalance.delay.ms": "0",
		// The controller writes at once: it would wait 25 ms for more, and tests create topics by the thousand, one after the other.
		"controller.quorum.append.linger.ms": "0",
		// A broker is known to be up, and known to be gone, soon.
		"broker.heartbeat.interval.ms": "500",
		"broker.session.timeout.ms":    "6000",
	}
	if c.options.SASL {
		maps.Copy(properties, c.securityProperties())
	}
	maps.Copy(properties, c.options.Properties)
	return properties
}

func (c *Cluster) securityProperties() map[string]string {
	scram := "org.apache.kafka.common.security.scram.ScramLoginModule required;"
	plain := "org.apache.kafka.common.security.plain.PlainLoginModule required"
	for _, user := range Users() {
		plain += fmt.Sprintf(" user_%s=%q", user.Name, user.Password)
	}
	properties := map[string]string{
		"authorizer.class.name":             "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"allow.everyone.if.no.acl.found":    "false",
		"super.users":                       "User:admin;User:ANONYMOUS",
		"sasl.enabled.mechanisms":           "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
		"ssl.keystore.type":                 "PEM",
		"ssl.keystore.location":             c.certificates.brokerFile,
		"ssl.truststore.type":               "PEM",
		"ssl.truststore.location":           c.certificates.AuthorityFile,
		"ssl.principal.mapping.rules":       "RULE:^CN=([^,]+).*$/$1/,DEFAULT",
		"listener.name.ssl.ssl.client.auth": "required",
	}
	for _, listener := range []string{"sasl_plaintext", "sasl_ssl"} {
		prefix := "listener.name." + listener + "."
		properties[prefix+"scram-sha-256.sasl.jaas.config"] = scram
		properties[prefix+"scram-sha-512.sasl.jaas.config"] = scram
		properties[prefix+"plain.sasl.jaas.config"] = plain + ";"
	}
	return properties
}

func (n *Node) dataDirectory() string { return filepath.Join(n.directory, "data") }

// propertiesText writes properties in Java's format, in a stable order.
func propertiesText(properties map[string]string) string {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		fmt.Fprintf(&text, "%s=%s\n", name, strings.ReplaceAll(properties[name], `\`, `\\`))
	}
	return text.String()
}
