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

// TestMadeUpNamesAreCheap: taking in the answer to a stream of made-up names must not hold the lock that every produced record
// needs for longer than the answer is long.
func TestMadeUpNamesAreCheap(t *testing.T) {
	t.Parallel()
	c := newCacheOnly(config.Produce{UnknownTopicTTL: time.Minute})
	n, best := 0, time.Hour
	for range 10 {
		response, names, lookups := &sarama.MetadataResponse{}, make([]string, lookupChunk), map[string]*lookup{}
		for i := range names {
			n++
			names[i] = fmt.Sprintf("made-up-%d", n)
			lookups[names[i]] = newLookup()
			response.Topics = append(response.Topics, &sarama.TopicMetadata{Name: names[i], Err: sarama.ErrUnknownTopicOrPartition})
		}
		full := len(c.unknown) == maxAbsences
		began := time.Now()
		c.learn(response, names, lookups)
		if full {
			best = min(best, time.Since(began))
		}
	}
	if len(c.unknown) != maxAbsences {
		t.Errorf("%d absent names are kept, want %d", len(c.unknown), maxAbsences)
	}
	if best > 20*time.Millisecond {
		t.Errorf("an answer about %d unknown names takes %v", lookupChunk, best)
	}
}
