package rest

import (
	"crypto/rand"
	"encoding/hex"
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

// longestName is the most characters of a group or an instance.
const longestName = 255

// ValidName reports whether a consumer group or instance can be called so: 1 to 255 of the characters that a path segment may hold as
// they are (RFC 3986's unreserved and sub-delims, ':' and '@'), and neither "." nor "..". Kafka itself takes any text for a group.
func ValidName(name string) bool {
	if name == "" || len(name) > longestName || name == "." || name == ".." {
		return false
	}
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '.', c == '_', c == '~', c == '!', c == '$', c == '&', c == '\'', c == '(', c == ')', c == '*', c == '+', c == ',', c == ';', c == '=', c == ':', c == '@':
		default:
			return false
		}
	}
	return true
}

// InvalidName is the answer to a name that ValidName refuses. what is group or name.
func InvalidName(what string) error {
	return fault.Newf(fault.Unprocessable, "%s must be 1 to %d characters of A-Z a-z 0-9 and -._~!$&'()*+,;=:@, and neither . nor ..", what, longestName)
}

// InstanceNotFound is the answer for an instance that does not exist, or not for the caller.
func InstanceNotFound() error {
	return fault.New(fault.InstanceNotFound, "Consumer instance not found.")
}

// UUID makes a random UUID (RFC 9562, version 4).
func UUID() string {
	var raw [16]byte
	rand.Read(raw[:]) // never fails: the program ends without randomness
	raw[6], raw[8] = raw[6]&0x0F|0x40, raw[8]&0x3F|0x80
	text := hex.EncodeToString(raw[:])
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}
