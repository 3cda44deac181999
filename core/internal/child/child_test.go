//go:build unix

package child

import (
	"os/exec"
	"syscall"
	"testing"
)

func TestKill(t *testing.T) {
	t.Parallel()
	p, err := Start(exec.Command("sleep", "60"))
	if err != nil {
		t.Fatal(err)
	}
	if p.Ended() {
		t.Error("a child that runs is said to have ended")
	}
	if group, err := syscall.Getpgid(p.PID()); err != nil || group != p.PID() {
		t.Errorf("got process group %d, %v, want the child's own, %d", group, err, p.PID())
	}
	if err := p.Signal(syscall.SIGSTOP); err != nil { // a stopped child can be killed too
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if !p.Ended() || p.ExitCode() != -1 {
		t.Errorf("got ended %v, exit code %d, want an end by a signal", p.Ended(), p.ExitCode())
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("signalling an ended child: %v", err)
	}
}

func TestExitCode(t *testing.T) {
	t.Parallel()
	p, err := Start(exec.Command("sh", "-c", "exit 3"))
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if got := p.ExitCode(); got != 3 {
		t.Errorf("got exit code %d, want 3", got)
	}
}

func TestStartOfNothing(t *testing.T) {
	t.Parallel()
	if _, err := Start(exec.Command("/nonexistent")); err == nil {
		t.Error("got no error")
	}
}
