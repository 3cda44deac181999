package peer_test

import (
	"testing"

	"go.uber.org/goleak"
)

// Every goroutine of a node ends with it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
