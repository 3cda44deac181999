//go:build unix

package apachekafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/weir-gateway/weir/core/internal/child"
)

// Node is one broker of a cluster.
type Node struct {
	cluster        *Cluster
	id             int
	directory      string
	ports          map[Listener]int
	controllerPort int // zero: not a controller

	mu      sync.Mutex
	process *child.Process // nil: never started
	logFrom int64          // where in the log the present run begins
}

// ID is the broker's node id, from 1.
func (n *Node) ID() int32 { return int32(n.id) }

// Address is the broker's host:port at the Plaintext listener.
func (n *Node) Address() string { return n.AddressAt(Plaintext) }

// AddressAt is the broker's host:port at a listener.
func (n *Node) AddressAt(listener Listener) string { return address(n.ports[listener]) }

// LogFile is where the broker's log goes.
func (n *Node) LogFile() string { return filepath.Join(n.directory, "broker.log") }

// Kill ends the broker with SIGKILL and waits until it is gone.
func (n *Node) Kill() error {
	if process := n.current(); process != nil {
		return process.Kill()
	}
	return nil
}

// Stop ends the broker in the orderly way, with SIGTERM, and waits until it is gone. When the context ends first the broker
// is killed and the context's error returned.
func (n *Node) Stop(ctx context.Context) error {
	if err := n.signal(syscall.SIGTERM); err != nil {
		return err
	}
	process := n.current()
	if process == nil {
		return nil
	}
	select {
	case <-process.Done():
		return nil
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("broker %d did not stop in time: %w", n.id, ctx.Err()), n.Kill())
	}
}

// Pause freezes the broker with SIGSTOP: its connections stay open and nothing answers on them.
func (n *Node) Pause() error { return n.signal(syscall.SIGSTOP) }

// Resume lets a paused broker go on.
func (n *Node) Resume() error { return n.signal(syscall.SIGCONT) }

// Restart starts a broker that was stopped or killed, with the data it had, and waits until it takes requests.
func (n *Node) Restart(ctx context.Context) error {
	if n.Running() {
		return fmt.Errorf("broker %d runs already: stop or kill it first", n.id)
	}
	if err := n.launch(); err != nil {
		return err
	}
	if err := n.awaitStart(ctx); err != nil {
		return err
	}
	return n.verify(ctx, 1)
}

// Running reports whether the broker's process exists, paused or not.
func (n *Node) Running() bool {
	process := n.current()
	return process != nil && !process.Ended()
}

func (n *Node) propertiesFile() string { return filepath.Join(n.directory, "server.properties") }

func (n *Node) current() *child.Process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.process
}

func (n *Node) signal(signal syscall.Signal) error {
	if process := n.current(); process != nil {
		return process.Signal(signal)
	}
	return nil
}

func (n *Node) wait() {
	if process := n.current(); process != nil {
		<-process.Done()
	}
}

// launch starts the broker's JVM.
func (n *Node) launch() error {
	log, err := os.OpenFile(n.LogFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("open the log of broker %d: %w", n.id, err)
	}
	defer log.Close() // the child has its own copy
	size, err := log.Seek(0, 2)
	if err != nil {
		return fmt.Errorf("open the log of broker %d: %w", n.id, err)
	}
	options := append([]string{
		"-Dorg.slf4j.simpleLogger.showDateTime=true",
		"-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
		"-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info", // says when the broker has started
	}, n.cluster.options.javaOptions...)
	// The broker's life is the cluster's, not any context's.
	command := n.cluster.distribution.command(context.Background(), n.cluster.options.heapMiB(), options, "kafka.Kafka", n.propertiesFile())
	command.Dir = n.directory
	command.Stdout, command.Stderr = log, log
	process, err := child.Start(command)
	if err != nil {
		return fmt.Errorf("broker %d: %w", n.id, err)
	}
	n.mu.Lock()
	n.process, n.logFrom = process, size
	n.mu.Unlock()
	return nil
}

// awaitStart waits until the broker says in its log that it has started and its port takes connections. The port alone
// opens much earlier.
func (n *Node) awaitStart(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	process := n.current()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		select {
		case <-process.Done():
			log, err := n.log()
			if bytes.Contains(log, []byte("Address already in use")) {
				err = errors.Join(err, errPortTaken)
			}
			return errors.Join(fmt.Errorf("broker %d ended while it started; its log ends:\n%s", n.id, lastLines(string(log))), err)
		case <-ctx.Done():
			log, err := n.log()
			return errors.Join(fmt.Errorf("broker %d did not start: %w; its log ends:\n%s", n.id, ctx.Err(), lastLines(string(log))), err)
		case <-poll.C:
		}
		log, err := n.log()
		if err != nil {
			return err
		}
		if !bytes.Contains(log, []byte("Kafka Server started")) {
			continue
		}
		connection, err := net.DialTimeout("tcp", n.Address(), time.Second)
		if err != nil {
			continue
		}
		return connection.Close()
	}
}

// log is what the broker's present run has logged.
func (n *Node) log() ([]byte, error) {
	n.mu.Lock()
	from := n.logFrom
	n.mu.Unlock()
	content, err := os.ReadFile(n.LogFile())
	if err != nil {
		return nil, fmt.Errorf("read the log of broker %d: %w", n.id, err)
	}
	return content[min(from, int64(len(content))):], nil
}
