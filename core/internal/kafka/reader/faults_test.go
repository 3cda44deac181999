package reader

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-gateway/weir/core/internal/embedded"
	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/kafka"
	"github.com/weir-gateway/weir/core/internal/record"
)

// spread puts partition i of a topic on broker i.
func spread(t testing.TB, broker *embedded.Broker, topic string, partitions int32) (positions []record.Position) {
	t.Helper()
	for p := range partitions {
		if err := broker.MoveLeader(topic, p, p%int32(broker.NumBrokers())); err != nil {
			t.Fatal(err)
		}
		positions = append(positions, position(topic, p, 0))
	}
	return positions
}

func TestLeadersThatMove(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Brokers: 3, Topics: []embedded.Topic{{Name: "a", Partitions: 3}}}, consumeSettings())
	positions := spread(t, r.broker, "a", 3)
	p := newProducer(t, r.broker.Addresses())
	for round := range int32(4) {
		for i := range int32(3) {
			produce(t, p, &kgo.Record{Topic: "a", Partition: i, Value: fmt.Append(nil, round)})
		}
		for i := range positions { // alone, so that no other's records end the call
			got := r.fetchOne(t, positions[i], Options{Wait: 5 * time.Second})
			if got.Err != nil || len(got.Records) != 1 || string(got.Records[0].Value) != fmt.Sprint(round) {
				t.Errorf("round %d, partition %d: %+v", round, i, got)
			}
			positions[i].Offset = got.End
		}
		for i := range int32(3) {
			if err := r.broker.MoveLeader("a", i, (i+round+1)%3); err != nil {
				t.Fatal(err)
			}
		}
	}
	offsets, err := r.reader.Offsets(t.Context(), []At{{TopicPartition: record.TopicPartition{Topic: "a"}, At: Latest}, {TopicPartition: record.TopicPartition{Topic: "a", Partition: 1}, At: Latest}}, false)
	if err != nil || offsets[0].Offset != 4 || offsets[1].Offset != 4 {
		t.Errorf("offsets after a move: %+v, %v", offsets, err)
	}
}

func TestErrorsThatPass(t *testing.T) {
	t.Parallel()
	for _, code := range []int16{3, 5, 6, 74, 75, 78} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}}, consumeSettings())
			produce(t, newProducer(t, r.broker.Addresses()), values("a", 0, 3, 10)...)
			stop := r.broker.Fail("Fetch", embedded.AnyNode, code, 2)
			if got := r.fetchOne(t, position("a", 0, 0), Options{Wait: 5 * time.Second}); got.Err != nil || len(got.Records) != 3 {
				t.Errorf("%+v", got)
			}
			if hits := stop(); hits != 2 {
				t.Errorf("%d errors were injected, want 2", hits)
			}
			stop = r.broker.Fail("Fetch", embedded.AnyNode, code, -1)
			started := time.Now()
			got := r.fetchOne(t, position("a", 0, 0), Options{Wait: 300 * time.Millisecond})
			if took := time.Since(started); took > 600*time.Millisecond {
				t.Errorf("took %v", took)
			}
			stop()
			if want := kafka.CodeFault(code, "", nil); got.Err == nil || fault.From(got.Err).Code != want.Code || got.AtEnd() {
				t.Errorf("error %v, want %v", got.Err, want)
			}
			r.broker.Fail("ListOffsets", embedded.AnyNode, code, 1)
			if offsets, err := r.reader.Offsets(t.Context(), []At{{TopicPartition: record.TopicPartition{Topic: "a"}, At: Latest}}, false); err != nil || offsets[0].Err != nil || offsets[0].Offset != 3 {
				t.Errorf("offsets: %+v, %v", offsets, err)
			}
		})
	}
}

func TestPermissionDenied(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}}, consumeSettings())
	r.broker.Fail("Fetch", embedded.AnyNode, 29, 1)
	got := r.fetchOne(t, position("a", 0, 0), Options{Wait: 5 * time.Second})
	wantCode(t, "fetch", got.Err, fault.PermissionDenied)
}

func TestBrokenConnections(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}}, consumeSettings())
	produce(t, newProducer(t, r.broker.Addresses()), values("a", 0, 3, 10)...)
	for i := range 3 { // an idle connection that was cut, and one that breaks in a fetch
		if got := r.fetchOne(t, position("a", 0, 0), Options{Wait: 5 * time.Second}); got.Err != nil || len(got.Records) != 3 {
			t.Errorf("%d: %+v", i, got)
		}
		if err := r.broker.Cut(0); err != nil {
			t.Fatal(err)
		}
	}
	r.broker.Disconnect("Fetch", embedded.AnyNode, false, 2)
	if got := r.fetchOne(t, position("a", 0, 0), Options{Wait: 5 * time.Second}); got.Err != nil || len(got.Records) != 3 {
		t.Errorf("%+v", got)
	}
}

func TestBrokersThatAreGoneOrHang(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(*embedded.Broker, int32) error{"gone": (*embedded.Broker).Down, "hangs": (*embedded.Broker).Freeze} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, embedded.Options{Brokers: 3, Topics: []embedded.Topic{{Name: "a", Partitions: 3}}}, consumeSettings())
			positions := spread(t, r.broker, "a", 3)
			p := newProducer(t, r.broker.Addresses())
			for i := range int32(3) {
				produce(t, p, values("a", i, 5, 10)...)
			}
			readAll(t, r.reader, positions, Options{Wait: time.Second}) // connections are there
			for i := range int32(3) {
				produce(t, p, values("a", i, 5, 10)...)
			}
			if err := stop(r.broker, 2); err != nil {
				t.Fatal(err)
			}
			started := time.Now()
			results, release, err := r.reader.Fetch(t.Context(), positions, Options{Wait: 10 * time.Second})
			release()
			if took := time.Since(started); err != nil || took > time.Second {
				t.Errorf("others have data: %v after %v", err, took)
			}
			for i := range 2 {
				if results[i].Err != nil || len(results[i].Records) != 5 {
					t.Errorf("partition %d: %+v", i, results[i])
				}
				positions[i].Offset = results[i].End
			}
			if results[2].AtEnd() || len(results[2].Records) > 0 {
				t.Errorf("the partition of the broker that does not answer: %+v", results[2])
			}
			for _, wait := range []time.Duration{0, 400 * time.Millisecond} {
				started = time.Now()
				results, release, err = r.reader.Fetch(t.Context(), positions, Options{Wait: wait})
				release()
				if took := time.Since(started); err != nil || took > wait+310*time.Millisecond {
					t.Errorf("nothing to read, Wait %v: %v after %v", wait, err, took)
				}
				if err == nil && (results[2].Err == nil || !fault.From(results[2].Err).Code.Retriable()) {
					t.Errorf("Wait %v: %v, want an error that may pass", wait, results[2].Err)
				}
				started = time.Now()
				_, release, err = r.reader.Fetch(t.Context(), positions[2:], Options{Wait: wait})
				release()
				wantCode(t, "no broker answers", err, fault.BrokerNotAvailable)
				if took := time.Since(started); took > wait+310*time.Millisecond {
					t.Errorf("alone, Wait %v: after %v", wait, took)
				}
			}
			if err := r.broker.Up(2); err != nil {
				t.Fatal(err)
			}
			if got := r.fetchOne(t, positions[2], Options{Wait: 10 * time.Second}); got.Err != nil || len(got.Records) != 5 {
				t.Errorf("after it is back: %+v", got)
			}
		})
	}
}

// The end of a context ends the call at once, and breaks no connection.
func TestTheCallerLeaves(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}}, consumeSettings())
	for range 3 {
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan error, 1)
		go func() {
			_, release, err := r.reader.Fetch(ctx, []record.Position{position("a", 0, 0)}, Options{Wait: time.Minute})
			release()
			done <- err
		}()
		holdsWithin(t, 5*time.Second, "a fetch is under way", func() bool { return r.reader.Buffered() > 0 })
		cancel(errors.New("gone"))
		started := time.Now()
		wantCode(t, "cancelled", <-done, fault.Unavailable)
		if took := time.Since(started); took > 100*time.Millisecond {
			t.Errorf("took %v", took)
		}
		holdsWithin(t, 5*time.Second, "the fetch gives its room back", func() bool { return r.reader.Buffered() == 0 })
	}
}

func TestTheBudget(t *testing.T) {
	t.Parallel()
	settings := consumeSettings()
	settings.BufferBytes = 1 << 20
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}}, settings)
	produce(t, newProducer(t, r.broker.Addresses(), kgo.ProducerBatchMaxBytes(4<<20)), values("a", 0, 700, 1000)...)
	from := []record.Position{position("a", 0, 0)}

	results, release, err := r.reader.Fetch(t.Context(), from, Options{Wait: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if held := r.reader.Buffered(); len(results[0].Records) != 700 || held < 700_000 || held > 800_000 {
		t.Errorf("%d bytes are held for %d records of 1000", held, len(results[0].Records))
	}
	for _, wait := range []time.Duration{0, 200 * time.Millisecond} {
		started := time.Now()
		_, none, err := r.reader.Fetch(t.Context(), from, Options{Wait: wait})
		none()
		wantCode(t, "no room", err, fault.Overloaded)
		if took := time.Since(started); took < max(wait, leastRoomWait)-5*time.Millisecond || took > wait+300*time.Millisecond {
			t.Errorf("Wait %v: refused after %v", wait, took)
		}
	}
	done := make(chan error, 1)
	go func() {
		_, release, err := r.reader.Fetch(t.Context(), from, Options{Wait: 10 * time.Second})
		release()
		done <- err
	}()
	holdsWithin(t, 5*time.Second, "it waits for room", r.reader.budget.wanted)
	release()
	if err := <-done; err != nil {
		t.Errorf("with room again: %v", err)
	}
	if held := r.reader.Buffered(); held != 0 {
		t.Errorf("%d bytes are held", held)
	}
}

// Polls that find nothing hold nothing: more of them than there is room for do not refuse each other.
func TestIdlePollsNeedNoRoom(t *testing.T) {
	t.Parallel()
	settings := consumeSettings()
	settings.FetchConnections, settings.BufferBytes = 16, 4<<20
	r := newRig(t, embedded.Options{Brokers: 2, Topics: []embedded.Topic{{Name: "a", Partitions: 4}}}, settings)
	positions := spread(t, r.broker, "a", 4)
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			some := positions
			if i%2 == 0 {
				some = positions[:1]
			}
			started := time.Now()
			results, release, err := r.reader.Fetch(t.Context(), some, Options{Wait: time.Second})
			release()
			if took := time.Since(started); err != nil || took > 1500*time.Millisecond {
				t.Errorf("%v after %v", err, took)
			}
			for i := range results {
				if results[i].Err != nil {
					t.Errorf("%+v", results[i])
				}
			}
		})
	}
	all.Wait()
}

// Many polls share few connections, and each ends in time.
func TestManyShareFewConnections(t *testing.T) {
	t.Parallel()
	const calls, connections = 300, 4
	settings := consumeSettings()
	settings.FetchConnections = connections
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a", Partitions: 2}}}, settings)
	p := newProducer(t, r.broker.Addresses())
	var all sync.WaitGroup
	var mu sync.Mutex
	longest, found := time.Duration(0), 0
	for range calls {
		all.Go(func() {
			started := time.Now()
			results, release, err := r.reader.Fetch(t.Context(), []record.Position{position("a", 1, 0)}, Options{Wait: time.Second})
			release()
			mu.Lock()
			defer mu.Unlock()
			longest = max(longest, time.Since(started))
			if err != nil || results[0].Err != nil {
				t.Errorf("%v, %+v", err, results)
			} else if len(results[0].Records) > 0 {
				found++
			}
		})
	}
	holdsWithin(t, 5*time.Second, "fetches are under way", func() bool { return r.reader.Buffered() > 0 })
	if open := r.reader.pool.Connections(); open > connections {
		t.Errorf("%d connections, want at most %d", open, connections)
	}
	produce(t, p, &kgo.Record{Topic: "a", Partition: 1, Value: []byte("v")})
	all.Wait()
	if longest > 1500*time.Millisecond {
		t.Errorf("the longest of them took %v", longest)
	}
	if found != calls {
		t.Errorf("%d of %d found the record", found, calls)
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a"}}}, consumeSettings())
	done := make(chan error, 1)
	go func() {
		_, release, err := r.reader.Fetch(t.Context(), []record.Position{position("a", 0, 0)}, Options{Wait: time.Minute})
		release()
		done <- err
	}()
	holdsWithin(t, 5*time.Second, "a fetch is under way", func() bool { return r.reader.Buffered() > 0 })
	r.reader.Close()
	select {
	case err := <-done:
		wantCode(t, "under way", err, fault.Unavailable)
	case <-time.After(5 * time.Second):
		t.Fatal("the fetch goes on")
	}
	_, release, err := r.reader.Fetch(t.Context(), []record.Position{position("a", 0, 0)}, Options{Wait: time.Minute})
	release()
	wantCode(t, "afterwards", err, fault.Unavailable)
}

// What cannot be read costs only the partition that has it.
func TestAnUnreadableBatch(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		codec int16
		data  string
		want  fault.Code
	}{
		"gzip":      {1, "not compressed", fault.KafkaFailed},
		"gzip, cut": {1, "cut", fault.BrokerNotAvailable}, // its decompressor's error is that of a connection that broke
		"snappy":    {2, "not compressed", fault.KafkaFailed},
		"zstd":      {4, "not compressed", fault.KafkaFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a", Partitions: 3}}}, consumeSettings())
			p := newProducer(t, r.broker.Addresses())
			produce(t, p, values("a", 0, 3, 10)...)
			produce(t, p, values("a", 2, 3, 10)...)
			produceUnreadable(t, p, "a", 1, test.codec, test.data)
			positions := []record.Position{position("a", 0, 0), position("a", 1, 0), position("a", 2, 0)}
			got := [3]int{}
			var unreadable error
			for range 2 { // the first that has records ends a call
				results, release, err := r.reader.Fetch(t.Context(), positions, Options{Wait: 5 * time.Second})
				release()
				if err != nil {
					t.Fatal(err)
				}
				for i := range results {
					got[i] += len(results[i].Records)
					positions[i].Offset = results[i].End
				}
				unreadable = results[1].Err
				if got[0]+got[2] == 6 {
					break
				}
			}
			if got != [3]int{3, 0, 3} {
				t.Errorf("%v records of the partitions, want 3, 0, 3", got)
			}
			wantCode(t, "the batch that cannot be read", unreadable, test.want)
			if test.want == fault.KafkaFailed && !strings.Contains(unreadable.Error(), "partition a-1 at offset 0") {
				t.Errorf("the error says %q", unreadable)
			}
		})
	}
}

// produceUnreadable writes a batch that says it is compressed and is not. A real broker would refuse it.
func produceUnreadable(t *testing.T, client *kgo.Client, topic string, partition int32, codec int16, data string) {
	t.Helper()
	batch := kmsg.NewRecordBatch()
	batch.Magic, batch.Attributes, batch.NumRecords, batch.Records = 2, codec, 1, []byte(data)
	batch.ProducerID, batch.ProducerEpoch, batch.FirstSequence = -1, -1, -1
	raw := batch.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	request := kmsg.NewPtrProduceRequest()
	request.Acks, request.TimeoutMillis = -1, 1000
	rt, rp := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
	rp.Partition, rp.Records = partition, raw
	rt.Topic, rt.Partitions = topic, append(rt.Partitions, rp)
	metadata := kmsg.NewPtrMetadataRequest()
	mt := kmsg.NewMetadataRequestTopic()
	mt.Topic = &topic
	metadata.Topics = append(metadata.Topics, mt)
	known, err := metadata.RequestWith(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	rt.TopicID = known.Topics[0].TopicID
	request.Topics = append(request.Topics, rt)
	response, err := request.RequestWith(t.Context(), client)
	if err != nil || response.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Fatalf("%+v, %v", response, err)
	}
}
