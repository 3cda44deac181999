package peer

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
)

// hintMark stands between a name and its hint.
const hintMark = "~"

// hintMAC is how many bytes of the MAC a hint has: 80 bits, and a guess costs a request.
const hintMAC = 10

// Hints writes and reads the end of an instance's name that says which node it is on. A hint is base64url of the node's id and a MAC
// over node, group and name, so a client can neither make one nor move one to another name.
type Hints struct {
	node string
	keys [][]byte // the first writes, all are read
}

// NewHints makes the hints of a node. The first secret signs; the others are accepted too.
func NewHints(node string, secrets ...string) *Hints {
	h := &Hints{node: node}
	for _, secret := range secrets {
		h.keys = append(h.keys, derive(secret, "weir instance hint v1"))
	}
	return h
}

// derive makes a key for one purpose out of the secret that peers share.
func derive(secret, purpose string) []byte {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(purpose))
	return h.Sum(nil)
}

// Add gives the name with the hint of this node.
func (h *Hints) Add(group, name string) string {
	return name + hintMark + hintEncoding.EncodeToString(append([]byte(h.node), hintSum(h.keys[0], h.node, group, name)...))
}

// Split takes a segment of a path apart. A segment without a hint that was made for this very group and name is a plain name.
func (h *Hints) Split(group, segment string) (name, node string, hinted bool) {
	at := strings.LastIndex(segment, hintMark)
	if at < 1 {
		return segment, "", false
	}
	name = segment[:at]
	text := segment[at+len(hintMark):]
	hint, err := hintEncoding.DecodeString(text)
	if err != nil || len(hint) <= hintMAC || hintEncoding.EncodeToString(hint) != text {
		return segment, "", false
	}
	node, sum := string(hint[:len(hint)-hintMAC]), hint[len(hint)-hintMAC:]
	for _, key := range h.keys {
		if hmac.Equal(sum, hintSum(key, node, group, name)) {
			return name, node, true
		}
	}
	return segment, "", false
}

var hintEncoding = base64.RawURLEncoding.Strict()

func hintSum(key []byte, node, group, name string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(joined(node, group, name))
	return h.Sum(nil)[:hintMAC]
}

// joined puts texts together so that no two lists give the same bytes.
func joined(texts ...string) []byte {
	var b []byte
	for _, text := range texts {
		b = binary.AppendUvarint(b, uint64(len(text)))
		b = append(b, text...)
	}
	return b
}
