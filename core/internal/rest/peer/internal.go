package peer

import (
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/weir-gateway/weir/core/internal/rest"
)

// mostChange is the largest message about one claim.
const mostChange = 1024

// Handler serves the internal listener: pings and claims of peers under /peer/, and everything else to serve, as the requests of
// clients that a peer has passed on. What is not signed by a peer, for this node and this very request, is answered 401. It begins to
// ask the peers, which ask back; so call it when the listener accepts connections.
func (p *Peers) Handler(serve func(w http.ResponseWriter, r *http.Request, call rest.Call)) http.Handler {
	p.start()
	control := http.NewServeMux()
	control.HandleFunc("GET /peer/ping", p.ping)
	control.HandleFunc("GET /peer/claims", p.list)
	control.HandleFunc("POST /peer/claims", p.change)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/peer/") {
			control.ServeHTTP(w, r)
			return
		}
		statement, err := p.signer.verify(r, callAudience)
		if err != nil {
			p.refuse(w, r, err)
			return
		}
		p.wait(r.Context())
		facts := statement.Facts
		serve(w, r, rest.Call{Principal: statement.Principal, RequestID: facts[factRequestID], BaseURL: facts[factBaseURL], RemoteAddr: facts[factRemote], From: facts[factFrom]})
	})
}

// refuse answers who has not proved to be a peer. The reason is for the log: it would help whoever tries.
func (p *Peers) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p.metrics.Refused("peer_signature")
	p.logger.Warn("a request on the internal listener was refused", "remote", r.RemoteAddr, "error", err)
	w.Header().Set(refusedHeader, "signature")
	http.Error(w, "This listener is for peers.", http.StatusUnauthorized)
}

// message verifies a control message and gives its sender and body.
func (p *Peers) message(w http.ResponseWriter, r *http.Request) (from *node, body []byte, ok bool) {
	statement, err := p.signer.verify(r, talkAudience)
	if err == nil {
		if body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, mostChange)); err == nil && statement.Facts[factBody] != hash(string(body)) {
			err = errors.New("its body is not the one that was signed")
		}
	}
	if err != nil {
		p.refuse(w, r, err)
		return nil, nil, false
	}
	return p.peers[statement.Facts[factFrom]], body, true
}

// ping says that this node is there. Who asks is there too: if it was thought to be gone, it is asked before the answer, so that a node
// that has just started is known to all when it begins to serve.
func (p *Peers) ping(w http.ResponseWriter, r *http.Request) {
	from, _, ok := p.message(w, r)
	if !ok {
		return
	}
	if !r.URL.Query().Has("back") && !from.isUp() {
		p.probe(r.Context(), from, true)
	}
	version, _ := p.members.snapshot()
	p.answer(w, pong{Node: p.self, Incarnation: p.incarnation, Version: version, Leaving: p.leaving.Load()})
}

// list tells this node's claims.
func (p *Peers) list(w http.ResponseWriter, r *http.Request) {
	if _, _, ok := p.message(w, r); !ok {
		return
	}
	version, claims := p.members.snapshot()
	list := claimList{Incarnation: p.incarnation, Version: version, Claims: make([]string, len(claims))}
	for i, claim := range claims {
		list.Claims[i] = hex.EncodeToString(claim[:])
	}
	p.answer(w, list)
}

// change takes over a step of the sender's claims, or fetches them all if steps before it are missing.
func (p *Peers) change(w http.ResponseWriter, r *http.Request) {
	from, body, ok := p.message(w, r)
	if !ok {
		return
	}
	var message claimChange
	err := json.Unmarshal(body, &message, json.RejectUnknownMembers(true))
	claim, wrong := parseDigest(message.Claim)
	if err = errors.Join(err, wrong); err != nil {
		p.logger.Error("a peer's message cannot be read; are all nodes of one version?", "node", from.id, "error", err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if !from.apply(message.Incarnation, change{message.Version, claim, message.Held}) {
		if err := p.fetch(r.Context(), from); err != nil {
			p.logger.Warn("a peer's claims cannot be fetched", "node", from.id, "error", err)
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

func (p *Peers) answer(w http.ResponseWriter, message any) {
	body, err := json.Marshal(message)
	if err != nil {
		p.logger.Error("an answer to a peer cannot be written", "error", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(body) //nolint:errcheck // the peer has gone
}
