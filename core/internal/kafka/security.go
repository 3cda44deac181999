package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"

	"github.com/weir-gateway/weir/core/config"
)

// security is how connections to a cluster's brokers are protected and authenticated.
type security struct {
	tls   *tlsSource // nil: plaintext
	sasl  config.SASL
	oauth *tokenSource // only for OAUTHBEARER
}

// newSecurity checks everything that can be checked without a broker.
func newSecurity(settings config.Cluster, logger *slog.Logger) (*security, error) {
	s := &security{sasl: settings.SASL}
	if settings.TLS.Enabled {
		source, err := newTLSSource(settings.TLS, logger)
		if err != nil {
			return nil, err
		}
		s.tls = source
	}
	sasl := settings.SASL
	switch sasl.Mechanism {
	case "":
		return s, nil
	case sarama.SASLTypePlaintext, sarama.SASLTypeSCRAMSHA256, sarama.SASLTypeSCRAMSHA512:
		if sasl.Username == "" || sasl.Password == "" {
			return nil, fmt.Errorf("sasl.mechanism is %s, which needs sasl.username and sasl.password", sasl.Mechanism)
		}
	case sarama.SASLTypeOAuth:
		source, err := newTokenSource(sasl.OAuth, settings.DialTimeout)
		if err != nil {
			return nil, err
		}
		s.oauth = source
	default:
		return nil, fmt.Errorf("sasl.mechanism %q is not one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER", sasl.Mechanism)
	}
	if s.tls == nil && !sasl.AllowPlaintext {
		return nil, fmt.Errorf("sasl.mechanism %s would send credentials without TLS: turn tls.enabled on, or set sasl.allow_plaintext", sasl.Mechanism)
	}
	return s, nil
}

// apply sets SASL in a sarama configuration. TLS is not there on purpose: the dialer does it.
func (s *security) apply(c *sarama.Config) {
	if s.sasl.Mechanism == "" {
		return
	}
	c.Net.SASL.Enable = true
	c.Net.SASL.Handshake = true
	c.Net.SASL.Version = sarama.SASLHandshakeV1
	c.Net.SASL.Mechanism = sarama.SASLMechanism(s.sasl.Mechanism)
	c.Net.SASL.User = s.sasl.Username
	c.Net.SASL.Password = s.sasl.Password.Reveal()
	switch c.Net.SASL.Mechanism {
	case sarama.SASLTypeSCRAMSHA256:
		c.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &scramClient{hash: scram.SHA256} }
	case sarama.SASLTypeSCRAMSHA512:
		c.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &scramClient{hash: scram.SHA512} }
	case sarama.SASLTypeOAuth:
		c.Net.SASL.TokenProvider = s.oauth
	}
}

// scramClient is one SCRAM conversation (RFC 5802) for sarama.
type scramClient struct {
	hash         scram.HashGeneratorFcn
	conversation *scram.ClientConversation
}

func (c *scramClient) Begin(user, password, authorization string) error {
	client, err := c.hash.NewClient(user, password, authorization)
	if err != nil {
		return fmt.Errorf("sasl: the username or the password cannot be used with SCRAM: %w", err)
	}
	c.conversation = client.NewConversation()
	return nil
}

func (c *scramClient) Step(challenge string) (string, error) { return c.conversation.Step(challenge) }

func (c *scramClient) Done() bool { return c.conversation.Done() }

// tlsSource gives the TLS configuration of each new connection, from files that it reads again when they change. A change
// that cannot be used is logged once and the configuration before it stays.
type tlsSource struct {
	settings config.ClientTLS
	logger   *slog.Logger

	mu      sync.Mutex
	current *tls.Config
	stamp   fileStamp
	refused fileStamp // the stamp of the last change that could not be used
}

func newTLSSource(settings config.ClientTLS, logger *slog.Logger) (*tlsSource, error) {
	s := &tlsSource{settings: settings, logger: logger}
	s.stamp = stampOf(settings.CAFile, settings.CertificateFile, settings.KeyFile)
	loaded, err := s.load()
	if err != nil {
		return nil, err
	}
	s.current = loaded
	return s, nil
}

func (s *tlsSource) load() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: s.settings.InsecureSkipVerify}
	if path := s.settings.CAFile; path != "" {
		pem, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("tls.ca_file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.ca_file: %s holds no certificate in PEM form", path)
		}
	}
	if (s.settings.CertificateFile == "") != (s.settings.KeyFile == "") {
		return nil, fmt.Errorf("tls.certificate_file and tls.key_file belong together: give both or neither")
	}
	if s.settings.CertificateFile != "" {
		pair, err := tls.LoadX509KeyPair(s.settings.CertificateFile, s.settings.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("tls.certificate_file %s with tls.key_file %s: %w", s.settings.CertificateFile, s.settings.KeyFile, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// config is the configuration for a connection to address.
func (s *tlsSource) config(address string) (*tls.Config, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	stamp := stampOf(s.settings.CAFile, s.settings.CertificateFile, s.settings.KeyFile)
	if stamp != s.stamp && stamp != s.refused {
		if loaded, err := s.load(); err != nil {
			s.refused = stamp
			s.logger.Error("changed TLS files of the Kafka connection cannot be used; the ones before stay", "error", err)
		} else {
			s.current, s.stamp = loaded, stamp
		}
	}
	c := s.current.Clone()
	s.mu.Unlock()
	c.ServerName = host
	if s.settings.ServerName != "" {
		c.ServerName = s.settings.ServerName
	}
	return c, nil
}

// fileStamp tells versions of up to three files apart.
type fileStamp [3]struct {
	modified time.Time
	size     int64
}

func stampOf(paths ...string) (stamp fileStamp) {
	for i, path := range paths {
		if path == "" {
			continue
		}
		if info, err := os.Stat(path); err == nil {
			stamp[i].modified, stamp[i].size = info.ModTime(), info.Size()
		}
	}
	return stamp
}
