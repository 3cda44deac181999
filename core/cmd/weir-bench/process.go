//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/weir-gateway/weir/core/internal/child"
)

// process is a child of ours.
type process struct {
	*child.Process
	ready string         // the line that it said when it was up
	in    io.WriteCloser // what it is told
	out   *bufio.Reader
}

// stopTime bounds how long a child may take to end before it is killed.
const stopTime = 15 * time.Second

// startSelf starts this program again as one of its hidden subcommands, which prints one line when it is up.
func startSelf(arguments ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", arguments[0], err)
	}
	command := exec.Command(self, arguments...) //nolint:noctx // stop ends it, in order
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", arguments[0], err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", arguments[0], err)
	}
	started, err := child.Start(command)
	if err != nil {
		return nil, err
	}
	p := &process{Process: started, in: in, out: bufio.NewReader(out)}
	if p.ready, err = p.line(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s did not start: %w", arguments[0], err), p.stop())
	}
	return p, nil
}

// line reads the next line that the child prints.
func (p *process) line() (string, error) {
	line, err := p.out.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("process %d said nothing: %w", p.PID(), err)
	}
	return strings.TrimSpace(line), nil
}

// tell writes a line to the child and reads its answer.
func (p *process) tell(line string) (string, error) {
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		return "", fmt.Errorf("process %d: %w", p.PID(), err)
	}
	return p.line()
}

// stop ends the child, with SIGTERM and the end of its input, and waits for it.
func (p *process) stop() error {
	p.in.Close()
	return stopProcess(p.Process)
}

func stopProcess(p *child.Process) error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	timer := time.NewTimer(stopTime)
	defer timer.Stop()
	select {
	case <-p.Done():
		return nil
	case <-timer.C:
		return errors.Join(fmt.Errorf("process %d did not end within %s", p.PID(), stopTime), p.Kill())
	}
}

// poll tries until there is no error, the context ends or the child does.
func poll(ctx context.Context, p *child.Process, try func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.Done():
			return errors.Join(fmt.Errorf("process %d has ended", p.PID()), err)
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}
