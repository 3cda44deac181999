package rest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/weir-gateway/weir/core/identity"
	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka/consumer"
)

// Peers are the gateways that serve consumer instances together with this one. It is safe for concurrent use.
type Peers interface {
	// Node is this gateway's id.
	Node() string
	// Hinted gives an instance's name as it stands in links: with a signed hint that it is on this node.
	Hinted(group, name string) string
	// Locate says which instance a segment of a path means – key.Name is the segment, name is it without the hint – and which node
	// should hold it: "" for this one.
	Locate(ctx context.Context, key consumer.Key) (name, node string)
	// Place says on which node an instance whose name a client chose is to be made: the first of nodes that can be reached, where ""
	// is this one. taken says that nodes[0] has told to hold such an instance already. name is the chosen name without a hint.
	Place(ctx context.Context, key consumer.Key) (name string, nodes []string, taken bool)
	// Claim tells the peers that this node holds an instance of a chosen name, if it is not where they would look for it, and with always
	// in any case. It returns when all that can be reached know, after half a second at the latest.
	Claim(ctx context.Context, key consumer.Key, always bool)
	// Release takes a claim back when the instance has ended. Without it the claim ends some time after the instance's last call.
	Release(ctx context.Context, key consumer.Key)
	// Forward passes a request on to a node and its answer back, as it comes. At an error nothing has been written to w: ErrUnreachable
	// when the node is not there, or has just gone with all that it held; otherwise a fault for the client.
	Forward(w http.ResponseWriter, r *http.Request, node string, call Call) error
}

// ErrUnreachable is why Forward did nothing: the node is gone.
var ErrUnreachable = errors.New("the node cannot be reached")

// Call is what a node tells another of a request that it passes on, since the request itself no longer shows it.
type Call struct {
	// Principal is who asks.
	Principal identity.Principal
	// RequestID is the request's id, the same on both nodes.
	RequestID string
	// BaseURL is what links begin with: the client reaches the node that it asked, not the one that answers.
	BaseURL string
	// RemoteAddr is the client's address, host:port.
	RemoteAddr string
	// From is the node that passes the request on.
	From string
}

// passing is what a request knows of peers.
type passing struct {
	peers     Peers    // nil: the gateway is alone
	from      string   // the node that passed the request on to this one; such a request is never passed on again
	to        string   // the node that it was passed on to
	places    []string // where the instance that is being made belongs, by preference
	rehinted  bool     // the name that was chosen has a hint, which may be of another node
	bodyBytes []byte   // the body, when it was read whole
}

// InstanceKey names the instance that the request is about, or is to make.
func (r *Request) InstanceKey(group, name string) consumer.Key {
	return consumer.Key{Owner: r.Principal.ID, Group: group, Name: name}
}

// Node is this gateway's id among its peers, "" when it is alone.
func (r *Request) Node() string {
	if r.peers == nil {
		return ""
	}
	return r.peers.Node()
}

// Hinted gives the name of an instance of this gateway as it stands in links; generated names are given to clients so, too. Alone it
// is the name.
func (r *Request) Hinted(group, name string) string {
	if r.peers == nil {
		return name
	}
	return r.peers.Hinted(group, name)
}

// PlaceInstance is called in Bind by the route that makes instances, after everything else was checked, with the name that the client
// chose. If the name belongs to another node the chain passes the request on, with the body that was read, and Serve does not run.
// Otherwise the instance is to be made here, under the name that is given back: one that ended in a hint has lost it. Error:
// InstanceExists when another node holds it.
func (r *Request) PlaceInstance(group, chosen string) (name string, err error) {
	if r.peers == nil {
		return chosen, nil
	}
	name, places, taken := r.peers.Place(r.Context(), r.InstanceKey(group, chosen))
	r.rehinted = name != chosen
	if r.from == "" {
		r.places = places
		return name, nil
	}
	if taken && places[0] != "" {
		return "", fault.New(fault.InstanceExists, "Consumer with specified consumer ID already exists in the specified consumer group.")
	}
	return name, nil
}

// ClaimInstance is called when an instance of a chosen name has been made, before the answer.
func (r *Request) ClaimInstance(ctx context.Context, group, name string) {
	if r.peers != nil {
		r.peers.Claim(ctx, r.InstanceKey(group, name), r.rehinted)
	}
}

// ReleaseInstance is called when an instance has been deleted, before the answer.
func (r *Request) ReleaseInstance(ctx context.Context, group, name string) {
	if r.peers != nil {
		r.peers.Release(ctx, r.InstanceKey(group, name))
	}
}

// ServeForwarded serves a request that a peer passed on. Whoever calls it has verified the call.
func (h *Handler) ServeForwarded(w http.ResponseWriter, r *http.Request, call Call) {
	h.serve(w, r, &call)
}

// toOwner finds the instance that the request is about, and passes the request on if it is elsewhere. passed: it has been answered. An
// error is for the client, once it is known what it accepts. waits: the request may wait for records; when the gateway shuts down it is
// given up, since its wait loses nothing.
func (h *Handler) toOwner(x *exchange, waits bool) (passed bool, err error) {
	r := &x.request
	if h.peers == nil {
		return false, nil
	}
	name, node := h.peers.Locate(r.Context(), r.InstanceKey(r.PathValue("group"), r.PathValue("instance")))
	r.SetPathValue("instance", name)
	if node == "" || r.from != "" {
		return false, nil
	}
	body := &passedBody{request: r}
	bound := r.deadline // the other node has the same bound, and says so itself
	if bound.IsZero() {
		bound = x.started.Add(h.settings.Limits.RequestTimeout)
	}
	ctx, cancel := context.WithDeadline(r.Context(), bound.Add(passedMargin))
	defer cancel()
	keep := func() bool { return true }
	if waits {
		keep = context.AfterFunc(h.draining, cancel)
		defer keep()
	}
	out := r.Request.WithContext(ctx)
	if out.Body != nil && out.Body != http.NoBody && out.ContentLength != 0 {
		out.Body = body
		r.boundBody(h.settings.Limits.BodyTimeout)
	}
	defer body.abandon() // nobody may read it any more when the handler returns, or panics because the answer was cut
	err = h.forward(x, passingWriter{x, body, keep}, out, node)
	body.abandon()
	if failed := body.failure(); failed != nil && err != nil {
		return false, readFault(failed)
	}
	if err != nil && waits && h.draining.Err() != nil && r.Context().Err() == nil {
		return false, fault.Wrap(fault.Unavailable, err, "The gateway is shutting down. Send the request to another instance, or again later.")
	}
	if errors.Is(err, ErrUnreachable) {
		return false, fault.Wrap(fault.InstanceNotFound, err, "Consumer instance not found.")
	}
	return err == nil, err
}

// toPlace passes a creation on to where the instance belongs. Not passed: it belongs here, or nobody else is there.
func (h *Handler) toPlace(x *exchange) (passed bool, err error) {
	r := &x.request
	for _, node := range r.places {
		if node == "" {
			break
		}
		out := *r.Request
		out.ContentLength, out.TransferEncoding = int64(len(r.bodyBytes)), nil
		out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.bodyBytes)), nil }
		out.Body, _ = out.GetBody()
		if err := h.forward(x, x, &out, node); !errors.Is(err, ErrUnreachable) {
			return err == nil, err
		}
	}
	return false, nil
}

func (h *Handler) forward(x *exchange, w http.ResponseWriter, out *http.Request, node string) error {
	r := &x.request
	call := Call{Principal: r.Principal, RequestID: r.ID, BaseURL: r.BaseURL, RemoteAddr: r.RemoteAddr, From: h.peers.Node()}
	err := h.peers.Forward(w, out, node, call)
	if !errors.Is(err, ErrUnreachable) {
		r.to = node
	}
	return err
}

// passingWriter takes the answer of another node. One that comes before the request's body has been read ends the connection: nobody
// will read the rest.
type passingWriter struct {
	*exchange
	body     *passedBody
	answered func() bool // the wait is over
}

func (w passingWriter) WriteHeader(status int) {
	w.answered()
	if status >= http.StatusOK && w.body.abandon() {
		w.Header().Set("Connection", "close")
	}
	w.exchange.WriteHeader(status)
}

// Write gives the client time for each piece, as for an answer of this node.
func (w passingWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.request.control.SetWriteDeadline(time.Now().Add(w.answerWithin)) //nolint:errcheck // a writer without deadlines: the client's own pace
	return w.exchange.Write(p)
}

// passedMargin is how much longer than a request's bound the node that holds the instance may take to say that it is over.
const passedMargin = 5 * time.Second

// passedBody is the body of a request that is passed on. The transport reads it on a goroutine that may outlive the handler, and a
// server's body must not be read then: Close ends a read that is waiting and lets no other begin.
type passedBody struct {
	request  *Request
	mu       sync.Mutex // held while reading
	end      sync.Mutex // guards what follows
	closed   bool
	complete bool  // read to its end
	err      error // of the client's side, other than its end
}

// Read reads what the client has sent, within the bounds of any body.
func (b *passedBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.isClosed() {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.request.readPiece(p)
	b.end.Lock()
	defer b.end.Unlock()
	switch {
	case errors.Is(err, io.EOF):
		b.complete, b.request.complete = true, true
		b.request.control.SetReadDeadline(time.Time{}) //nolint:errcheck // a connection that is gone fails the next read
	case err != nil && !b.closed:
		b.err = err
	}
	return n, err
}

// Close ends reading. What the client has not sent by then nobody will read, so the connection cannot be used again.
func (b *passedBody) Close() error {
	b.abandon()
	return nil
}

// abandon is Close that says whether anything was left to read.
func (b *passedBody) abandon() (unread bool) {
	b.end.Lock()
	unread = !b.complete && b.request.ContentLength != 0
	if unread && !b.closed {
		b.request.control.SetReadDeadline(time.Unix(1, 0)) //nolint:errcheck // a writer without deadlines has no reader that waits
	}
	b.closed = true
	b.end.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	return unread
}

func (b *passedBody) isClosed() bool {
	b.end.Lock()
	defer b.end.Unlock()
	return b.closed
}

func (b *passedBody) failure() error {
	b.end.Lock()
	defer b.end.Unlock()
	return b.err
}
