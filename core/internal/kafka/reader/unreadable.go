package reader

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka"
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

// divide lets the halves of a request be asked for apart, so that what cannot be read costs only the partition that has it, and in the
// end only what follows it there.
func (c *call) divide(parts []*part) {
	if len(parts) == 1 {
		parts[0].alone, parts[0].narrow, parts[0].suspect = true, true, suspectBatches
		return
	}
	for _, half := range [][]*part{parts[:len(parts)/2], parts[len(parts)/2:]} {
		c.groups++
		for _, p := range half {
			p.group, p.alone = c.groups, len(half) == 1
		}
	}
}

// giveUp settles a partition whose next batch cannot be read.
func (c *call) giveUp(p *part, err error) {
	c.reader.unreadable.note(p, suspectBatches)
	text := fmt.Sprintf("The batch of partition %s-%d at offset %d cannot be read.", p.result.Topic, p.result.Partition, p.next)
	if errors.Is(err, sarama.ErrDecompressedBatchTooLarge) {
		text += fmt.Sprintf(" It is larger than %d MiB when it is decompressed. Let its producer make smaller batches", kafka.LargestBatch>>20)
	} else {
		text += " It is damaged, or compressed in a way that is not known"
	}
	c.settle(p, fault.Wrap(fault.KafkaFailed, err, text+"; to read on, seek to an offset behind it."))
}
