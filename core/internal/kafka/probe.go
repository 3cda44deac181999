package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/config"
)

// Cause names what is wrong with the way to a broker.
type Cause string

// The causes that Probe tells apart.
const (
	CauseNone             Cause = "ok"
	CauseSettings         Cause = "settings"            // they cannot work with any broker
	CauseDNS              Cause = "dns"                 // the host name does not resolve
	CauseRefused          Cause = "refused"             // nothing listens there
	CauseTimeout          Cause = "timeout"             // no answer: firewall, wrong address, hung broker
	CauseTLSName          Cause = "tls_name"            // the certificate is for another name
	CauseTLSAuthority     Cause = "tls_authority"       // the certificate's authority is not trusted
	CauseTLSClock         Cause = "tls_clock"           // expired, or not valid yet: the certificate or a clock
	CauseTLSClient        Cause = "tls_client"          // the broker does not accept our certificate, or wants one
	CauseTLSToPlaintext   Cause = "tls_to_plaintext"    // we speak TLS, the listener does not
	CausePlaintextToTLS   Cause = "plaintext_to_tls"    // the listener speaks TLS, we do not
	CauseNotKafka         Cause = "not_kafka"           // something else listens there
	CauseSASLRequired     Cause = "sasl_required"       // the listener wants SASL and we have none
	CauseSASLNotEnabled   Cause = "sasl_not_enabled"    // the listener takes no SASL
	CauseSASLMechanism    Cause = "sasl_mechanism"      // it takes SASL, but not this mechanism
	CauseSASLCredentials  Cause = "sasl_credentials"    // wrong user, password or token
	CauseUnauthorised     Cause = "unauthorised"        // we are known and may not
	CauseWrongCluster     Cause = "wrong_cluster"       // the cluster id is not the pinned one
	CauseUnreachableOther Cause = "advertised_listener" // brokers name an address that cannot be reached from here
	CauseOther            Cause = "other"
)

// Diagnosis is what one address was found to be. As an error it reads: where, what, and the cure.
type Diagnosis struct {
	Cause   Cause
	Address string
	Err     error // nil exactly with CauseNone
	Cure    string
}

func (d *Diagnosis) Error() string {
	text := string(d.Cause)
	if d.Err != nil {
		text = plain(d.Err)
	}
	if d.Address != "" && !strings.Contains(text, d.Address) {
		text = d.Address + ": " + text
	}
	if d.Cure != "" {
		text += " (" + d.Cure + ")"
	}
	return text
}

func (d *Diagnosis) Unwrap() error { return d.Err }

// plain is an error's text without the wrappings of this package.
func plain(err error) string {
	var call *callError
	if errors.As(err, &call) {
		return call.address + ": " + plain(call.err)
	}
	var dial *DialError
	if errors.As(err, &dial) {
		return fmt.Sprintf("%s: %s: %v", dial.Address, dial.Stage, dial.Err)
	}
	return strings.ReplaceAll(err.Error(), "kafka server: ", "")
}

// diagnose names the cause of a failure.
func diagnose(address string, err error, settings config.Cluster) *Diagnosis {
	cause, cure := causeOf(err, settings)
	return &Diagnosis{Cause: cause, Address: address, Err: err, Cure: cure}
}

func causeOf(err error, settings config.Cluster) (Cause, string) {
	if code, ok := codeOf(err); ok {
		switch code {
		case sarama.ErrSASLAuthenticationFailed:
			return CauseSASLCredentials, "check sasl.username, sasl.password or sasl.oauth"
		case sarama.ErrUnsupportedSASLMechanism:
			return CauseSASLMechanism, fmt.Sprintf("the listener does not take %s: set sasl.mechanism to one that it has enabled", settings.SASL.Mechanism)
		case sarama.ErrIllegalSASLState:
			return CauseSASLNotEnabled, "the listener takes no SASL: unset sasl.mechanism or use the port of the SASL listener"
		case sarama.ErrClusterAuthorizationFailed, sarama.ErrTopicAuthorizationFailed:
			return CauseUnauthorised, "grant the gateway's principal DESCRIBE and WRITE on the topics that it serves"
		}
		return CauseOther, ""
	}
	if errors.Is(err, errWrongCluster) {
		return CauseWrongCluster, "correct bootstrap_servers or id"
	}
	if cause, cure := tlsCause(err); cause != "" {
		return cause, cure
	}
	var dns *net.DNSError
	var dial *DialError
	isDial := errors.As(err, &dial)
	switch {
	case errors.As(err, &dns):
		return CauseDNS, "the name does not resolve here: check bootstrap_servers and the resolver"
	case errors.Is(err, syscall.ECONNREFUSED):
		return CauseRefused, "nothing listens there: is the broker up, and is this its port?"
	case isTimeout(err), errors.Is(err, context.DeadlineExceeded):
		return CauseTimeout, "no answer in time: check the address, firewalls, and that the broker is alive"
	case errors.Is(err, errNotKafka):
		return CauseNotKafka, "use the port of a Kafka listener"
	case isEnd(err) && !isDial && settings.SASL.Mechanism == "":
		return CauseSASLRequired, "the broker closed the connection without a word, as a SASL listener does: set sasl.mechanism, or use the port of a listener without SASL"
	case isEnd(err) && !isDial:
		return CauseSASLCredentials, "the broker closed the connection during authentication: check sasl.username and sasl.password, and that the listener speaks SASL"
	}
	return CauseOther, ""
}

func tlsCause(err error) (Cause, string) {
	var host x509.HostnameError
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var alert tls.AlertError
	var header tls.RecordHeaderError
	var dial *DialError
	switch {
	case errors.Is(err, errPlaintextToTLS):
		return CausePlaintextToTLS, "set tls.enabled"
	case errors.As(err, &host):
		return CauseTLSName, "set tls.server_name to a name in the broker's certificate, or dial the broker by such a name"
	case errors.As(err, &authority):
		return CauseTLSAuthority, "set tls.ca_file to the authority that signed the broker's certificate"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		if now := time.Now(); invalid.Cert != nil && now.Before(invalid.Cert.NotBefore) {
			return CauseTLSClock, fmt.Sprintf("the certificate is valid from %s and the clock here says %s: check this machine's clock",
				invalid.Cert.NotBefore.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
		}
		return CauseTLSClock, "renew the broker's certificate, or check this machine's clock"
	case isCertificate(err):
		return CauseTLSAuthority, "the broker's certificate cannot be used for this purpose"
	case errors.As(err, &alert), strings.Contains(err.Error(), "remote error: tls:"):
		return CauseTLSClient, "the broker refused the TLS session: it may want a client certificate (tls.certificate_file and tls.key_file), or not trust ours"
	case errors.As(err, &header):
		return CauseTLSToPlaintext, "unset tls.enabled, or use the port of the TLS listener"
	case errors.As(err, &dial) && dial.Stage == StageTLS && isEnd(err): // silence is no sign of plaintext: a hung broker is silent too
		return CauseTLSToPlaintext, "the connection was closed during the TLS handshake, as from a listener without TLS: unset tls.enabled, or use the port of the TLS listener"
	}
	return "", ""
}

func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// Probe tries every bootstrap address, then every broker that the cluster names, and gives one diagnosis for each. It needs
// no client and leaves nothing behind but a producer id. It takes at most the admin timeout for each address.
func Probe(ctx context.Context, settings config.Cluster) []Diagnosis {
	security, err := newSecurity(settings, slog.New(slog.DiscardHandler))
	if err != nil {
		return []Diagnosis{{Cause: CauseSettings, Err: err, Cure: "correct the cluster's settings"}}
	}
	base, err := newConfig(settings, security)
	if err != nil {
		return []Diagnosis{{Cause: CauseSettings, Err: err, Cure: "correct the cluster's settings"}}
	}
	pool := newPool(base, security)
	defer pool.close()
	p := &prober{settings: settings, base: base, pool: pool, seen: map[string]bool{}}
	var found []Diagnosis
	for _, address := range settings.BootstrapServers {
		found = append(found, *p.probe(ctx, address))
	}
	for _, address := range p.advertised {
		if p.seen[address] {
			continue
		}
		d := p.probe(ctx, address)
		if d.Cause == CauseDNS || d.Cause == CauseRefused || d.Cause == CauseTimeout {
			d.Cause = CauseUnreachableOther
			d.Cure = "the brokers advertise this address and it cannot be reached from here: correct their advertised.listeners, or open the way. " + d.Cure
		}
		found = append(found, *d)
	}
	return found
}

type prober struct {
	settings   config.Cluster
	base       *sarama.Config
	pool       *pool
	seen       map[string]bool
	advertised []string
}

func (p *prober) probe(ctx context.Context, address string) *Diagnosis {
	p.seen[address] = true
	ctx, cancel := context.WithTimeout(ctx, p.settings.AdminTimeout)
	defer cancel()
	if err := p.talk(ctx, address); err != nil {
		if isEnd(err) && !p.settings.TLS.Enabled && speaksTLS(ctx, address) {
			err = errors.Join(errPlaintextToTLS, err)
		}
		return diagnose(address, err, p.settings)
	}
	return &Diagnosis{Cause: CauseNone, Address: address}
}

// speaksTLS asks whether a listener that closed a plaintext connection answers a TLS handshake. It looks at nothing else, so
// any certificate will do.
func speaksTLS(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(ctx, "tcp", address)
	if err == nil {
		conn.Close()
		return true
	}
	var alert tls.AlertError
	return errors.As(err, &alert) || strings.Contains(err.Error(), "remote error: tls:")
}

// talk goes as far as the gateway itself needs to come: metadata, and the producer id without which nothing can be sent.
func (p *prober) talk(ctx context.Context, address string) error {
	conn, err := p.pool.connect(ctx, address)
	if err != nil {
		return err
	}
	defer p.pool.drop(conn)
	stop := context.AfterFunc(ctx, conn.dialer.abort)
	defer stop()
	metadata, err := conn.broker.GetMetadata(sarama.NewMetadataRequest(p.base.Version, []string{quietTopic}))
	if err != nil {
		return errors.Join(err, ctx.Err())
	}
	for _, b := range metadata.Brokers {
		p.advertised = append(p.advertised, b.Addr())
	}
	if reported := deref(metadata.ClusterID); p.settings.ID != "" && reported != "" && reported != p.settings.ID {
		return fmt.Errorf("%w: the configuration pins cluster id %q and they report %q", errWrongCluster, p.settings.ID, reported)
	}
	request := &sarama.InitProducerIDRequest{Version: initProducerIDVersion(p.base.Version), ProducerID: -1, ProducerEpoch: -1}
	for {
		id, err := conn.broker.InitProducerID(request)
		if err != nil {
			return errors.Join(err, ctx.Err())
		}
		if id.Err == sarama.ErrNoError {
			return nil
		}
		// A cluster that has just started loads its coordinators first.
		if !answers[int16(id.Err)].retriable {
			return id.Err
		}
		timer := time.NewTimer(electionPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return id.Err
		}
	}
}

func initProducerIDVersion(version sarama.KafkaVersion) int16 {
	switch {
	case version.IsAtLeast(sarama.V2_7_0_0):
		return 4
	case version.IsAtLeast(sarama.V2_5_0_0):
		return 3
	case version.IsAtLeast(sarama.V2_4_0_0):
		return 2
	case version.IsAtLeast(sarama.V2_0_0_0):
		return 1
	}
	return 0
}
