//go:build unix

package apachekafka

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// process is a running child that dies with us.
type process struct {
	command *exec.Cmd
	done    chan struct{} // closed when it has ended and been reaped
}

// spawn starts a command in a process group of its own, so that a terminal's Ctrl-C reaches us alone and we decide the
// order of the end.
//
// The kernel sends the parent-death signal when the thread that forked ends, not the process. So the goroutine that forks
// keeps its thread until the child has ended.
func spawn(command *exec.Cmd) (*process, error) {
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithParent(command.SysProcAttr)
	started := make(chan error, 1)
	p := &process{command: command, done: make(chan struct{})}
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := command.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		_ = command.Wait() // how it ended is in its log; that it ended is what callers watch
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", command.Path, err)
	}
	return p, nil
}

// signal sends a signal to the process. One that has ended already takes none, which is no error.
func (p *process) signal(signal os.Signal) error {
	if err := p.command.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %s to process %d: %w", signal, p.command.Process.Pid, err)
	}
	return nil
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}
