package rest

import (
	"strconv"

	"github.com/weir-gateway/weir/core/internal/fault"
)

// ValidTopicName reports whether Kafka allows a topic of this name: 1–249 of ASCII letters, digits, '.', '_' and '-', and
// neither "." nor "..". Names that come in a path are checked after decoding, so no spelling of a slash gets past.
func ValidTopicName(name string) bool {
	if len(name) == 0 || len(name) > 249 || name == "." || name == ".." {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

// UnknownTopic is the answer for a topic that cannot exist, the same as for one that does not.
func UnknownTopic() error {
	return fault.New(fault.UnknownTopic, "This server does not host this topic-partition.")
}

// PathPartition reads a partition number of a path. What is not an integer is no such route.
func PathPartition(r *Request) (int32, error) {
	n, err := strconv.ParseInt(r.PathValue("partition"), 10, 32)
	if err != nil {
		return 0, notFound()
	}
	if n < 0 {
		return 0, fault.New(fault.PartitionNotFound, "Partition not found.")
	}
	return int32(n), nil
}

func notFound() *fault.Error { return fault.New(fault.NotFound, "HTTP 404 Not Found") }
