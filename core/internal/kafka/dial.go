package kafka

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"time"
)

// Stage is how far a connection attempt came.
type Stage string

// The stages of a connection attempt, in their order.
const (
	StageConnect Stage = "connect" // TCP, name resolution included
	StageTLS     Stage = "TLS handshake"
)

// DialError is a connection that could not be made.
type DialError struct {
	Address string
	Stage   Stage
	Err     error
}

func (e *DialError) Error() string {
	return fmt.Sprintf("kafka broker %s: %s failed: %v", e.Address, e.Stage, e.Err)
}

func (e *DialError) Unwrap() error { return e.Err }

var (
	errPlaintextToTLS = &protocolError{"the broker speaks TLS and the connection is plaintext"}
	errNotKafka       = &protocolError{"what answers there is not a Kafka broker"}
)

// protocolError is the other side speaking something else. It is a net.Error because sarama gives a connection up for those
// and would otherwise go on to ask again.
type protocolError struct{ text string }

func (e *protocolError) Error() string   { return e.text }
func (e *protocolError) Timeout() bool   { return false }
func (e *protocolError) Temporary() bool { return false }

// dialer makes one connection: TCP, then TLS if the settings say so. sarama is never told about TLS: so an attempt can be
// abandoned at any point, certificates are read anew for each connection, and every failure has its stage.
type dialer struct {
	security *security
	timeout  time.Duration
	wrap     func(net.Conn) net.Conn // nil: as it is

	mu      sync.Mutex
	conn    net.Conn
	cancel  context.CancelFunc
	aborted bool
}

// Dial is called by sarama once for each connection it opens.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), d.timeout)
	defer cancel()
	d.mu.Lock()
	if d.aborted {
		d.mu.Unlock()
		return nil, &DialError{Address: address, Stage: StageConnect, Err: context.Canceled}
	}
	d.cancel = cancel
	d.mu.Unlock()

	conn, err := (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext(ctx, network, address)
	if err != nil {
		return nil, &DialError{Address: address, Stage: StageConnect, Err: err}
	}
	if d.security.tls != nil {
		config, err := d.security.tls.config(address)
		if err != nil {
			conn.Close()
			return nil, &DialError{Address: address, Stage: StageTLS, Err: err}
		}
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, &DialError{Address: address, Stage: StageTLS, Err: err}
		}
		conn = secure
	}
	conn = &guardedConn{Conn: conn}
	if d.wrap != nil {
		conn = d.wrap(conn)
	}

	d.mu.Lock()
	defer d.mu.Unlock()
	if d.aborted {
		conn.Close()
		return nil, &DialError{Address: address, Stage: StageConnect, Err: context.Canceled}
	}
	d.conn = conn
	return conn, nil
}

// abort ends the attempt or the connection: whoever waits on it gets an error soon.
func (d *dialer) abort() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.aborted = true
	if d.cancel != nil {
		d.cancel()
	}
	if d.conn != nil {
		d.conn.Close()
	}
}

// maxFirstFrame bounds the first answer on a connection, an ApiVersions answer of some hundred bytes.
const maxFirstFrame = 16 << 20

// guardedConn looks at the first bytes that come back. sarama takes the first four for a length and allocates it unseen: the
// alert of a TLS listener would cost it 352 MB, an HTTP server's answer 1.2 GB.
type guardedConn struct {
	net.Conn
	seen    bool
	refused error
}

func (c *guardedConn) Read(p []byte) (int, error) {
	if c.refused != nil {
		return 0, c.refused
	}
	n, err := c.Conn.Read(p)
	if c.seen || n < 4 {
		c.seen = c.seen || n > 0
		return n, err
	}
	c.seen = true
	if p[0] == 0x15 && p[1] == 0x03 { // a TLS alert record
		c.refused = errPlaintextToTLS
	}
	if size := binary.BigEndian.Uint32(p); c.refused == nil && size > maxFirstFrame {
		c.refused = errNotKafka
	}
	if c.refused != nil {
		return 0, c.refused
	}
	return n, err
}
