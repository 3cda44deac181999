//go:build unix

// Package child runs other programs that must not outlive this one: brokers and gateways that tests start.
//
// A child gets a process group of its own, so that a terminal's Ctrl-C reaches us alone and we decide the order of the end.
// On Linux the kernel kills it when this process ends, however it ends; elsewhere a process that is killed leaves its
// children behind.
package child

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// Process is a running child. Its methods may be called at the same time.
type Process struct {
	command *exec.Cmd
	done    chan struct{}
}

// Start starts a command that was prepared but not started. Its SysProcAttr is replaced.
//
// The kernel sends the parent-death signal when the thread that forked ends, not the process. So the goroutine that forks
// keeps its thread until the child has ended.
func Start(command *exec.Cmd) (*Process, error) {
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithParent(command.SysProcAttr)
	started := make(chan error, 1)
	p := &Process{command: command, done: make(chan struct{})}
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		started <- err
		if err != nil {
			return
		}
		_ = command.Wait() // how it ended is in ProcessState
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", command.Path, err)
	}
	return p, nil
}

// PID is the process id.
func (p *Process) PID() int { return p.command.Process.Pid }

// Done is closed when the child has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Ended reports whether the child has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// ExitCode is the exit code of a child that has ended, -1 if a signal ended it. Call it only after Done is closed.
func (p *Process) ExitCode() int { return p.command.ProcessState.ExitCode() }

// Signal sends a signal. A child that has ended already takes none, which is no error.
func (p *Process) Signal(signal os.Signal) error {
	if err := p.command.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %s to process %d: %w", signal, p.PID(), err)
	}
	return nil
}

// Kill ends the child with SIGKILL and waits until it is gone.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return nil
}
