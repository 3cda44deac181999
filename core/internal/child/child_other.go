//go:build unix && !linux

package child

import "syscall"

// dieWithParent does nothing: only Linux has a signal for a parent's death. Elsewhere a killed test leaves its brokers.
func dieWithParent(*syscall.SysProcAttr) {}
