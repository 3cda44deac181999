package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/embedded"
)

// output collects what a command prints while it runs.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Every request that weir dev prints works as it stands, and Ctrl-C ends it.
func TestEveryRequestOfTheBannerWorks(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	var printed, logged output
	command := newRootCommand()
	command.SetArgs([]string{"dev", "--listen", "127.0.0.1:0", "--management", "127.0.0.1:0", "--topic", "invoices:2", "--topic", "orders:1"})
	command.SetOut(&printed)
	command.SetErr(&logged)
	ended := make(chan error, 1)
	go func() { ended <- command.ExecuteContext(ctx) }()
	deadline := time.Now().Add(10 * time.Second)
	for !strings.Contains(printed.String(), "/readyz") {
		if time.Now().After(deadline) {
			t.Fatalf("no banner: %s %s", printed.String(), logged.String())
		}
		time.Sleep(time.Millisecond) // a poll with a deadline
	}
	requests := pasted(t, printed.String())
	if len(requests) < 10 {
		t.Fatalf("%d requests in the banner:\n%s", len(requests), printed.String())
	}
	for _, r := range requests {
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode/100 != 2 || strings.Contains(string(body), `"error_code":4`) || strings.Contains(string(body), `"offset":null`) {
			t.Errorf("%s %s: %d %s %v", r.Method, r.URL, response.StatusCode, body, err)
		}
	}
	if !strings.Contains(printed.String(), "not for records that matter") {
		t.Error("the banner does not say what the embedded broker is for")
	}
	http.DefaultClient.CloseIdleConnections()
	interrupt()
	if err := <-ended; err != nil {
		t.Errorf("the end: %v", err)
	}
}

// pasted reads the curl commands of a text as a shell and curl would: -H and -d, quotes, line continuation.
func pasted(t *testing.T, text string) []*http.Request {
	t.Helper()
	var requests []*http.Request
	for line := range strings.SplitSeq(strings.ReplaceAll(text, "\\\n", " "), "\n") {
		words := words(line)
		if len(words) == 0 || words[0] != "curl" {
			continue
		}
		method, url, body, header := http.MethodGet, "", "", http.Header{}
		for i := 1; i < len(words); i++ {
			switch words[i] {
			case "-H":
				name, value, _ := strings.Cut(words[i+1], ": ")
				header.Set(name, value)
				i++
			case "-d":
				method, body = http.MethodPost, words[i+1]
				i++
			default:
				url = words[i]
			}
		}
		r, err := http.NewRequest(method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = header
		requests = append(requests, r)
	}
	return requests
}

func words(line string) []string {
	var words []string
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		if quoted, found := strings.CutPrefix(line, "'"); found {
			word, rest, _ := strings.Cut(quoted, "'")
			words, line = append(words, word), rest
			continue
		}
		word, rest, _ := strings.Cut(line, " ")
		words, line = append(words, word), rest
	}
	return words
}

// authority makes a certificate authority and certificates for 127.0.0.1 below it.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	template.Raw = der
	return &authority{certificate: template, key: key, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func (a *authority) issue(t *testing.T, serial int64) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "weir"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &private.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
}

func write(t *testing.T, path string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Towards clients: HTTPS with HTTP/2, and a client certificate when one is asked for.
func TestTLSTowardsClients(t *testing.T) {
	t.Parallel()
	broker, err := embedded.Start(embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	directory, ca := t.TempDir(), newAuthority(t)
	certificate, key := ca.issue(t, 2)
	settings := config.Default()
	settings.Listen.Address, settings.Management.Address = "127.0.0.1:0", ""
	settings.Listen.TLS.CertificateFile = write(t, filepath.Join(directory, "server.pem"), certificate)
	settings.Listen.TLS.KeyFile = write(t, filepath.Join(directory, "server.key"), key)
	settings.Listen.TLS.ClientCAFile = write(t, filepath.Join(directory, "ca.pem"), ca.pem)
	cluster := config.DefaultCluster()
	cluster.Name, cluster.BootstrapServers = "c", broker.Addresses()
	settings.Clusters = []config.Cluster{cluster}
	ctx, stop := context.WithCancel(t.Context())
	g, err := listen(ctx, settings, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- g.run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.pem)
	own, err := tls.X509KeyPair(ca.issue(t, 3))
	if err != nil {
		t.Fatal(err)
	}
	url := "https://" + g.clients.Addr().String() + "/"
	for _, c := range []struct {
		name         string
		certificates []tls.Certificate
		ok           bool
	}{{"with a certificate", []tls.Certificate{own}, true}, {"without one", nil, false}} {
		client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: c.certificates}}}
		response, err := client.Get(url)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if err == nil {
			response.Body.Close()
			if response.ProtoMajor != 2 || response.StatusCode != http.StatusOK {
				t.Errorf("%s: %s %d", c.name, response.Proto, response.StatusCode)
			}
		}
		client.CloseIdleConnections()
	}
}

// A certificate that is replaced on disk is used without a restart, and a broken one is not.
func TestCertificateIsReadAgain(t *testing.T) {
	t.Parallel()
	directory, ca := t.TempDir(), newAuthority(t)
	file, key := filepath.Join(directory, "c.pem"), filepath.Join(directory, "c.key")
	replace := func(certificate, private []byte, age time.Duration) {
		write(t, file, certificate)
		write(t, key, private)
		for _, path := range []string{file, key} {
			if err := os.Chtimes(path, time.Time{}, time.Now().Add(-age)); err != nil {
				t.Fatal(err)
			}
		}
	}
	first, firstKey := ca.issue(t, 10)
	replace(first, firstKey, time.Hour)
	var logged output
	watched, err := watchCertificate("listen.tls", file, key, slog.New(slog.NewTextHandler(&logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	serial := func() int64 {
		watched.checked = time.Time{} // as if it had not been looked at for long
		got, err := watched.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return got.Leaf.SerialNumber.Int64()
	}
	if got := serial(); got != 10 {
		t.Fatalf("serial %d", got)
	}
	replace([]byte("not a certificate"), firstKey, time.Minute)
	if got := serial(); got != 10 || !strings.Contains(logged.String(), "the old one is kept") {
		t.Fatalf("serial %d after a broken roll-out; log %q", got, logged.String())
	}
	second, secondKey := ca.issue(t, 11)
	replace(second, secondKey, time.Second)
	if got := serial(); got != 11 {
		t.Fatalf("serial %d after the replacement", got)
	}
	if _, err := watchCertificate("listen.tls", filepath.Join(directory, "absent.pem"), key, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("an absent certificate is accepted")
	}
}

func TestAPortInUseIsToldAtOnce(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	settings := config.Default()
	settings.Listen.Address = taken.Addr().String()
	if _, err := listen(t.Context(), settings, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "listen.address") {
		t.Errorf("got %v", err)
	}
}

func TestParseTopic(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int32{"a:3": 3, "a": 1} {
		if got, err := parseTopic(text); err != nil || got.Partitions != want || got.Name != "a" {
			t.Errorf("%s: %+v %v", text, got, err)
		}
	}
	for _, text := range []string{"a:0", "a:x", ":3", "a:1001", ""} {
		if got, err := parseTopic(text); err == nil {
			t.Errorf("%s: %+v", text, got)
		}
	}
}
