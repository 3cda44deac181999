//go:build unix

package apachekafka

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Cluster is a running Apache Kafka. Its methods may be called at the same time.
type Cluster struct {
	distribution *Distribution
	options      Options
	id           string
	directory    string
	temporary    bool // directory is ours to remove
	certificates Certificates
	nodes        []*Node
	closeOnce    sync.Once
	closeError   error
}

// startTimeout bounds the start of one broker; a loaded computer has taken a quarter of it.
const startTimeout = 60 * time.Second

// Start downloads Kafka if need be, formats a cluster with an id of its own and starts its brokers. It returns when each of
// them takes requests, knows all the others, and answers with that id. The context bounds the start, not the cluster's
// life: that ends with Close, or with this process.
func Start(ctx context.Context, options Options) (*Cluster, error) {
	distribution, err := Download(ctx)
	if err != nil {
		return nil, err
	}
	return distribution.start(ctx, options)
}

// errPortTaken: another process bound one of our ports between our look at it and the broker's start.
var errPortTaken = errors.New("a port was taken while the broker started")

func (d *Distribution) start(ctx context.Context, options Options) (*Cluster, error) {
	if options.Brokers == 0 {
		options.Brokers = 1
	}
	if err := options.validate(); err != nil {
		return nil, err
	}
	const attempts = 3
	for attempt := 1; ; attempt++ {
		cluster, err := d.startOnce(ctx, options)
		if err == nil || attempt == attempts || !errors.Is(err, errPortTaken) {
			return cluster, err
		}
	}
}

func (d *Distribution) startOnce(ctx context.Context, options Options) (cluster *Cluster, err error) {
	c := &Cluster{distribution: d, options: options, id: uuid(), directory: options.Directory}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	if c.directory == "" {
		if c.directory, err = os.MkdirTemp("", "weir-kafka-"); err != nil {
			return nil, fmt.Errorf("make a directory for Kafka's data: %w", err)
		}
		c.temporary = true
	} else if c.directory, err = filepath.Abs(c.directory); err != nil {
		return nil, fmt.Errorf("directory for Kafka's data: %w", err)
	}
	if err := c.layOut(); err != nil {
		return nil, err
	}
	if err := c.format(ctx); err != nil {
		return nil, err
	}
	for _, node := range c.nodes {
		if err := node.launch(); err != nil {
			return nil, err
		}
	}
	for _, node := range c.nodes {
		if err := node.awaitStart(ctx); err != nil {
			return nil, err
		}
	}
	for _, node := range c.nodes {
		if err := node.verify(ctx, options.Brokers); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// layOut gives every node its ports and directory, and writes its configuration.
func (c *Cluster) layOut() error {
	listeners := c.options.listeners()
	ports, err := FreePorts(c.options.Brokers * (len(listeners) + 1))
	if err != nil {
		return err
	}
	take := func() int {
		port := ports[0]
		ports = ports[1:]
		return port
	}
	for i := range c.options.Brokers {
		node := &Node{cluster: c, id: i + 1, ports: make(map[Listener]int), directory: filepath.Join(c.directory, fmt.Sprintf("broker-%d", i+1))}
		for _, listener := range listeners {
			node.ports[listener] = take()
		}
		if i < c.options.controllers() {
			node.controllerPort = take()
		}
		c.nodes = append(c.nodes, node)
	}
	if err := os.MkdirAll(c.directory, 0o755); err != nil {
		return fmt.Errorf("make a directory for Kafka's data: %w", err)
	}
	if c.options.SASL {
		if c.certificates, err = makeCertificates(c.directory); err != nil {
			return err
		}
	}
	for _, node := range c.nodes {
		if err := os.Mkdir(node.directory, 0o755); err != nil {
			return fmt.Errorf("make a directory for a broker (its parent must be empty): %w", err)
		}
		if err := os.WriteFile(node.propertiesFile(), []byte(propertiesText(c.properties(node))), 0o600); err != nil {
			return fmt.Errorf("configure broker %d: %w", node.id, err)
		}
	}
	return nil
}

// ID is the cluster's id: random, and checked over the wire before Start returned.
func (c *Cluster) ID() string { return c.id }

// Directory holds the brokers' data, logs and configuration.
func (c *Cluster) Directory() string { return c.directory }

// Certificates are the files for clients of the TLS listeners, of a cluster with SASL.
func (c *Cluster) Certificates() Certificates { return c.certificates }

// BootstrapServers are the host:port addresses of all brokers at the Plaintext listener.
func (c *Cluster) BootstrapServers() []string { return c.Addresses(Plaintext) }

// Addresses are the host:port addresses of all brokers at a listener, in the order of their ids.
func (c *Cluster) Addresses(listener Listener) []string {
	addresses := make([]string, 0, len(c.nodes))
	for _, node := range c.nodes {
		addresses = append(addresses, node.AddressAt(listener))
	}
	return addresses
}

// Node is the broker with the id, from 1 to the number of brokers. Another id is a mistake of the caller and panics.
func (c *Cluster) Node(id int) *Node { return c.nodes[id-1] }

// Nodes are all brokers in the order of their ids.
func (c *Cluster) Nodes() []*Node { return append([]*Node(nil), c.nodes...) }

// Close kills every broker, waits until they are gone and, if Start chose the directory, removes the data. Further calls
// return what the first did.
func (c *Cluster) Close() error {
	c.closeOnce.Do(func() {
		var problems []error
		for _, node := range c.nodes {
			problems = append(problems, node.signal(syscall.SIGKILL))
		}
		for _, node := range c.nodes {
			node.wait()
		}
		if c.temporary {
			problems = append(problems, os.RemoveAll(c.directory))
		}
		c.closeError = errors.Join(problems...)
	})
	return c.closeError
}

// uuid makes an id in Kafka's notation: 16 random bytes in URL-safe base64. One that began with a dash would look like an
// option to Kafka's tools, and those that begin with many zeros are reserved.
func uuid() string {
	for {
		var random [16]byte
		_, _ = rand.Read(random[:]) // never fails
		if text := base64.RawURLEncoding.EncodeToString(random[:]); text[0] != '-' && random[0] != 0 {
			return text
		}
	}
}
