package kafka

import (
	"fmt"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/config"
)

func newCacheOnly(p config.Produce) *Client {
	return &Client{produce: p, topics: map[string]*Topic{}, unknown: map[string]absence{}, pending: map[string]*lookup{}, brokers: map[int32]string{}}
}

// madeUp is a broker's answer about names that no topic has.
func madeUp(from, count int) (*sarama.MetadataResponse, []string, map[string]*lookup) {
	response, names, lookups := &sarama.MetadataResponse{}, make([]string, count), map[string]*lookup{}
	for i := range names {
		names[i] = fmt.Sprintf("made-up-%d", from+i)
		lookups[names[i]] = newLookup()
		response.Topics = append(response.Topics, &sarama.TopicMetadata{Name: names[i], Err: sarama.ErrUnknownTopicOrPartition})
	}
	return response, names, lookups
}

// A stream of made-up names fills its own cache and no more.
func TestMadeUpNamesAreBounded(t *testing.T) {
	t.Parallel()
	c := newCacheOnly(config.Produce{UnknownTopicTTL: time.Minute})
	for n := 0; n < 10*lookupChunk; n += lookupChunk {
		c.learn(madeUp(n, lookupChunk))
	}
	if len(c.unknown) != maxAbsences {
		t.Errorf("%d absent names are kept, want %d", len(c.unknown), maxAbsences)
	}
}

// BenchmarkMadeUpNames is the time for which the answer to a stream of made-up names holds the lock that every produced record
// needs, when the cache of such names is full.
func BenchmarkMadeUpNames(b *testing.B) {
	c := newCacheOnly(config.Produce{UnknownTopicTTL: time.Minute})
	n := 0
	for ; n < 2*maxAbsences; n += lookupChunk {
		c.learn(madeUp(n, lookupChunk))
	}
	for b.Loop() {
		b.StopTimer()
		response, names, lookups := madeUp(n, lookupChunk)
		n += lookupChunk
		b.StartTimer()
		c.learn(response, names, lookups)
	}
}
