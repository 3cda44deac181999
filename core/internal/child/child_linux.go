package child

import "syscall"

// dieWithParent has the kernel kill the child when we end, however we end.
func dieWithParent(attributes *syscall.SysProcAttr) { attributes.Pdeathsig = syscall.SIGKILL }
