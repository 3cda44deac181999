package rest

import (
	"strconv"

	"github.com/weir-gateway/weir/core/internal/fault"
)

// ValidID reports whether an id that a client gives is one to repeat in answers and logs as it stands: 1 to longest characters of
// [0-9A-Za-z_-].
func ValidID(id string, longest int) bool {
	if len(id) == 0 || len(id) > longest {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-') {
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
