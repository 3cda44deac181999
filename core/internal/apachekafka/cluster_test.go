//go:build unix && acceptance

package apachekafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func start(t *testing.T, options Options) (context.Context, *Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	began := time.Now()
	cluster, err := Start(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Logf("%d broker(s) up in %v", len(cluster.Nodes()), time.Since(began).Round(10*time.Millisecond))
	return ctx, cluster
}

func TestOneBroker(t *testing.T) {
	ctx, cluster := start(t, Options{})
	if err := cluster.CreateTopic(ctx, "t", 3, -1, map[string]string{"retention.ms": "60000"}); err != nil {
		t.Fatal(err)
	}
	servers := strings.Join(cluster.BootstrapServers(), ",")
	if _, err := cluster.Tool(ctx, ConsoleProducer, strings.NewReader("hello\n"), "--bootstrap-server", servers, "--topic", "t"); err != nil {
		t.Fatal(err)
	}
	// A broker that was killed comes back with what it had.
	if err := cluster.Node(1).Kill(); err != nil {
		t.Fatal(err)
	}
	if cluster.Node(1).Running() {
		t.Fatal("a killed broker runs")
	}
	if err := cluster.Node(1).Restart(ctx); err != nil {
		t.Fatal(err)
	}
	output, err := cluster.Tool(ctx, ConsoleConsumer, nil, "--bootstrap-server", servers, "--topic", "t", "--from-beginning",
		"--max-messages", "1", "--timeout-ms", "20000")
	if err != nil {
		t.Fatal(err)
	}
	if string(output) != "hello\n" {
		t.Errorf("got %q, want the record", output)
	}
	if _, err := cluster.Tool(ctx, TopicCommand, nil, "--bootstrap-server", servers, "--describe", "--topic", "no-such-topic"); err == nil {
		t.Error("a tool that fails gave no error")
	}
	directory := cluster.Directory()
	if err := cluster.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(directory); !os.IsNotExist(err) {
		t.Errorf("got %v, want %s removed", err, directory)
	}
}

func TestThreeBrokers(t *testing.T) {
	ctx, cluster := start(t, Options{Brokers: 3})
	if err := cluster.CreateTopic(ctx, "t", 1, 3, nil); err != nil {
		t.Fatal(err)
	}
	for _, to := range []int32{2, 3, 1} {
		if err := cluster.MoveLeader(ctx, "t", 0, to); err != nil {
			t.Fatal(err)
		}
	}
	if err := cluster.Node(1).Pause(); err != nil {
		t.Fatal(err)
	}
	// The others take over from a broker that hangs.
	if err := poll(ctx, func(ctx context.Context) error {
		client, err := cluster.client()
		if err != nil {
			return err
		}
		defer client.Close()
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		leaders, err := partitionLeaders(ctx, client, "t")
		if err != nil || leaders[0] == 1 || leaders[0] < 0 {
			return fmt.Errorf("leaders %v: %w", leaders, err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Node(1).Resume(); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Node(2).Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Node(2).Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Node(2).Restart(ctx); err == nil {
		t.Error("restarting a running broker gave no error")
	}
}

func TestTwoBrokersHaveOneController(t *testing.T) {
	ctx, cluster := start(t, Options{Brokers: 2})
	if err := cluster.CreateTopicOn(ctx, "t", [][]int32{{1}, {2}}, nil); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Node(2).Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cluster.CreateTopicOn(ctx, "u", [][]int32{{1}}, nil); err != nil {
		t.Errorf("the first broker cannot create topics alone: %v", err)
	}
}

func TestVerifyRefusesAStranger(t *testing.T) {
	ctx, cluster := start(t, Options{})
	other := &Node{cluster: &Cluster{id: uuid()}, id: 1, ports: cluster.Node(1).ports}
	if err := other.verify(ctx, 1); err == nil || !strings.Contains(err.Error(), "another process listens there") {
		t.Errorf("got %v, want a refusal of a broker of another cluster", err)
	}
}

func TestSASL(t *testing.T) {
	ctx, cluster := start(t, Options{SASL: true})
	if err := cluster.CreateTopic(ctx, "t", 1, -1, nil); err != nil {
		t.Fatal(err)
	}
	certificates := cluster.Certificates()
	produce := func(t *testing.T, listener Listener, properties map[string]string) error {
		t.Helper()
		properties["security.protocol"] = string(listener)
		properties["delivery.timeout.ms"], properties["request.timeout.ms"], properties["max.block.ms"] = "8000", "4000", "8000"
		properties["ssl.truststore.type"], properties["ssl.truststore.location"] = "PEM", certificates.AuthorityFile
		file := t.TempDir() + "/client.properties"
		if err := os.WriteFile(file, []byte(propertiesText(properties)), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := cluster.Tool(ctx, ConsoleProducer, strings.NewReader("hello\n"), "--bootstrap-server", cluster.Node(1).AddressAt(listener),
			"--topic", "t", "--command-config", file, "--sync")
		return err
	}
	scram := func(mechanism, password string) map[string]string {
		module := "scram.ScramLoginModule"
		if mechanism == "PLAIN" {
			module = "plain.PlainLoginModule"
		}
		return map[string]string{"sasl.mechanism": mechanism,
			"sasl.jaas.config": fmt.Sprintf("org.apache.kafka.common.security.%s required username=admin password=%q;", module, password)}
	}
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		if err := produce(t, SASLPlaintext, scram(mechanism, "admin-secret")); err != nil {
			t.Errorf("%s: %v", mechanism, err)
		}
	}
	if err := produce(t, SASLTLS, scram("SCRAM-SHA-256", "admin-secret")); err != nil {
		t.Errorf("SCRAM over TLS: %v", err)
	}
	if _, err := cluster.Tool(ctx, ACLCommand, nil, "--bootstrap-server", cluster.Node(1).Address(), "--add", "--allow-principal",
		"User:alice", "--producer", "--topic", "t"); err != nil {
		t.Fatal(err)
	}
	mutual := map[string]string{"ssl.keystore.type": "PEM", "ssl.keystore.location": pemStore(t, certificates)}
	if err := produce(t, MutualTLS, mutual); err != nil {
		t.Errorf("mutual TLS: %v", err)
	}
	if err := produce(t, MutualTLS, map[string]string{}); err == nil {
		t.Error("mutual TLS without a certificate was let in")
	}
	log, err := cluster.Node(1).log()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(log, []byte("started")) {
		t.Error("the broker's log is empty")
	}
}

// pemStore joins alice's key and certificate, as Kafka's PEM key store wants them.
func pemStore(t *testing.T, certificates Certificates) string {
	t.Helper()
	key, err := os.ReadFile(certificates.ClientKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := os.ReadFile(certificates.ClientFile)
	if err != nil {
		t.Fatal(err)
	}
	name := t.TempDir() + "/alice-store.pem"
	if err := os.WriteFile(name, append(key, certificate...), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// The test starts itself again as a process that starts a broker and is then killed.
func TestBrokersDieWithTheProcessThatStartedThem(t *testing.T) {
	if os.Getenv("WEIR_KAFKA_ORPHAN") != "" {
		_, cluster := start(t, Options{})
		fmt.Printf("\nbroker at %s pid %d\n", cluster.Node(1).Address(), cluster.Node(1).current().PID())
		select {} // until killed
	}
	command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	command.Env = append(os.Environ(), "WEIR_KAFKA_ORPHAN=1")
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	var address string
	var pid int
	buffer := make([]byte, 4096)
	var seen []byte
	for address == "" || !bytes.HasSuffix(seen, []byte("\n")) {
		n, err := output.Read(buffer)
		if err != nil {
			t.Fatalf("%v after %q", err, seen)
		}
		seen = append(seen, buffer[:n]...)
		if at := bytes.Index(seen, []byte("broker at ")); at >= 0 {
			if _, err := fmt.Sscanf(string(seen[at:]), "broker at %s pid %d", &address, &pid); err != nil {
				address = ""
			}
		}
	}
	if err := command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = command.Wait() // it was killed
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := poll(ctx, func(context.Context) error {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("process %d is still there", pid)
		}
		if connection, err := net.Dial("tcp", address); err == nil {
			_ = connection.Close()
			return fmt.Errorf("%s still takes connections", address)
		}
		return nil
	}); err != nil {
		t.Errorf("the broker outlived the process that started it: %v", err)
	}
}
