package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka"
	"github.com/weir-gateway/weir/core/internal/kafka/reader"
	"github.com/weir-gateway/weir/core/internal/record"
)

// source is what this room needs of the reader.
type source interface {
	Fetch(ctx context.Context, positions []record.Position, options reader.Options) ([]reader.Result, func(), error)
	Offsets(ctx context.Context, questions []reader.At, committed bool) ([]reader.Offset, error)
}

// groups is what this room says to the coordinators of groups. Every call ends with its context. Errors carry the coordinator's
// code, if it gave one (codeOf).
type groups interface {
	// connect opens a connection to the group's coordinator for a member.
	connect(ctx context.Context, group string) (link, error)
	// coordinator asks anew which node coordinates the group.
	coordinator(ctx context.Context, group string) (node int32, err error)
	// forget makes the next connect ask which node coordinates the group.
	forget(group string, node int32)
	commit(ctx context.Context, group string, as membership, offsets []Committed) error
	// committed leaves partitions out that have no committed offset.
	committed(ctx context.Context, group string, partitions []record.TopicPartition, stable bool) ([]Committed, error)
	leave(ctx context.Context, group, member string) error
	// givesIDs reports whether a coordinator answers the JoinGroup of a new member at once, with an id to join with.
	givesIDs() bool
}

// link is a member's own connection to its coordinator: one call at a time, in order.
type link interface {
	node() int32
	join(ctx context.Context, request joinRequest) (joinAnswer, error)
	sync(ctx context.Context, group string, as membership, protocol string, plan sarama.BalanceStrategyPlan) ([]record.TopicPartition, error)
	heartbeat(ctx context.Context, group string, as membership) error
	leave(ctx context.Context, group, member string) error
	close()
}

// membership is who a member is to its coordinator. The zero value with generation -1 is a committer that is no member.
type membership struct {
	id         string
	generation int32
}

type joinRequest struct {
	group, member string
	topics        []string
	session       time.Duration
	rebalance     time.Duration
}

type joinAnswer struct {
	as       membership
	protocol string
	leader   bool
	members  map[string]sarama.ConsumerGroupMemberMetadata // of all, for the leader
}

// codeOf gives the error code of a coordinator inside an error, 0 if there is none.
func codeOf(err error) sarama.KError {
	var code sarama.KError
	if errors.As(err, &code) {
		return code
	}
	return sarama.ErrNoError
}

// partitionError is a coordinator's refusal for one partition.
type partitionError struct {
	record.TopicPartition
	err error
}

func (e *partitionError) Error() string { return fmt.Sprintf("%s-%d: %v", e.Topic, e.Partition, e.err) }
func (e *partitionError) Unwrap() error { return e.err }

// coordinators is groups on a cluster.
type coordinators struct {
	client   *kafka.Client
	found    *kafka.Coordinators
	observer kafka.Observer
}

// failed makes a fault of an error and counts it.
func (c *coordinators) failed(err error, group string) error {
	if err == nil {
		return nil
	}
	if c.observer != nil {
		c.observer.KafkaError("consume", kafka.ErrorName(err))
	}
	if codeOf(err) == sarama.ErrGroupAuthorizationFailed {
		return fault.Wrap(fault.PermissionDenied, err, "Not authorized to access group: "+group)
	}
	var at *partitionError
	if codeOf(err) == sarama.ErrTopicAuthorizationFailed && errors.As(err, &at) {
		return fault.Wrap(fault.PermissionDenied, err, "Not authorized to access topics: ["+at.Topic+"]")
	}
	return kafka.Fault(err)
}

// codeError is an answer's code as an error.
func codeError(code sarama.KError) error {
	if code == sarama.ErrNoError {
		return nil
	}
	return code
}

func (c *coordinators) connect(ctx context.Context, group string) (link, error) {
	node, err := c.found.Find(ctx, group)
	if err != nil {
		return nil, c.failed(err, group)
	}
	held, err := c.found.Connect(ctx, node)
	if err != nil {
		c.found.Forget(group, node)
		return nil, c.failed(err, group)
	}
	return &heldLink{coordinators: c, held: held}, nil
}

func (c *coordinators) coordinator(ctx context.Context, group string) (int32, error) {
	return c.found.Look(ctx, group)
}

func (c *coordinators) forget(group string, node int32) { c.found.Forget(group, node) }

func (c *coordinators) commit(ctx context.Context, group string, as membership, offsets []Committed) error {
	conf := &sarama.Config{Version: c.client.Version()}
	err := c.found.Call(ctx, group, func(b *sarama.Broker) error {
		request := sarama.NewOffsetCommitRequest(conf, group)
		request.ConsumerID, request.ConsumerGroupGeneration = as.id, as.generation
		for _, o := range offsets {
			request.AddBlockWithLeaderEpoch(o.Topic, o.Partition, o.Offset, -1, 0, o.Metadata)
		}
		response, err := b.CommitOffset(request)
		if err != nil {
			return err
		}
		for _, o := range offsets {
			code, answered := response.Errors[o.Topic][o.Partition]
			if !answered {
				return &partitionError{o.TopicPartition, sarama.ErrIncompleteResponse}
			}
			if code != sarama.ErrNoError {
				return &partitionError{o.TopicPartition, code}
			}
		}
		return nil
	})
	return c.failed(err, group)
}

func (c *coordinators) committed(ctx context.Context, group string, partitions []record.TopicPartition, stable bool) ([]Committed, error) {
	asked := map[string][]int32{}
	for _, p := range partitions {
		asked[p.Topic] = append(asked[p.Topic], p.Partition)
	}
	var found []Committed
	err := c.found.Call(ctx, group, func(b *sarama.Broker) error {
		request := sarama.NewOffsetFetchRequest(c.client.Version(), group, asked)
		request.RequireStable = stable && request.Version >= 7
		response, err := b.FetchOffset(request)
		if err != nil {
			return err
		}
		found = found[:0]
		switch code := response.GroupError(); code {
		case sarama.ErrNoError:
		case sarama.ErrGroupIDNotFound: // nothing was ever committed
			return nil
		default:
			return code
		}
		for _, p := range partitions {
			block := response.GetBlock(p.Topic, p.Partition)
			switch {
			case block == nil:
				return &partitionError{p, sarama.ErrIncompleteResponse}
			case block.Err == sarama.ErrUnknownTopicOrPartition || block.Err == sarama.ErrNoError && block.Offset < 0:
			case block.Err != sarama.ErrNoError:
				return &partitionError{p, block.Err}
			default:
				found = append(found, Committed{TopicPartition: p, Offset: block.Offset, Metadata: block.Metadata})
			}
		}
		return nil
	})
	return found, c.failed(err, group)
}

func (c *coordinators) givesIDs() bool { return c.client.Version().IsAtLeast(sarama.V2_2_0_0) }

func (c *coordinators) leave(ctx context.Context, group, member string) error {
	err := c.found.Call(ctx, group, func(b *sarama.Broker) error { return leaveGroup(b, c.client.Version(), group, member) })
	return c.failed(err, group)
}

// heldLink is link on a connection.
type heldLink struct {
	*coordinators
	held *kafka.Held
}

func (l *heldLink) node() int32 { return l.held.Node() }
func (l *heldLink) close()      { l.held.Close() }

func (l *heldLink) join(ctx context.Context, r joinRequest) (answer joinAnswer, err error) {
	err = l.held.Call(ctx, func(b *sarama.Broker) error {
		request := sarama.NewJoinGroupRequest(l.client.Version())
		request.GroupId, request.MemberId, request.ProtocolType = r.group, r.member, protocolType
		request.SessionTimeout, request.RebalanceTimeout = int32(r.session.Milliseconds()), int32(r.rebalance.Milliseconds())
		for _, s := range strategies() {
			if err := request.AddGroupProtocolMetadata(s.Name(), &sarama.ConsumerGroupMemberMetadata{Topics: r.topics}); err != nil {
				return err
			}
		}
		response, err := b.JoinGroup(request)
		if err != nil {
			return err
		}
		answer.as = membership{id: response.MemberId, generation: response.GenerationId}
		if response.Err != sarama.ErrNoError {
			return response.Err
		}
		answer.protocol, answer.leader = response.GroupProtocol, response.LeaderId == response.MemberId
		if answer.leader {
			answer.members, err = response.GetMembers()
		}
		return err
	})
	if codeOf(err) == sarama.ErrMemberIdRequired {
		return answer, err // no failure: the id to join with
	}
	return answer, l.failed(err, r.group)
}

func (l *heldLink) sync(ctx context.Context, group string, as membership, protocol string, plan sarama.BalanceStrategyPlan) (assigned []record.TopicPartition, err error) {
	kind := protocolType
	err = l.held.Call(ctx, func(b *sarama.Broker) error {
		request := &sarama.SyncGroupRequest{
			GroupId: group, GenerationId: as.generation, MemberId: as.id, ProtocolType: &kind, ProtocolName: &protocol,
			Version: newest(l.client.Version(), 0, sarama.V0_11_0_0, sarama.V2_0_0_0, sarama.V2_3_0_0, sarama.V2_4_0_0, sarama.V2_5_0_0),
		}
		for member, topics := range plan {
			assignment := &sarama.ConsumerGroupMemberAssignment{Topics: topics}
			if err := request.AddGroupAssignmentMember(member, assignment); err != nil {
				return err
			}
		}
		response, err := b.SyncGroup(request)
		if err != nil {
			return err
		}
		if response.Err != sarama.ErrNoError {
			return response.Err
		}
		if len(response.MemberAssignment) == 0 {
			return nil
		}
		assignment, err := response.GetMemberAssignment()
		if err != nil {
			return err
		}
		for topic, partitions := range assignment.Topics {
			for _, partition := range partitions {
				assigned = append(assigned, record.TopicPartition{Topic: topic, Partition: partition})
			}
		}
		return nil
	})
	return assigned, l.failed(err, group)
}

func (l *heldLink) heartbeat(ctx context.Context, group string, as membership) error {
	err := l.held.Call(ctx, func(b *sarama.Broker) error {
		response, err := b.Heartbeat(&sarama.HeartbeatRequest{
			GroupId: group, GenerationId: as.generation, MemberId: as.id,
			Version: newest(l.client.Version(), 0, sarama.V0_11_0_0, sarama.V2_0_0_0, sarama.V2_3_0_0, sarama.V2_4_0_0),
		})
		if err != nil {
			return err
		}
		return codeError(response.Err)
	})
	if codeOf(err) == sarama.ErrRebalanceInProgress {
		return err // no failure
	}
	return l.failed(err, group)
}

func (l *heldLink) leave(ctx context.Context, group, member string) error {
	err := l.held.Call(ctx, func(b *sarama.Broker) error { return leaveGroup(b, l.client.Version(), group, member) })
	return l.failed(err, group)
}

func leaveGroup(b *sarama.Broker, version sarama.KafkaVersion, group, member string) error {
	response, err := b.LeaveGroup(&sarama.LeaveGroupRequest{
		GroupId: group, MemberId: member, Members: []sarama.MemberIdentity{{MemberId: member}},
		Version: newest(version, 0, sarama.V0_11_0_0, sarama.V2_0_0_0, sarama.V2_4_0_0, sarama.V2_4_0_0, sarama.V3_2_0_0),
	})
	if err != nil {
		return err
	}
	code := response.Err
	for _, m := range response.Members {
		if code == sarama.ErrNoError {
			code = m.Err
		}
	}
	if code == sarama.ErrUnknownMemberId {
		return nil // gone already
	}
	return codeError(code)
}

// newest is the newest version of a request that a protocol version has: first, and one more from each of since on.
func newest(version sarama.KafkaVersion, first int16, since ...sarama.KafkaVersion) int16 {
	for _, v := range since {
		if !version.IsAtLeast(v) {
			break
		}
		first++
	}
	return first
}

// newCoordinators gives groups on a client's cluster.
func newCoordinators(client *kafka.Client, observer kafka.Observer) *coordinators {
	return &coordinators{client: client, found: kafka.NewCoordinators(client), observer: observer}
}
