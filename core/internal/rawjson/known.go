package rawjson

import (
	"hash/maphash"
	"sync/atomic"
)

// Known is Check with a memory: a text that was found to be JSON a little while ago is known by its hash and not looked through again.
// A stream that is sold is read by many, and each of them would pay for the check, which is most of what a record costs.
//
// The hash has 64 bits and a seed of this process that nobody outside can learn, so that nobody can make a text that is taken for
// another; two that meet by chance are one in 10^19. It is safe for concurrent use.
type Known struct {
	limits Limits
	seed   maphash.Seed
	slots  []atomic.Uint64 // the hash of the last text that was checked for each place; 0: none
}

// leastKnown is the shortest text that is worth a hash.
const leastKnown = 128

// NewKnown makes a memory of about so many texts, eight bytes each; 0: none, and every text is checked.
func NewKnown(limits Limits, texts int) *Known {
	return &Known{limits: limits, seed: maphash.MakeSeed(), slots: make([]atomic.Uint64, texts)}
}

// Check is nil when a text is one JSON value within the limits. A failure is never remembered.
func (k *Known) Check(text []byte) error {
	if len(text) < leastKnown || len(k.slots) == 0 {
		return Check(text, k.limits)
	}
	hash := max(1, maphash.Bytes(k.seed, text))
	slot := &k.slots[hash%uint64(len(k.slots))]
	if slot.Load() == hash {
		return nil
	}
	if err := Check(text, k.limits); err != nil {
		return err
	}
	slot.Store(hash)
	return nil
}
