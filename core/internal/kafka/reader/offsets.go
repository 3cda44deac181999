package reader

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka"
	"github.com/weir-gateway/weir/core/internal/record"
)

// Where an offset is looked up, for Offsets.
const (
	Earliest int64 = -2
	Latest   int64 = -1
)

// offsetTries is how often a partition whose leader moved is asked for in one call.
const offsetTries = 6

// At is a question about a partition: the offset of its beginning (Earliest), its end (Latest; the last stable offset for committed
// reads), or of its first record whose timestamp is At or later, in milliseconds since 1970.
type At struct {
	record.TopicPartition
	At int64
}

// Offset is the answer to an At. Offset is -1 when no record is as late as was asked.
type Offset struct {
	record.TopicPartition
	Offset int64
	Err    error
}

// lookForEnds looks, for a call that there was no room for, which partitions had anything to read: a poll at the end of the log needs no
// room, and is answered as one that found nothing.
func (c *call) lookForEnds() {
	var questions []At
	var asked []*part
	for i := range c.parts {
		p := &c.parts[i]
		if f := (*fault.Error)(nil); !p.answered && !p.settled && errors.As(p.err, &f) && f.Code == fault.Overloaded {
			questions, asked = append(questions, At{TopicPartition: p.result.TopicPartition, At: Latest}), append(asked, p)
		}
	}
	ctx, cancel := context.WithTimeout(c.ctx, grace)
	defer cancel()
	answers, err := c.reader.Offsets(ctx, questions, c.options.Committed)
	if err != nil { // then they stay refused
		return
	}
	for i, p := range asked {
		if answers[i].Err == nil && answers[i].Offset == p.next {
			p.answered, p.err, p.result.Readable = true, nil, p.next
		}
	}
}

// Offsets looks offsets up, many with one request to each leader. Answers are in the order of the questions, one for each, with the
// error of each partition. It takes at most the cluster's admin timeout.
//
// Errors are of the call as a whole: Unavailable when ctx ended, BrokerNotAvailable when no broker of them could be reached.
func (r *Reader) Offsets(ctx context.Context, questions []At, committed bool) ([]Offset, error) {
	answers := make([]Offset, len(questions))
	todo := make([]int, len(questions))
	for i, q := range questions {
		answers[i] = Offset{TopicPartition: q.TopicPartition, Offset: -1}
		todo[i] = i
	}
	limited, cancel := context.WithTimeout(ctx, r.client.AdminTimeout())
	defer cancel()
	l := &offsetLookup{reader: r, ctx: limited, committed: committed, questions: questions, answers: answers}
	for try := 1; len(todo) > 0; try++ {
		todo = l.ask(todo)
		if len(todo) == 0 || try == offsetTries || !l.pause(try, todo) {
			break
		}
	}
	if err := ctx.Err(); err != nil && len(todo) > 0 {
		return nil, fault.From(err)
	}
	reached := len(answers) == 0
	for i := range answers {
		if err := answers[i].Err; err != nil {
			answers[i].Offset = -1
			reached = reached || kafka.Fault(err).Code != fault.BrokerNotAvailable
		} else {
			reached = true
		}
	}
	if !reached {
		return nil, answers[0].Err
	}
	return answers, nil
}

// offsetLookup is one call of Offsets.
type offsetLookup struct {
	reader    *Reader
	ctx       context.Context
	committed bool
	questions []At
	answers   []Offset
}

// ask puts questions to their leaders, all at once, and gives those that are to be put again.
func (l *offsetLookup) ask(todo []int) (again []int) {
	type node struct {
		id    int32
		asked []int
	}
	var nodes []node
	for _, i := range todo {
		leader, err := l.leader(l.questions[i].TopicPartition)
		if err != nil {
			if l.failed(i, err) {
				again = append(again, i)
			}
			continue
		}
		at := 0
		for at < len(nodes) && nodes[at].id != leader {
			at++
		}
		if at == len(nodes) {
			nodes = append(nodes, node{id: leader})
		}
		nodes[at].asked = append(nodes[at].asked, i)
	}
	if len(nodes) == 1 {
		return append(again, l.askNode(nodes[0].id, nodes[0].asked)...)
	}
	var mu sync.Mutex
	var wait sync.WaitGroup
	for _, n := range nodes { // each ends with l.ctx
		wait.Go(func() {
			more := l.askNode(n.id, n.asked)
			mu.Lock()
			again = append(again, more...)
			mu.Unlock()
		})
	}
	wait.Wait()
	return again
}

func (l *offsetLookup) leader(at record.TopicPartition) (int32, error) {
	topic, err := l.reader.client.Topic(l.ctx, at.Topic)
	if err != nil {
		return -1, err
	}
	if at.Partition >= 0 && int(at.Partition) >= len(topic.Partitions) {
		if topic, err = l.reader.client.Refresh(l.ctx, at.Topic); err != nil { // it may have been added lately
			return -1, err
		}
	}
	if at.Partition < 0 || int(at.Partition) >= len(topic.Partitions) {
		return -1, fault.Newf(fault.PartitionNotFound, "Partition %s-%d does not exist.", at.Topic, at.Partition)
	}
	leader := topic.Partitions[at.Partition].Leader
	if leader < 0 {
		return -1, kafka.Fault(sarama.ErrLeaderNotAvailable)
	}
	return leader, nil
}

// askNode puts questions to one broker. A request can ask only one thing about a partition, so that it may take several.
func (l *offsetLookup) askNode(node int32, todo []int) (again []int) {
	for len(todo) > 0 {
		request := sarama.NewOffsetRequest(l.reader.client.Version())
		if l.committed {
			request.IsolationLevel = sarama.ReadCommitted
		}
		seen := make(map[record.TopicPartition]struct{}, len(todo))
		var now, later []int
		for _, i := range todo {
			q := l.questions[i]
			if _, twice := seen[q.TopicPartition]; twice {
				later = append(later, i)
				continue
			}
			seen[q.TopicPartition] = struct{}{}
			request.AddBlock(q.Topic, q.Partition, q.At, 1)
			now = append(now, i)
		}
		var response *sarama.OffsetResponse
		err := l.reader.client.Call(l.ctx, node, true, func(b *sarama.Broker) error {
			var err error
			response, err = b.GetAvailableOffsets(request)
			return err
		})
		if err != nil {
			l.reader.countAs("list_offsets", err)
		}
		for _, i := range now {
			if l.take(i, response, err) {
				again = append(again, i)
			}
		}
		todo = later
	}
	return again
}

// take takes the answer to a question, or the error of its request, and reports whether it is to be put again.
func (l *offsetLookup) take(i int, response *sarama.OffsetResponse, err error) (again bool) {
	if err != nil {
		return l.failed(i, err)
	}
	block := response.GetBlock(l.questions[i].Topic, l.questions[i].Partition)
	switch {
	case block == nil:
		l.answers[i].Err = fault.New(fault.KafkaFailed, "The broker's answer could not be understood.")
		return false
	case block.Err != sarama.ErrNoError:
		l.reader.countAs("list_offsets", block.Err)
		return l.failed(i, block.Err)
	}
	l.answers[i].Offset, l.answers[i].Err = block.Offset, nil
	return false
}

// failed notes an error and reports whether it may pass.
func (l *offsetLookup) failed(i int, err error) (again bool) {
	f := kafka.Fault(err)
	l.answers[i].Err = f
	return f.Code.Retriable() || kafka.Retriable(err) && f.Code != fault.UnknownTopic || err == error(sarama.ErrUnknownTopicOrPartition) //nolint:errorlint // the answer of a leader that has just changed, not the metadata that wraps it
}

// pause waits before questions are put again, and asks who leads now. It reports whether there is time left.
func (l *offsetLookup) pause(try int, todo []int) bool {
	timer := time.NewTimer(min(firstPause<<try, longestPause))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.ctx.Done():
		return false
	}
	asked := map[string]struct{}{}
	for _, i := range todo {
		name := l.questions[i].Topic
		if _, done := asked[name]; done {
			continue
		}
		asked[name] = struct{}{}
		if _, err := l.reader.client.Refresh(l.ctx, name); err != nil {
			l.reader.client.Logger().Debug("looking for the leaders of a topic again", "topic", name, "error", err)
		}
	}
	return l.ctx.Err() == nil
}

// explainRange says of partitions whose offset is out of range what their range is.
func (c *call) explainRange() {
	var lost []*part
	var questions []At
	for i := range c.parts {
		p := &c.parts[i]
		if p.settled && fault.From(p.err).Code == fault.OffsetOutOfRange {
			lost = append(lost, p)
			questions = append(questions, At{TopicPartition: p.result.TopicPartition, At: Earliest}, At{TopicPartition: p.result.TopicPartition, At: Latest})
		}
	}
	if len(lost) == 0 {
		return
	}
	ctx, cancel := context.WithDeadline(c.ctx, time.Now().Add(grace))
	defer cancel()
	answers, err := c.reader.Offsets(ctx, questions, c.options.Committed)
	if err != nil {
		return // without it the error says less; it is the same error
	}
	for i, p := range lost {
		first, end := answers[2*i], answers[2*i+1]
		if first.Err != nil || end.Err != nil {
			continue
		}
		p.result.LogStart, p.result.Readable = first.Offset, end.Offset
		p.result.Err = fault.Wrap(fault.OffsetOutOfRange, p.err, fmt.Sprintf("Offset %d is out of range for partition %s-%d, whose log has offsets from %d up to, but not including, %d.",
			p.next, p.result.Topic, p.result.Partition, first.Offset, end.Offset))
	}
}
