package peer

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/weir-gateway/weir/core/identity"
)

const (
	// pingInterval is how often each peer is asked, give or take a tenth.
	pingInterval = time.Second
	// pingTimeout is how long its answer may take.
	pingTimeout = time.Second
	// announceTimeout is how long a creation waits for peers to learn of a claim.
	announceTimeout = 500 * time.Millisecond
	// expiryInterval is how often own claims are looked through.
	expiryInterval = time.Minute
	// mostTalk is the largest answer of a peer: all the claims that one may have.
	mostTalk = mostClaims*(2*len(digest{})+3) + 1024
)

// pong is the answer to a ping.
type pong struct {
	Node        string `json:"node"`
	Incarnation string `json:"incarnation"` // differs after each start
	Version     uint64 `json:"version"`     // of the node's claims
	Leaving     bool   `json:"leaving"`
}

// claimList is all claims of a node.
type claimList struct {
	Incarnation string   `json:"incarnation"`
	Version     uint64   `json:"version"`
	Claims      []string `json:"claims"`
}

// claimChange is one step of a node's claims, as it is told to others.
type claimChange struct {
	Incarnation string `json:"incarnation"`
	Version     uint64 `json:"version"`
	Claim       string `json:"claim"`
	Held        bool   `json:"held"`
}

// watch asks every peer now and then, on a goroutine for each, until Close.
func (p *Peers) watch() {
	var first sync.WaitGroup
	for _, peer := range p.peers {
		first.Add(1)
		p.running.Go(func() {
			p.probe(p.ctx, peer, false)
			first.Done()
			p.repeat(pingInterval, func() { p.probe(p.ctx, peer, false) })
		})
	}
	p.running.Go(func() {
		first.Wait()
		close(p.synced)
		p.repeat(expiryInterval, func() { p.members.expire(time.Now()) })
	})
}

// repeat does something at an interval, give or take a tenth, until Close.
func (p *Peers) repeat(interval time.Duration, do func()) {
	for {
		timer := time.NewTimer(interval*9/10 + rand.N(interval/5))
		select {
		case <-timer.C:
			do()
		case <-p.ctx.Done():
			timer.Stop()
			return
		}
	}
}

// probe asks a peer whether it is there and fetches its claims if they have changed. back: it is asked because it asked, and is not to
// ask again. One probe of a peer runs at a time; a second one does nothing.
func (p *Peers) probe(ctx context.Context, peer *node, back bool) {
	if !peer.probing.TryLock() {
		return
	}
	defer peer.probing.Unlock()
	p.ask(ctx, peer, back)
}

func (p *Peers) ask(ctx context.Context, peer *node, back bool) {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	path := "/peer/ping"
	if back {
		path += "?back=1"
	}
	var status pong
	got, err := p.talk(ctx, peer, http.MethodGet, path, nil, &status)
	if err == nil && status.Node != peer.id {
		err = fmt.Errorf("node %q answers there", status.Node)
	}
	if err != nil && (status.Node != "" || errors.Is(err, errRefused)) {
		got = false // somebody answers, but no peer
	}
	if err == nil && !peer.knows(status.Incarnation, status.Version) {
		err = p.fetch(ctx, peer)
	}
	switch {
	case err == nil:
		peer.answered(status)
	case p.ctx.Err() != nil: // this gateway ends
	case !got:
		peer.down(err)
	default:
		peer.missed(err)
	}
}

// fetch takes over all claims of a peer.
func (p *Peers) fetch(ctx context.Context, peer *node) error {
	var list claimList
	if _, err := p.talk(ctx, peer, http.MethodGet, "/peer/claims", nil, &list); err != nil {
		return err
	}
	if len(list.Claims) > mostClaims {
		return fmt.Errorf("%d claims; a node has at most %d", len(list.Claims), mostClaims)
	}
	claims := make([]digest, len(list.Claims))
	for i, text := range list.Claims {
		var err error
		if claims[i], err = parseDigest(text); err != nil {
			return err
		}
	}
	peer.replace(list.Incarnation, list.Version, claims)
	return nil
}

func parseDigest(text string) (d digest, err error) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(d) {
		return d, fmt.Errorf("%q is not a claim", text)
	}
	return digest(raw), nil
}

// announce tells every peer that is up of a change. Who does not hear it learns of it with the next ping.
func (p *Peers) announce(ctx context.Context, made change) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), announceTimeout)
	defer cancel()
	message := claimChange{Incarnation: p.incarnation, Version: made.version, Claim: hex.EncodeToString(made.digest[:]), Held: made.held}
	var told sync.WaitGroup
	for _, peer := range p.peers {
		if !peer.isUp() {
			continue
		}
		told.Go(func() {
			if got, err := p.talk(ctx, peer, http.MethodPost, "/peer/claims", message, nil); err != nil {
				p.logger.Warn("a peer was not told of a claim", "node", peer.id, "error", err)
				if !got && ctx.Err() == nil {
					peer.down(err)
				}
			}
		})
	}
	told.Wait()
}

var errRefused = errors.New("it does not accept our signature: peers.secret and peers.nodes must be the same on all nodes, and their clocks agree")

// talk asks a peer something of the peers' own. got: there was a connection.
func (p *Peers) talk(ctx context.Context, peer *node, method, target string, message, answer any) (got bool, err error) {
	var body []byte
	if message != nil {
		if body, err = json.Marshal(message); err != nil {
			return false, err
		}
	}
	header, err := p.signer.sign(talkAudience, peer.id, identity.Principal{ID: talkPrincipal}, method, target, map[string]string{factBody: hash(string(body))})
	if err != nil {
		return false, err
	}
	var connection atomic.Bool
	r, err := http.NewRequestWithContext(connected(ctx, &connection), method, peer.url.Scheme+"://"+peer.url.Host+target, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	r.Header.Set(identity.Header, header)
	response, err := peer.transport.RoundTrip(r)
	if err != nil {
		return connection.Load(), err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, int64(mostTalk)))
	switch {
	case err != nil:
		return true, err
	case response.StatusCode == http.StatusUnauthorized:
		return true, errRefused
	case response.StatusCode/100 != 2:
		return true, fmt.Errorf("it answers %s", response.Status)
	case answer == nil:
		return true, nil
	}
	return true, json.Unmarshal(text, answer)
}
