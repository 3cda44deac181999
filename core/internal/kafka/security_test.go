package kafka

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/embedded"
)

// authority signs certificates for tests.
type authority struct {
	t           *testing.T
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
	file        string
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{t: t, key: key, certificate: certificate, file: filepath.Join(t.TempDir(), name+".pem")}
	a.write(a.file, "CERTIFICATE", der)
	return a
}

func (a *authority) write(path, kind string, der []byte) {
	a.t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// issue gives the files of a certificate for 127.0.0.1 that is valid between two times from now.
func (a *authority) issue(from, to time.Duration, names ...string) (certificate, key string) {
	a.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "broker"}, NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to),
		DNSNames: names, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if len(names) == 0 {
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &private.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	dir := a.t.TempDir()
	certificate, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	a.write(certificate, "CERTIFICATE", der)
	a.write(key, "PRIVATE KEY", raw)
	return certificate, key
}

func (a *authority) server(from, to time.Duration, names ...string) *tls.Config {
	a.t.Helper()
	pair, err := tls.LoadX509KeyPair(a.issue(from, to, names...))
	if err != nil {
		a.t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// TestProbe holds every cause that can be made here to its name.
func TestProbe(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t, "ca"), newAuthority(t, "other")
	users := []embedded.User{
		{Mechanism: "PLAIN", Name: "u", Password: "p"}, {Mechanism: "SCRAM-SHA-256", Name: "s", Password: "p256"}, {Mechanism: "SCRAM-SHA-512", Name: "l", Password: "p512"},
	}
	plain := startBroker(t, embedded.Options{})
	sasl := startBroker(t, embedded.Options{Users: users})
	secure := startBroker(t, embedded.Options{TLS: ca.server(-time.Hour, time.Hour)})
	named := startBroker(t, embedded.Options{TLS: ca.server(-time.Hour, time.Hour, "kafka.example")})
	expired := startBroker(t, embedded.Options{TLS: ca.server(-2*time.Hour, -time.Hour)})
	early := startBroker(t, embedded.Options{TLS: ca.server(time.Hour, 2*time.Hour)})
	mutualConfig := ca.server(-time.Hour, time.Hour)
	mutualConfig.ClientAuth, mutualConfig.ClientCAs = tls.RequireAndVerifyClientCert, ca.pool()
	mutual := startBroker(t, embedded.Options{TLS: mutualConfig})
	both := startBroker(t, embedded.Options{TLS: ca.server(-time.Hour, time.Hour), Users: users})
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	closing, err := net.Listen("tcp", "127.0.0.1:0") // as a plaintext listener of Kafka: a TLS greeting is too long a request
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closing.Close() })
	go func() {
		for {
			conn, err := closing.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4))
			conn.Close()
		}
	}()
	http400, err := net.Listen("tcp", "127.0.0.1:0") // as web servers do that do not wait for a whole request
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { http400.Close() })
	go func() {
		for {
			conn, err := http400.Accept()
			if err != nil {
				return
			}
			if _, err := io.ReadFull(conn, make([]byte, 8)); err == nil {
				fmt.Fprint(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
				_, _ = io.Copy(io.Discard, conn) // until the client goes
			}
			conn.Close()
		}
	}()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	clientCert, clientKey := ca.issue(-time.Hour, time.Hour)

	withTLS := func(ca string) func(*config.Cluster) {
		return func(s *config.Cluster) { s.TLS = config.ClientTLS{Enabled: true, CAFile: ca} }
	}
	withSASL := func(mechanism, user, password string) func(*config.Cluster) {
		return func(s *config.Cluster) {
			s.SASL = config.SASL{Mechanism: mechanism, Username: user, Password: config.Secret(password), AllowPlaintext: true}
		}
	}
	all := func(changes ...func(*config.Cluster)) func(*config.Cluster) {
		return func(s *config.Cluster) {
			for _, change := range changes {
				change(s)
			}
		}
	}
	for _, c := range []struct {
		name    string
		address string
		change  func(*config.Cluster)
		want    Cause
	}{
		{"plaintext", plain.Addresses()[0], all(), CauseNone},
		{"tls", secure.Addresses()[0], withTLS(ca.file), CauseNone},
		{"tls with another name", named.Addresses()[0], all(withTLS(ca.file), func(s *config.Cluster) { s.TLS.ServerName = "kafka.example" }), CauseNone},
		{"mutual tls", mutual.Addresses()[0], all(withTLS(ca.file), func(s *config.Cluster) { s.TLS.CertificateFile, s.TLS.KeyFile = clientCert, clientKey }), CauseNone},
		{"plain", sasl.Addresses()[0], withSASL("PLAIN", "u", "p"), CauseNone},
		{"scram 256", sasl.Addresses()[0], withSASL("SCRAM-SHA-256", "s", "p256"), CauseNone},
		{"scram 512", sasl.Addresses()[0], withSASL("SCRAM-SHA-512", "l", "p512"), CauseNone},
		{"tls and scram", both.Addresses()[0], all(withTLS(ca.file), withSASL("SCRAM-SHA-512", "l", "p512")), CauseNone},

		{"nothing listens", gone.Addr().String(), all(), CauseRefused},
		{"no answer", silent.Addr().String(), func(s *config.Cluster) { s.RequestTimeout = 300 * time.Millisecond }, CauseTimeout},
		{"no answer to tls", silent.Addr().String(), all(withTLS(ca.file), func(s *config.Cluster) { s.DialTimeout, s.RequestTimeout = 300*time.Millisecond, 300*time.Millisecond }), CauseTimeout},
		{"no such host", "no-such-host.invalid:9092", all(), CauseDNS},
		{"a web server", http400.Addr().String(), all(), CauseNotKafka},
		{"plaintext to tls", secure.Addresses()[0], all(), CausePlaintextToTLS},
		{"tls to plaintext", closing.Addr().String(), withTLS(ca.file), CauseTLSToPlaintext},
		{"another name", named.Addresses()[0], withTLS(ca.file), CauseTLSName},
		{"unknown authority", secure.Addresses()[0], withTLS(other.file), CauseTLSAuthority},
		{"expired", expired.Addresses()[0], withTLS(ca.file), CauseTLSClock},
		{"not valid yet", early.Addresses()[0], withTLS(ca.file), CauseTLSClock},
		{"no client certificate", mutual.Addresses()[0], withTLS(ca.file), CauseTLSClient},
		{"wrong password", sasl.Addresses()[0], withSASL("SCRAM-SHA-256", "s", "wrong"), CauseSASLCredentials},
		{"no sasl where it is needed", sasl.Addresses()[0], all(), CauseSASLRequired},
		{"mechanism not enabled", sasl.Addresses()[0], func(s *config.Cluster) {
			s.SASL = config.SASL{Mechanism: "OAUTHBEARER", AllowPlaintext: true, OAuth: config.OAuth{TokenURL: web.URL, ClientID: "c", ClientSecret: "s"}}
		}, CauseSASLMechanism},
		{"wrong cluster", plain.Addresses()[0], func(s *config.Cluster) { s.ID = "other" }, CauseWrongCluster},
		{"ca file missing", plain.Addresses()[0], withTLS("/does/not/exist.pem"), CauseSettings},
		{"password in the clear", plain.Addresses()[0], func(s *config.Cluster) { s.SASL = config.SASL{Mechanism: "PLAIN", Username: "u", Password: "p"} }, CauseSettings},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := settings(c.address)
			c.change(&s)
			found := Probe(t.Context(), s)
			if len(found) == 0 || found[0].Cause != c.want {
				t.Fatalf("found %+v, want %s", found, c.want)
			}
			if (found[0].Err == nil) != (c.want == CauseNone) || (found[0].Cure == "") != (c.want == CauseNone) {
				t.Errorf("diagnosis without error or cure: %+v", found[0])
			}
			if text := found[0].Error(); strings.Contains(text, "p256") || strings.Contains(text, "wrong") && c.name == "wrong password" && strings.Contains(text, "password=wrong") {
				t.Errorf("a secret is in %q", text)
			}
		})
	}
	// The brokers stay up until the parallel cases are done.
	t.Run("advertised address", func(t *testing.T) {
		two := startBroker(t, embedded.Options{Brokers: 2})
		if err := two.Down(1); err != nil {
			t.Fatal(err)
		}
		found := Probe(t.Context(), settings(two.Addresses()[0]))
		if len(found) != 2 || found[0].Cause != CauseNone || found[1].Cause == CauseNone {
			t.Errorf("found %+v; want the first broker in order and the second, which the first names, not", found)
		}
	})
}

func TestOpenRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*config.Cluster)
		want   string
	}{
		{"no address", func(s *config.Cluster) { s.BootstrapServers = nil }, "bootstrap_servers"},
		{"ca file", func(s *config.Cluster) { s.TLS = config.ClientTLS{Enabled: true, CAFile: "/does/not/exist.pem"} }, "tls.ca_file"},
		{"key without certificate", func(s *config.Cluster) { s.TLS = config.ClientTLS{Enabled: true, KeyFile: "x"} }, "tls.certificate_file"},
		{"version", func(s *config.Cluster) { s.KafkaVersion = "new" }, "kafka_version"},
		{"credentials in the clear", func(s *config.Cluster) { s.SASL = config.SASL{Mechanism: "PLAIN", Username: "u", Password: "p"} }, "allow_plaintext"},
		{"no password", func(s *config.Cluster) { s.SASL = config.SASL{Mechanism: "PLAIN", Username: "u"} }, "sasl.password"},
		{"mechanism", func(s *config.Cluster) { s.SASL = config.SASL{Mechanism: "GSSAPI"} }, "sasl.mechanism"},
		{"token endpoint in the clear", func(s *config.Cluster) {
			s.SASL = config.SASL{Mechanism: "OAUTHBEARER", OAuth: config.OAuth{TokenURL: "http://id.example/token", ClientID: "c", ClientSecret: "s"}}
		}, "https"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := settings("127.0.0.1:1")
			c.change(&s)
			client, err := Open(t.Context(), s, config.Produce{}, nil)
			if err == nil {
				_ = client.Close(t.Context())
				t.Fatal("it opens")
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), `"test"`) {
				t.Errorf("error %q names neither the cluster nor %s", err, c.want)
			}
		})
	}
}

func TestTLSFilesAreReadAgain(t *testing.T) {
	t.Parallel()
	first, second := newAuthority(t, "first"), newAuthority(t, "second")
	path := filepath.Join(t.TempDir(), "ca.pem")
	copyFile := func(from string, modified time.Time) {
		t.Helper()
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, modified, modified); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	copyFile(first.file, began)
	s := settings("127.0.0.1:1")
	s.TLS = config.ClientTLS{Enabled: true, CAFile: path}
	c := open(t, s, config.Produce{})
	trusts := func(a *authority) bool {
		config, err := c.security.tls.config("127.0.0.1:1")
		if err != nil {
			t.Fatal(err)
		}
		return config.RootCAs.Equal(a.pool())
	}
	if !trusts(first) {
		t.Error("the first authority is not trusted")
	}
	copyFile(second.file, began.Add(time.Second))
	if !trusts(second) {
		t.Error("the changed file was not read")
	}
	if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if !trusts(second) {
		t.Error("a broken file took the place of a good one")
	}
}

func TestTokenSource(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	status := atomic.Int32{}
	status.Store(http.StatusOK)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		user, password, _ := r.BasicAuth()
		if r.FormValue("grant_type") != "client_credentials" || r.FormValue("scope") != "a b" || user != "client%3A1" || password != "s%2Fcret" {
			t.Errorf("request: %v, %q, %q", r.Form, user, password)
		}
		w.WriteHeader(int(status.Load()))
		fmt.Fprintf(w, `{"access_token":"token-%d","token_type":"Bearer","expires_in":100,"error":"invalid_client"}`, asked.Load())
	}))
	defer server.Close()
	s, err := newTokenSource(config.OAuth{TokenURL: server.URL, ClientID: "client:1", ClientSecret: "s/cret", Scopes: []string{"a", "b"},
		Extensions: map[string]string{"logicalCluster": "lkc-1"}}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	s.now = func() time.Time { return now }
	want := func(token string, requests int32) {
		t.Helper()
		got, err := s.Token()
		if err != nil || got.Token != token || got.Extensions["logicalCluster"] != "lkc-1" || asked.Load() != requests {
			t.Errorf("token %+v, %v after %d requests; want %s after %d", got, err, asked.Load(), token, requests)
		}
	}
	want("token-1", 1)
	want("token-1", 1)
	now = now.Add(81 * time.Second)
	want("token-2", 2)
	status.Store(http.StatusUnauthorized)
	now = now.Add(81 * time.Second)
	want("token-2", 3) // none to be had, and the old one is good for a while
	now = now.Add(20 * time.Second)
	if _, err := s.Token(); err == nil || strings.Contains(err.Error(), "s/cret") || !strings.Contains(err.Error(), "invalid_client") {
		t.Errorf("an endpoint that refuses: %v", err)
	}
}
