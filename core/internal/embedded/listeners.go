package embedded

import (
	"net"
	"sync"
	"sync/atomic"
)

// listeners are the brokers' sockets, in the order of the brokers' ids, with a gate in each.
type listeners struct {
	mu    sync.Mutex
	gates []*gate
}

// listen is kfake's hook: it is called once for each broker, in order.
func (l *listeners) listen(network, address string) (net.Listener, error) {
	inner, err := net.Listen(network, address)
	if err != nil {
		return nil, err
	}
	g := &gate{conns: map[*gatedConn]struct{}{}, open: make(chan struct{})}
	close(g.open)
	l.mu.Lock()
	l.gates = append(l.gates, g)
	l.mu.Unlock()
	return &gatedListener{Listener: inner, gate: g}, nil
}

func (l *listeners) node(node int32) (*gate, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if node < 0 || int(node) >= len(l.gates) {
		return nil, errNoSuchNode
	}
	return l.gates[node], nil
}

func (l *listeners) resumeAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, g := range l.gates {
		g.set(gateOpen)
	}
}

type gateState int

const (
	gateOpen    gateState = iota
	gateFrozen            // connections stay, nothing is read from them
	gateRefused           // connections are cut, new ones are closed at once
)

// gate is what one broker's sockets obey.
type gate struct {
	mu    sync.Mutex
	state gateState
	open  chan struct{} // closed while the state is not frozen
	conns map[*gatedConn]struct{}

	swallow atomic.Int32 // this many of the next answers are not sent, and their connections closed
}

func (g *gate) set(state gateState) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state == gateFrozen && state != gateFrozen {
		close(g.open)
	}
	if g.state != gateFrozen && state == gateFrozen {
		g.open = make(chan struct{})
	}
	g.state = state
	if state == gateRefused {
		for c := range g.conns {
			c.Conn.Close() // the broker's reader sees the error and cleans up
		}
	}
}

// cut closes every connection that is open now.
func (g *gate) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.conns {
		c.Conn.Close()
	}
}

// wait blocks while the broker is frozen, until the connection is closed.
func (g *gate) wait(closed <-chan struct{}) {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	select {
	case <-open:
	case <-closed:
	}
}

type gatedListener struct {
	net.Listener
	gate *gate
}

func (l *gatedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		g := l.gate
		g.mu.Lock()
		if g.state == gateRefused {
			g.mu.Unlock()
			conn.Close()
			continue
		}
		c := &gatedConn{Conn: conn, gate: g, closed: make(chan struct{})}
		g.conns[c] = struct{}{}
		g.mu.Unlock()
		return c, nil
	}
}

type gatedConn struct {
	net.Conn
	gate   *gate
	once   sync.Once
	closed chan struct{}
}

// Read passes what arrived only while the broker is not frozen: bytes that came during the freeze are handed on after it,
// as they are by a process that was stopped.
func (c *gatedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.gate.wait(c.closed)
	return n, err
}

// Write holds answers back too: a stopped process sends nothing.
func (c *gatedConn) Write(p []byte) (int, error) {
	c.gate.wait(c.closed)
	for n := c.gate.swallow.Load(); n > 0; n = c.gate.swallow.Load() {
		if c.gate.swallow.CompareAndSwap(n, n-1) {
			c.Close()
			return 0, net.ErrClosed
		}
	}
	return c.Conn.Write(p)
}

func (c *gatedConn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.gate.mu.Lock()
		delete(c.gate.conns, c)
		c.gate.mu.Unlock()
	})
	return c.Conn.Close()
}
