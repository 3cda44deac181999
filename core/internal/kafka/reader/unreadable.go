package reader

import (
	"sync"
	"time"

	"github.com/weir-gateway/weir/core/internal/record"
)

const (
	unreadableFor  = 10 * time.Second
	mostUnreadable = 1024 // positions; beyond it all are found anew
	// suspectBatches is how many batches are read one at a time once something in an answer could not be: about as many as an answer has.
	suspectBatches = 64
)

// unreadable remembers for a while at which positions a batch follows, at once or soon, that cannot be read, so that it is not looked for
// again with every call: the partition is asked alone at once, for one batch.
type unreadable struct {
	mu        sync.Mutex
	positions map[record.Position]suspicion
}

type suspicion struct {
	at   time.Time
	left int // batches to be read one at a time
}

func (u *unreadable) note(p *part, left int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.positions == nil || len(u.positions) >= mostUnreadable {
		u.positions = map[record.Position]suspicion{}
	}
	u.positions[record.Position{Topic: p.result.Topic, Partition: p.result.Partition, Offset: p.next}] = suspicion{time.Now(), left}
}

// mark lets the partitions of a call that are at such positions be asked alone.
func (u *unreadable) mark(parts []part, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.positions) == 0 {
		return
	}
	for i := range parts {
		p := &parts[i]
		at := record.Position{Topic: p.result.Topic, Partition: p.result.Partition, Offset: p.next}
		found, known := u.positions[at]
		switch {
		case known && now.Sub(found.at) < unreadableFor:
			p.alone, p.narrow, p.suspect = true, true, found.left
		case known:
			delete(u.positions, at)
		}
	}
}
