package producer

import "github.com/IBM/sarama"

// murmur2 is the hash of Kafka's Java client (MurmurHash2, 32 bits, its seed): where a keyed record lies must not depend on
// which client wrote it.
func murmur2(data []byte) int32 {
	const m, r = uint32(0x5bd1e995), 24
	h := uint32(0x9747b28c) ^ uint32(len(data))
	for len(data) >= 4 {
		k := uint32(data[0]) | uint32(data[1])<<8 | uint32(data[2])<<16 | uint32(data[3])<<24
		k *= m
		k ^= k >> r
		k *= m
		h = h*m ^ k
		data = data[4:]
	}
	switch len(data) {
	case 3:
		h ^= uint32(data[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(data[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(data[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return int32(h)
}

// partitionForKey is the partition that Kafka's default partitioner gives a key: the hash with its sign bit cleared (not its
// absolute value) modulo the number of partitions.
func partitionForKey(key []byte, partitions int) int32 {
	return (murmur2(key) & 0x7fffffff) % int32(partitions)
}

// chosen is sarama's partitioner: Weir has chosen already.
type chosen struct{}

func newChosen(string) sarama.Partitioner { return chosen{} }

func (chosen) Partition(message *sarama.ProducerMessage, partitions int32) (int32, error) {
	if message.Partition >= partitions { // the topic was made anew, smaller
		return 0, sarama.ErrUnknownTopicOrPartition
	}
	return message.Partition, nil
}

// RequiresConsistency makes sarama count all partitions, not only those with a leader: an index stays an id.
func (chosen) RequiresConsistency() bool { return true }
