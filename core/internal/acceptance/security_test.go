//go:build acceptance

package acceptance

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-gateway/weir/core/internal/apachekafka"
)

// connection is one way to a secured broker.
type connection struct {
	name     string
	listener apachekafka.Listener
	settings string // under the cluster
	cause    string // what weir doctor must name; empty: it works
}

func saslSettings(mechanism, user, password string) string {
	return fmt.Sprintf("    sasl: {mechanism: %s, username: %s, password: %s, allow_plaintext: true}\n", mechanism, user, password)
}

// Every security mechanism towards a real broker works, and of every broken set-up weir doctor names the cause and the cure.
func TestSecuredBrokers(t *testing.T) {
	cluster := startKafka(t, apachekafka.Options{SASL: true})
	if err := cluster.CreateTopic(context.Background(), "secured", 3, 1, nil); err != nil {
		t.Fatal(err)
	}
	var admin, other apachekafka.User
	for _, user := range apachekafka.Users() {
		if user.Name == "admin" {
			admin = user
		} else if other.Name == "" {
			other = user
		}
	}
	files := cluster.Certificates()
	trust := fmt.Sprintf("    tls: {enabled: true, ca_file: %s}\n", files.AuthorityFile)
	mutual := fmt.Sprintf("    tls: {enabled: true, ca_file: %s, certificate_file: %s, key_file: %s}\n", files.AuthorityFile, files.ClientFile, files.ClientKeyFile)
	refused, err := apachekafka.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	works := []connection{
		{"SCRAM-SHA-256", apachekafka.SASLPlaintext, saslSettings("SCRAM-SHA-256", admin.Name, admin.Password), ""},
		{"SCRAM-SHA-512 over TLS", apachekafka.SASLTLS, trust + saslSettings("SCRAM-SHA-512", admin.Name, admin.Password), ""},
		{"PLAIN over TLS", apachekafka.SASLTLS, trust + saslSettings("PLAIN", admin.Name, admin.Password), ""},
	}
	broken := []connection{
		{"wrong password", apachekafka.SASLPlaintext, saslSettings("SCRAM-SHA-256", admin.Name, "not-the-password"), "sasl_credentials"},
		{"unknown user", apachekafka.SASLPlaintext, saslSettings("PLAIN", "nobody", "nothing"), "sasl_credentials"},
		{"SASL missing", apachekafka.SASLPlaintext, "", "sasl_required"},
		{"mechanism off", apachekafka.SASLPlaintext, "    sasl: {mechanism: OAUTHBEARER, allow_plaintext: true, oauth: {token_url: 'http://127.0.0.1:1/token', client_id: c, client_secret: s}}\n", ""},
		{"plaintext to a TLS port", apachekafka.SASLTLS, saslSettings("PLAIN", admin.Name, admin.Password), "plaintext_to_tls"},
		{"TLS to a plaintext port", apachekafka.SASLPlaintext, trust + saslSettings("PLAIN", admin.Name, admin.Password), "tls_to_plaintext"},
		{"unknown authority", apachekafka.SASLTLS, "    tls: {enabled: true}\n" + saslSettings("PLAIN", admin.Name, admin.Password), "tls_authority"},
		{"certificate for another name", apachekafka.SASLTLS, strings.Replace(trust, "}", ", server_name: kafka.example.com}", 1) + saslSettings("PLAIN", admin.Name, admin.Password), "tls_name"},
		{"client certificate missing", apachekafka.MutualTLS, trust, "tls_client"},
	}
	for _, c := range works {
		t.Run(c.name, func(t *testing.T) {
			w := startWeir(t, clusterConfiguration("main", cluster.Addresses(c.listener))+c.settings)
			w.waitReady(t, 30*time.Second)
			if status, body, err := post(w.url+"/topics/secured", jsonV2, `{"records":[{"value":1}]}`); err != nil || status != http.StatusOK || !strings.Contains(body, `"error_code":null`) {
				t.Errorf("produce: %d %s %v", status, body, err)
			}
			if output, err := doctor(t, clusterConfiguration("main", cluster.Addresses(c.listener))+c.settings); err != nil || !strings.Contains(output, "ok") {
				t.Errorf("doctor: %v\n%s", err, output)
			}
		})
	}
	for _, c := range broken {
		t.Run(c.name, func(t *testing.T) {
			output, err := doctor(t, clusterConfiguration("main", cluster.Addresses(c.listener))+c.settings)
			if err == nil || c.cause != "" && !strings.Contains(output, c.cause) || !strings.Contains(output, "cure:") {
				t.Errorf("doctor must fail and name %s: %v\n%s", c.cause, err, output)
			}
			if strings.Contains(output, admin.Password) {
				t.Errorf("doctor prints the password:\n%s", output)
			}
		})
	}
	t.Run("nothing listens", func(t *testing.T) {
		output, err := doctor(t, clusterConfiguration("main", []string{fmt.Sprintf("127.0.0.1:%d", refused[0])}))
		if err == nil || !strings.Contains(output, "refused") {
			t.Errorf("doctor: %v\n%s", err, output)
		}
	})
	t.Run("without permission", func(t *testing.T) { // a user who is known and may do nothing
		configuration := clusterConfiguration("main", cluster.Addresses(apachekafka.SASLPlaintext)) + saslSettings("SCRAM-SHA-256", other.Name, other.Password)
		output, err := doctor(t, configuration)
		if err == nil || !strings.Contains(output, "unauthorised") {
			t.Errorf("doctor: %v\n%s", err, output)
		}
	})
	t.Run("mutual TLS", func(t *testing.T) {
		// The certificate's user may write one topic and no more.
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if _, err := cluster.Tool(ctx, apachekafka.ACLCommand, nil, "--bootstrap-server", cluster.BootstrapServers()[0], "--add", "--allow-principal", "User:alice",
			"--operation", "Write", "--operation", "Describe", "--topic", "secured"); err != nil {
			t.Fatal(err)
		}
		w := startWeir(t, clusterConfiguration("main", cluster.Addresses(apachekafka.MutualTLS))+mutual)
		eventually(t, 30*time.Second, "records are written", func() bool {
			status, body, err := post(w.url+"/topics/secured", jsonV2, `{"records":[{"value":1}]}`)
			return err == nil && status == http.StatusOK && strings.Contains(body, `"error_code":null`)
		})
		if err := cluster.CreateTopic(ctx, "closed", 1, 1, nil); err != nil {
			t.Fatal(err)
		}
		if status, body, err := post(w.url+"/topics/closed", jsonV2, `{"records":[{"value":1}]}`); err != nil || status != http.StatusForbidden || !strings.Contains(body, `"error_code":40301`) {
			t.Errorf("a topic that the certificate's user may not write: %d %s %v", status, body, err)
		}
	})
	t.Run("wrong password is why it is not ready", func(t *testing.T) {
		w := startWeir(t, clusterConfiguration("main", cluster.Addresses(apachekafka.SASLPlaintext))+saslSettings("SCRAM-SHA-256", admin.Name, "not-the-password"))
		var body string
		eventually(t, 20*time.Second, "readiness names the password", func() bool {
			var status int
			status, body, _ = get(w.management + "/readyz")
			return status == http.StatusServiceUnavailable && strings.Contains(strings.ToLower(body), "authentication")
		}, &body)
		if strings.Contains(body, "not-the-password") || strings.Contains(w.logTail(1000), "not-the-password") {
			t.Error("the password is told")
		}
	})
}

// doctor runs weir doctor and gives what it printed.
func doctor(t *testing.T, configuration string) (string, error) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "weir.yaml")
	if err := os.WriteFile(file, []byte(configuration), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, path, "doctor", "--config", file)
	command.Env = weirEnvironment()
	output, err := command.CombinedOutput()
	return string(output), err
}
