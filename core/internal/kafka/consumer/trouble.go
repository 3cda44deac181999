package consumer

import (
	"fmt"
	"time"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka"
)

const (
	// troubleShown is how old a trouble is before reads that have nothing say so, and the log does: younger ones come and go with every
	// election, and are none that anybody must act on.
	troubleShown = 3 * time.Second
	// toldAgain is how often a read fails because of partitions that cannot be read while there are others that can.
	toldAgain = 10 * time.Second
)

// ofRead is an error of a broker as that of a read. Kafka's failures of unknown cause are no request's fault here: what is asked is up to
// the gateway.
func ofRead(err error) *fault.Error {
	told := *kafka.Fault(err)
	if told.Code == fault.KafkaRejected {
		told.Code = fault.KafkaFailed
	}
	return &told
}

// troubleLocked notes what keeps the member from joining.
func (m *member) troubleLocked(err error, since time.Time) {
	if m.trouble == nil {
		m.troubled = since
	}
	m.trouble = err
	if time.Since(m.troubled) >= troubleShown {
		m.warnLocked(err)
	}
	m.i.changedLocked() // a read that waits is to know
}

func (m *member) warnLocked(err error) {
	if !m.warned {
		m.warned = true
		m.i.consumers.logger.Warn("consumer instance cannot join its group", "group", m.i.key.Group, "instance", m.i.key.Name, "error", err)
	}
}

// fineLocked notes that nothing keeps it any more.
func (m *member) fineLocked() {
	m.trouble = nil
	if m.warned {
		m.warned = false
		m.i.consumers.logger.Info("consumer instance can join its group again", "group", m.i.key.Group, "instance", m.i.key.Name)
	}
}

// refuseLocked notes that a partition cannot be read, or its position not be found, until somebody does something about it.
func (i *Instance) refuseLocked(p *partition, err error) {
	p.err, p.failed = err, time.Now()
	if !absent(err) {
		i.warnLocked(p, err)
	}
}

// troubleLocked notes that a partition could not be read, or its position not be found, for a reason that may go away.
func (i *Instance) troubleLocked(p *partition, err error, since time.Time) {
	if p.trouble == nil {
		p.troubled = since
	}
	p.trouble = err
	if time.Since(p.troubled) >= troubleShown {
		i.warnLocked(p, err)
	}
}

func (i *Instance) warnLocked(p *partition, err error) {
	if !p.warned {
		p.warned = true
		i.consumers.logger.Warn("consumer instance cannot read a partition", "group", i.key.Group, "instance", i.key.Name, "topic", p.Topic,
			"partition", p.Partition, "error", err)
	}
}

// fineLocked notes that a partition can be read.
func (i *Instance) fineLocked(p *partition) {
	p.trouble = nil
	if p.warned {
		p.warned = false
		i.consumers.logger.Info("consumer instance can read a partition again", "group", i.key.Group, "instance", i.key.Name, "topic", p.Topic,
			"partition", p.Partition)
	}
}

// stuck is why a partition gives nothing, if that is worth an error. That it does not exist is not: it may come to be.
func (p *partition) stuck() error {
	switch {
	case p.err != nil && !absent(p.err):
		return p.err
	case p.err == nil && p.trouble != nil && time.Since(p.troubled) >= troubleShown:
		return p.trouble
	}
	return nil
}

// complaintLocked is the error of a read that has nothing, and of which there are partitions that cannot be read: every time if all of
// them are, otherwise once in a while, because the others are read.
func (i *Instance) complaintLocked() error {
	var complaint error
	all := true
	for _, p := range i.sortedLocked() {
		err := p.stuck()
		if all = all && err != nil; err == nil || complaint != nil {
			continue
		}
		told := ofRead(err)
		if told.Code != fault.PermissionDenied {
			told.Message = fmt.Sprintf("Partition %s-%d cannot be read: %s", p.Topic, p.Partition, told.Message)
		}
		complaint = told
	}
	if complaint != nil && !all {
		if time.Since(i.told) < toldAgain {
			return nil
		}
		i.told = time.Now()
	}
	return complaint
}

// silenceLocked is the error of a read that has nothing because no broker says anything, because the group cannot be joined, or because
// partitions cannot be read, and all of this for a while.
func (r *reading) silenceLocked() error {
	if r.silent && r.failed != nil && fault.From(r.failed).Code == fault.BrokerNotAvailable {
		return r.failed
	}
	if m := r.i.member; m != nil && m.state != stable {
		if m.trouble == nil || time.Since(m.troubled) < troubleShown {
			return nil
		}
		return ofRead(m.trouble)
	}
	return r.i.complaintLocked()
}
