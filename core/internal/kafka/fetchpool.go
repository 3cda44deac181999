package kafka

import (
	"container/list"
	"context"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
)

const (
	// shareTurn is how long all who read from a broker take for one turn each once there are more of them than connections: the
	// longest that anyone waits for a connection while the broker answers.
	shareTurn = 200 * time.Millisecond
	// longestThrottle bounds how long a broker's quota keeps a connection from being used.
	longestThrottle = time.Minute
	// longestSilence is how long after its wait is over, and between two pieces of its answer, a broker may be silent to a fetch that nobody
	// wants any more. A broker that hangs would keep what the fetch has reserved until the connection's read timeout.
	longestSilence = time.Second
)

// FetchPool is the connections on which records are read, apart from those for metadata and produce: a fetch waits at the broker for
// records to come, and whatever else were sent on its connection would wait with it.
//
// Each broker has at most limit of them, made when they are needed and closed when they have been idle. A connection serves one fetch
// at a time; fetches for which there is none wait in the order in which they came.
type FetchPool struct {
	connections *pool
	dialLongest time.Duration
	idleLongest time.Duration
	limit       int
	done        chan struct{}
	workers     sync.WaitGroup

	mu     sync.Mutex
	closed bool
	lanes  map[string]*lane
}

// Fetch is one fetch request on its way. It must not be changed between Submit and Done.
type Fetch struct {
	// Request is what is sent. The pool sets its MaxWaitTime.
	Request *sarama.FetchRequest
	// Wait is the longest that the broker may wait for records. It waits less when others want the connection.
	Wait time.Duration
	// Until is when the answer is wanted at the latest: the broker does not wait beyond it.
	Until time.Time
	// Begin, if not nil, is called when there is a connection, on the pool's goroutine; it may wait, and may change Wait. At an error
	// nothing is sent.
	Begin func() error
	// Done is called once, on a goroutine of the pool, with the answer or with why there is none. It must not block.
	Done func(*sarama.FetchResponse, error)
	// Size is how many bytes the answer was, as it came; it is there when Done is called.
	Size int

	lane  *lane
	place *list.Element // in the queue of the lane, while it is there
	signs int           // of the lane, when the fetch came

	unwanted bool        // withdrawn when it was not waiting for a connection any more
	conn     *connection // while the answer is awaited
	due      time.Time   // when the broker's wait is over
	received int64       // on the connection, when it was looked at last
	watch    *time.Timer // of an unwanted fetch
}

// lane is the connections to one broker, each with a goroutine of its own, and the fetches that wait for them.
type lane struct {
	address string
	queue   list.List       // of *Fetch
	idle    []chan<- *Fetch // one for each idle connection, the one used last at the end
	workers int
	dialing int // of the workers
	signs   int // of life: connections made and answers that came
}

// NewFetchPool makes a pool of at most limit connections to each broker of the cluster.
func NewFetchPool(client *Client, limit int) *FetchPool {
	connections := newPool(client.base, client.security)
	connections.wrap = func(conn net.Conn) net.Conn { return &countedConn{Conn: conn} }
	return &FetchPool{
		connections: connections,
		dialLongest: client.settings.DialTimeout + client.settings.RequestTimeout,
		idleLongest: idleLongest,
		limit:       max(1, limit),
		done:        make(chan struct{}),
		lanes:       map[string]*lane{},
	}
}

// Submit sends a fetch to the broker at an address, as soon as a connection to it is free. It does not wait.
func (p *FetchPool) Submit(address string, f *Fetch) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		f.Done(nil, sarama.ErrClosedClient)
		return
	}
	l := p.lanes[address]
	if l == nil {
		l = &lane{address: address}
		p.lanes[address] = l
	}
	f.lane, f.signs = l, l.signs
	if n := len(l.idle); n > 0 {
		seat := l.idle[n-1]
		l.idle = l.idle[:n-1]
		p.mu.Unlock()
		seat <- f // has room for it
		return
	}
	f.place = l.queue.PushBack(f)
	p.hireLocked(l)
	p.mu.Unlock()
}

// Withdraw takes back a fetch that still waits for a connection. If it was not waiting, Done has been called or will be: the answer is not
// waited for when its connection stays silent for a second after the broker's wait is over, and the connection is given up. silent says
// that nothing at all has come from the broker since Submit: it is not that others had the connections, it does not answer.
func (p *FetchPool) Withdraw(f *Fetch) (waited, silent bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.place == nil {
		f.unwanted = true
		p.watchLocked(f)
		return false, false
	}
	f.lane.queue.Remove(f.place)
	f.place = nil
	return true, f.lane.signs == f.signs
}

// watchLocked looks after the answer to a fetch that nobody wants.
func (p *FetchPool) watchLocked(f *Fetch) {
	if f.conn != nil && f.watch == nil {
		f.watch = time.AfterFunc(time.Until(f.due.Add(longestSilence)), func() { p.look(f) })
	}
}

// look gives up the connection of an unwanted fetch if nothing has come on it since the last look.
func (p *FetchPool) look(f *Fetch) {
	p.mu.Lock()
	conn := f.conn
	if conn != nil {
		if received := conn.received(); received != f.received {
			f.received = received
			f.watch.Reset(longestSilence)
			conn = nil
		}
	}
	p.mu.Unlock()
	if conn != nil {
		conn.dialer.abort() // not with the lock: TLS says goodbye. If the answer comes now, the next fetch is sent again on a new one
	}
}

// Close closes all connections. Fetches that are under way, or wait, end with an error.
func (p *FetchPool) Close() {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.closed = true
	close(p.done)
	var waiting []*Fetch
	for _, l := range p.lanes {
		for f := l.popLocked(); f != nil; f = l.popLocked() {
			waiting = append(waiting, f)
		}
	}
	p.mu.Unlock()
	p.connections.close()
	for _, f := range waiting {
		f.Done(nil, sarama.ErrClosedClient)
	}
	p.workers.Wait()
}

// hireLocked makes one more connection if fetches wait for more than are being made.
func (p *FetchPool) hireLocked(l *lane) {
	if p.closed || l.queue.Len() <= l.dialing || l.workers >= p.limit {
		return
	}
	l.workers++
	l.dialing++
	p.workers.Add(1)
	go p.work(l)
}

func (l *lane) popLocked() *Fetch {
	front := l.queue.Front()
	if front == nil {
		return nil
	}
	f := l.queue.Remove(front).(*Fetch)
	f.place = nil
	return f
}

// work makes a connection and serves fetches on it until it breaks, has been idle for long, or the pool is closed.
func (p *FetchPool) work(l *lane) {
	defer p.workers.Done()
	conn, err := p.connect(l.address)
	p.mu.Lock()
	l.dialing--
	if err != nil {
		f := l.popLocked() // each attempt that fails is the answer to one of those who wait
		p.leaveLocked(l)
		p.mu.Unlock()
		if f != nil {
			f.Done(nil, &callError{address: l.address, err: err})
		}
		return
	}
	l.signs++
	p.mu.Unlock()

	seat := make(chan *Fetch, 1)
	var previous func() // hands over the answer of the fetch before
	fresh := true
	for {
		f := p.take(l, seat, previous)
		if f == nil {
			p.connections.drop(conn)
			return
		}
		var response *sarama.FetchResponse
		conn, response, err = p.serve(l, conn, fresh, f)
		fresh = false
		if conn == nil {
			p.mu.Lock()
			p.leaveLocked(l)
			p.mu.Unlock()
			f.Done(nil, err)
			return
		}
		previous = func() { f.Done(response, err) }
		if response != nil && response.ThrottleTime > 0 {
			previous()
			previous = nil
			p.pause(min(response.ThrottleTime, longestThrottle)) // sarama would wait too, and could not be stopped
		}
	}
}

// leaveLocked counts a worker out, and lets another take its place if it is needed.
func (p *FetchPool) leaveLocked(l *lane) {
	l.workers--
	p.hireLocked(l)
	if l.workers == 0 && l.queue.Len() == 0 && p.lanes[l.address] == l {
		delete(p.lanes, l.address)
	}
}

// take gives the next fetch, or nil when the connection has been idle for long enough. The connection is free for others before
// the answer of the fetch before is handed over, so that who asks again at once finds it.
func (p *FetchPool) take(l *lane, seat chan *Fetch, previous func()) *Fetch {
	p.mu.Lock()
	f := l.popLocked()
	if f == nil {
		l.idle = append(l.idle, seat)
	}
	p.mu.Unlock()
	if previous != nil {
		previous()
	}
	if f != nil {
		return f
	}
	timer := time.NewTimer(p.idleLongest)
	defer timer.Stop()
	select {
	case f = <-seat:
		return f
	case <-timer.C:
	case <-p.done:
	}
	p.mu.Lock()
	i := slices.IndexFunc(l.idle, func(other chan<- *Fetch) bool { return other == seat })
	if i < 0 { // somebody was quicker
		p.mu.Unlock()
		return <-seat
	}
	l.idle = slices.Delete(l.idle, i, i+1)
	p.leaveLocked(l)
	p.mu.Unlock()
	return nil
}

// serve makes one fetch. It gives the connection to go on with, which is nil when it broke.
//
// A connection that was idle may be one that the broker closed meanwhile, which says nothing about the broker: the fetch, which
// changes nothing there, is sent again on a new one.
func (p *FetchPool) serve(l *lane, conn *connection, fresh bool, f *Fetch) (*connection, *sarama.FetchResponse, error) {
	if f.Begin != nil {
		if err := f.Begin(); err != nil {
			return conn, nil, err
		}
	}
	for {
		if !p.began(l, conn, f) {
			return conn, nil, context.Canceled
		}
		before := conn.received()
		response, err := conn.broker.Fetch(f.Request)
		f.Size = int(conn.received() - before)
		wanted := p.ended(l, f, err == nil)
		if err == nil {
			return conn, response, nil
		}
		p.connections.drop(conn)
		if !wanted || fresh || !isConnection(err) || isTimeout(err) {
			return nil, nil, &callError{address: l.address, err: err}
		}
		fresh = true
		if conn, err = p.connect(l.address); err != nil {
			return nil, nil, &callError{address: l.address, err: err}
		}
	}
}

// began notes that a fetch is about to be sent on a connection, and reports whether it is still wanted.
func (p *FetchPool) began(l *lane, conn *connection, f *Fetch) (wanted bool) {
	received := conn.received()
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.unwanted {
		return false
	}
	wait := p.waitLocked(l, f)
	f.Request.MaxWaitTime = int32(wait / time.Millisecond)
	f.conn, f.received, f.due = conn, received, time.Now().Add(wait)
	return true
}

// ended notes that a fetch has come to its end, and reports whether somebody wanted it until then.
func (p *FetchPool) ended(l *lane, f *Fetch, answered bool) (wanted bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f.conn = nil
	if f.watch != nil {
		f.watch.Stop()
		f.watch = nil
	}
	if answered {
		l.signs++ // before the connection is free: whoever has it next sees that the broker lives
	}
	return !f.unwanted
}

// countedConn counts what comes.
type countedConn struct {
	net.Conn
	received atomic.Int64
}

func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.received.Add(int64(n))
	return n, err
}

// received is how many bytes have come on a connection of this pool.
func (c *connection) received() int64 {
	c.dialer.mu.Lock()
	defer c.dialer.mu.Unlock()
	if counted, is := c.dialer.conn.(*countedConn); is {
		return counted.received.Load()
	}
	return 0
}

// waitLocked is how long the broker may wait for records: all who want its connections have their turn within shareTurn.
func (p *FetchPool) waitLocked(l *lane, f *Fetch) time.Duration {
	demand := l.workers - len(l.idle) + l.queue.Len()
	wait := min(f.Wait, time.Until(f.Until))
	if 2*demand > p.limit {
		wait = min(wait, shareTurn*time.Duration(p.limit)/time.Duration(max(demand, p.limit)))
	}
	return max(wait, 0)
}

func (p *FetchPool) connect(address string) (*connection, error) {
	ctx, cancel := context.WithTimeout(context.Background(), p.dialLongest) // Close ends it too
	defer cancel()
	return p.connections.connect(ctx, address)
}

func (p *FetchPool) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.done:
	}
}

// Connections is how many connections there are, those being made included.
func (p *FetchPool) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, l := range p.lanes {
		n += l.workers
	}
	return n
}
