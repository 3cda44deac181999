package rest

import (
	"testing"

	"github.com/weir-gateway/weir/core/internal/fault"
)

func TestEveryFaultHasAWireForm(t *testing.T) {
	t.Parallel()
	for _, code := range fault.Codes() {
		wire, found := wires[code]
		if !found || wire.Status < 400 || wire.Status > 599 || wire.ErrorCode < 400 || wire.Title == "" {
			t.Errorf("fault %v: wire form %+v", code, wire)
		}
		if status := StrictStatus(code); status < 400 || status > 599 {
			t.Errorf("fault %v: strict status %d", code, status)
		}
	}
}
