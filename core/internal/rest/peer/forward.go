package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/weir-gateway/weir/core/identity"
	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/rest"
)

// refusedHeader marks the answers of the internal listener itself, which are no client's.
const refusedHeader = "Weir-Peer-Refused"

// buffers are what answers are copied through.
type buffers struct{ pool sync.Pool }

// bufferSize is how much of an answer is copied at once.
const bufferSize = 32 << 10

func (b *buffers) Get() []byte {
	if buffer, ok := b.pool.Get().(*[]byte); ok {
		return *buffer
	}
	return make([]byte, bufferSize)
}

func (b *buffers) Put(buffer []byte) { b.pool.Put(&buffer) }

// Forward passes a request on to a node, once, and its answer back as it comes. What the client sent as the headers of peers is taken
// away. The end of r's context, as when the client disconnects, ends the request there.
func (p *Peers) Forward(w http.ResponseWriter, r *http.Request, to string, call rest.Call) error {
	peer := p.peers[to]
	if peer == nil {
		return rest.ErrUnreachable // a hint of a node that is no longer one
	}
	alive := peer.life()
	if alive.Err() != nil {
		return rest.ErrUnreachable
	}
	facts := map[string]string{factRequestID: call.RequestID, factBaseURL: call.BaseURL, factRemote: call.RemoteAddr}
	header, err := p.signer.sign(callAudience, to, call.Principal, r.Method, r.URL.RequestURI(), facts)
	if err != nil {
		return fault.Wrap(fault.HeaderTooLarge, err, "The Host header and the caller's name are too long to be passed on to the gateway that holds the instance.")
	}
	var connection atomic.Bool
	ctx, cancel := context.WithCancel(connected(r.Context(), &connection))
	defer cancel()
	defer context.AfterFunc(alive, cancel)()
	var failed error
	proxy := httputil.ReverseProxy{
		Transport:     peer.transport,
		FlushInterval: -1,
		BufferPool:    &p.buffers,
		ErrorLog:      log.New(logWriter{p, to}, "", 0),
		Rewrite: func(out *httputil.ProxyRequest) {
			out.Out.URL.Scheme, out.Out.URL.Host, out.Out.Host = peer.url.Scheme, peer.url.Host, ""
			out.Out.URL.RawQuery, out.Out.URL.ForceQuery = out.In.URL.RawQuery, out.In.URL.ForceQuery // as the client wrote it: it is what was signed
			out.Out.Header.Del("Expect")                                                              // this side has asked the client for the body already
			out.Out.Header.Del("Weir-Forwarded")
			out.Out.Header.Set(identity.Header, header)
			sendOnce(out.Out)
		},
		ModifyResponse: func(response *http.Response) error {
			if reason := response.Header.Get(refusedHeader); reason != "" {
				return fmt.Errorf("node %s does not take the call: %s", to, reason)
			}
			response.Header.Del("Weir-Request-Id") // it is there already
			p.metrics.Forwarded(to)
			return nil
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { failed = err },
	}
	proxy.ServeHTTP(w, r.WithContext(ctx))
	if failed == nil {
		return nil
	}
	return p.failure(r.Context(), alive, peer, connection.Load(), failed)
}

// sendOnce keeps http.Transport from sending a request again by itself, as it does when a connection ends before the answer begins: a read
// that was carried out twice has skipped records.
func sendOnce(out *http.Request) {
	out.GetBody = nil
	out.Header.Del("Idempotency-Key")
	out.Header.Del("X-Idempotency-Key")
	if (out.Body == nil || out.Body == http.NoBody) && out.Method == http.MethodGet {
		out.Body, out.ContentLength = emptyBody{}, 0
	}
}

// emptyBody is a body without bytes that is not known to be one.
type emptyBody struct{}

func (emptyBody) Read([]byte) (int, error) { return 0, io.EOF }
func (emptyBody) Close() error             { return nil }

// failure says what a request that got no answer means to its client.
func (p *Peers) failure(ctx, alive context.Context, peer *node, connected bool, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("waiting for node %s: %w", peer.id, ctx.Err())
	case alive.Err() != nil:
		return rest.ErrUnreachable
	case !connected && errors.Is(err, syscall.ECONNREFUSED):
		peer.down(err)
		return rest.ErrUnreachable
	}
	if !p.stillThere(ctx, peer) {
		return rest.ErrUnreachable
	}
	if !connected { // one attempt may fail of a node that is well
		return fault.Wrap(fault.Unavailable, errors.Join(errGaveNone, err), "The gateway that holds the consumer instance cannot be reached at the moment, so the request was not carried out. Send it again.")
	}
	p.logger.Error("a peer gave no answer", "node", peer.id, "error", err)
	return fault.Wrap(fault.Unavailable, errors.Join(errGaveNone, err), "The gateway that holds the consumer instance gave no answer. Whether the request was carried out is not known.")
}

// stillThere asks a peer that has just cut a connection.
func (p *Peers) stillThere(ctx context.Context, peer *node) bool {
	peer.probing.Lock()
	defer peer.probing.Unlock()
	if peer.isUp() { // nobody has found out while this one waited
		p.ask(ctx, peer, false)
	}
	return peer.isUp()
}

var errGaveNone = errors.New("no answer of a peer")

// logWriter takes what httputil has to say.
type logWriter struct {
	peers *Peers
	node  string
}

func (w logWriter) Write(text []byte) (int, error) {
	w.peers.logger.Debug("an answer of a peer was cut short", "node", w.node, "error", string(text))
	return len(text), nil
}
