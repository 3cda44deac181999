//go:build unix

package apachekafka

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Certificates are the PEM files that a client of a cluster with SASL needs, made anew for each cluster.
type Certificates struct {
	// AuthorityFile holds the authority that signed the brokers' and alice's certificates.
	AuthorityFile string
	// ClientFile and ClientKeyFile are alice's certificate and private key.
	ClientFile    string
	ClientKeyFile string

	brokerFile string // the brokers' key and certificate, as Kafka's PEM key store wants them
}

// makeCertificates writes an authority, a broker's certificate for 127.0.0.1 and localhost, and alice's.
func makeCertificates(directory string) (Certificates, error) {
	files := Certificates{
		AuthorityFile: filepath.Join(directory, "authority.pem"),
		ClientFile:    filepath.Join(directory, "alice.pem"),
		ClientKeyFile: filepath.Join(directory, "alice-key.pem"),
		brokerFile:    filepath.Join(directory, "broker.pem"),
	}
	now := time.Now()
	template := func(name string) *x509.Certificate {
		return &x509.Certificate{
			Subject:   pkix.Name{CommonName: name},
			NotBefore: now.Add(-time.Hour), NotAfter: now.Add(30 * 24 * time.Hour),
			KeyUsage: x509.KeyUsageDigitalSignature,
		}
	}
	authorityTemplate := template("Weir test authority")
	authorityTemplate.IsCA, authorityTemplate.BasicConstraintsValid = true, true
	authorityTemplate.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	authority, err := sign(authorityTemplate, nil)
	if err != nil {
		return files, err
	}
	brokerTemplate := template("broker")
	brokerTemplate.IPAddresses, brokerTemplate.DNSNames = []net.IP{net.IPv4(127, 0, 0, 1)}, []string{"localhost"}
	// Brokers are clients of each other.
	brokerTemplate.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	broker, err := sign(brokerTemplate, authority)
	if err != nil {
		return files, err
	}
	clientTemplate := template("alice")
	clientTemplate.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	client, err := sign(clientTemplate, authority)
	if err != nil {
		return files, err
	}
	for name, content := range map[string][]byte{
		files.AuthorityFile: authority.certificatePEM,
		files.brokerFile:    bytes.Join([][]byte{broker.keyPEM, broker.certificatePEM}, nil),
		files.ClientFile:    client.certificatePEM,
		files.ClientKeyFile: client.keyPEM,
	} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			return files, fmt.Errorf("write the test cluster's certificates: %w", err)
		}
	}
	return files, nil
}

type signed struct {
	certificate            *x509.Certificate
	key                    *ecdsa.PrivateKey
	certificatePEM, keyPEM []byte
}

// sign makes a key and a certificate for it, signed by the authority, or by itself without one.
func sign(template *x509.Certificate, authority *signed) (*signed, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	parent, parentKey := template, key
	if authority != nil {
		parent, parentKey = authority.certificate, authority.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		return nil, fmt.Errorf("sign the certificate of %s: %w", template.Subject.CommonName, err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read back the certificate of %s: %w", template.Subject.CommonName, err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode the key of %s: %w", template.Subject.CommonName, err)
	}
	return &signed{
		certificate:    certificate,
		key:            key,
		certificatePEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		keyPEM:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}, nil
}
