package consumer

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"
	"slices"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/record"
)

// acks is what an instance knows of answers that are acknowledged by token.
type acks struct {
	sequence    uint64
	last        string // the newest token
	previous    string // the last one that came back; empty: none yet
	outstanding *outstanding
}

// outstanding is an answer whose token has not come back.
type outstanding struct {
	token string
	taken []taken
	// earlier are the same answer as it was before less of it was given again: their tokens are as good, should they have arrived after all.
	earlier []outstanding
}

// maxEarlier bounds what is kept of answers that were cut again and again.
const maxEarlier = 4

// cut gives what is outstanding once less was given again.
func (o *outstanding) cut(token string, kept []taken) *outstanding {
	earlier := append(slices.Clone(o.earlier), outstanding{token: o.token, taken: o.taken})
	return &outstanding{token: token, taken: kept, earlier: earlier[max(0, len(earlier)-maxEarlier):]}
}

// taken is what an answer has of a partition. Its records are kept only while the answer is being written; for giving it again it is
// enough to know which offsets they had.
type taken struct {
	p          *partition
	epoch      int
	start, end int64
	records    []record.Stored
	count      int // of records, and bytes of their keys and values
	bytes      int
	runs       runs
}

// keep makes of taken what is kept of it. room is how many bytes may be spent on runs.
func (t *taken) keep(room int) {
	t.count, t.bytes = len(t.records), 0
	for n := range t.records {
		t.bytes += t.records[n].Size()
	}
	t.runs = runsOf(t.records, t.start, room)
	t.records = nil
}

// ackLocked takes the token that a read carries. It gives the answer that is to be given again, nil if the read goes on.
//
// The newest token is taken also when its answer is no longer outstanding, because a seek, a rebalance or a read without
// acknowledgement came in between: the client has it in full and goes on.
func (i *Instance) ackLocked(ack *string) (again *outstanding, err error) {
	a := &i.acks
	switch {
	case ack == nil:
		a.outstanding = nil // its records are given again from the positions, which have not moved
		return nil, nil
	case *ack == a.previous, *ack == "":
		return a.outstanding, nil
	case *ack == a.last:
		if a.outstanding != nil {
			i.moveLocked(a.outstanding.taken)
		}
		a.outstanding, a.previous = nil, a.last
		return nil, nil
	case a.outstanding.was(*ack) != nil:
		i.moveLocked(a.outstanding.was(*ack))
		a.outstanding, a.previous = nil, *ack
		return nil, nil
	case i.issued(*ack):
		return nil, illegal("ack is neither the token of the last answer nor the one before it")
	default:
		return nil, fault.New(fault.InvalidRequest, "ack is no token of this consumer instance. The first read has an empty one; after that it is the Weir-Batch of the last answer that arrived in full.")
	}
}

// was gives what an earlier form of the answer had, by its token.
func (o *outstanding) was(token string) []taken {
	if o != nil {
		for n := range o.earlier {
			if o.earlier[n].token == token {
				return o.earlier[n].taken
			}
		}
	}
	return nil
}

// moveLocked moves positions behind what was taken, of partitions that are still held and were not sought meanwhile.
func (i *Instance) moveLocked(all []taken) {
	for _, t := range all {
		if i.heldLocked(t.p) && t.p.epoch == t.epoch {
			t.p.position, t.p.moved, t.p.given = t.end, true, true
		} else if t.p.revoked && i.member != nil && i.lost == nil {
			i.lost = &t.p.TopicPartition
		}
	}
}

const (
	tokenVersion = 1
	tokenRanges  = 32 // that a token says: it has to fit into a header
	tokenMAC     = 12
)

// tokenLocked makes the token of an answer. Nothing is read from one but whose it is: the ranges are for whoever looks for an error.
func (i *Instance) tokenLocked(all []taken) string {
	i.acks.sequence++
	b := append([]byte{tokenVersion}, i.incarnation[:]...)
	b = binary.AppendUvarint(b, i.acks.sequence)
	generation := int32(-1)
	if i.member != nil {
		generation = i.member.as.generation
	}
	b = binary.AppendVarint(b, int64(generation))
	b = binary.AppendUvarint(b, uint64(len(all)))
	for _, t := range all[:min(len(all), tokenRanges)] {
		h := fnv.New32a()
		_, _ = h.Write([]byte(t.p.Topic)) // never fails
		b = h.Sum(b)
		b = binary.AppendUvarint(b, uint64(t.p.Partition))
		b = binary.AppendUvarint(b, uint64(t.start))
		b = binary.AppendUvarint(b, uint64(t.end-t.start))
	}
	return base64.RawURLEncoding.EncodeToString(append(b, i.tokenMAC(b)...))
}

func (i *Instance) tokenMAC(payload []byte) []byte {
	mac := hmac.New(sha256.New, i.consumers.tokenKey[:])
	for _, part := range []string{i.key.Owner, i.key.Group, i.key.Name} {
		_, _ = mac.Write(binary.AppendUvarint(nil, uint64(len(part)))) // never fails
		_, _ = mac.Write([]byte(part))
	}
	_, _ = mac.Write(payload)
	return mac.Sum(nil)[:tokenMAC]
}

// issued reports whether a token is one of this instance.
func (i *Instance) issued(token string) bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) < 1+len(i.incarnation)+tokenMAC || b[0] != tokenVersion {
		return false
	}
	payload, mac := b[:len(b)-tokenMAC], b[len(b)-tokenMAC:]
	return hmac.Equal(mac, i.tokenMAC(payload)) && bytes.Equal(payload[1:1+len(i.incarnation)], i.incarnation[:])
}
