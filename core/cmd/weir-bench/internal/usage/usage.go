//go:build unix

// Package usage reads how much CPU time and memory processes have used, from Linux's /proc.
//
// CPU time counts in the kernel's ticks of 10 ms, so a window must be seconds long. Beside the process that is measured the
// package tells what else ran in a window: our own other processes, and strangers, whose work makes a measurement suspect.
package usage

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU time in /proc. Linux shows user space 100 ticks a second on every architecture that Go runs on.
const tick = 10 * time.Millisecond

// Reading is the CPU time at one instant.
type Reading struct {
	at      time.Time
	process time.Duration // the measured process
	self    time.Duration // this process
	family  time.Duration // this process and all its children
	busy    time.Duration // everything that ran on the computer
	stolen  time.Duration // what the hypervisor gave to others
}

// Read reads the CPU time of a process, of this one and its children, and of the computer.
func Read(pid int) (Reading, error) {
	r := Reading{at: time.Now()}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) // first: what is counted beside it is counted at this instant
	if err != nil {
		return r, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	measured, err := parseStat(text)
	if err != nil {
		return r, fmt.Errorf("process %d: %w", pid, err)
	}
	r.process = measured.cpu
	if r.busy, r.stolen, err = computer(); err != nil {
		return r, err
	}
	self := os.Getpid()
	entries, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return r, err
	}
	for _, entry := range entries {
		text, err := os.ReadFile(entry)
		if err != nil {
			continue // it has ended
		}
		one, err := parseStat(text)
		if err != nil {
			return r, fmt.Errorf("%s: %w", entry, err)
		}
		if one.pid == self {
			r.self = one.cpu
		}
		if one.pid == self || one.parent == self {
			r.family += one.cpu
		}
	}
	return r, nil
}

type stat struct {
	pid, parent int
	cpu         time.Duration
}

// parseStat reads a line of /proc/PID/stat. The second field, a name in parentheses, may hold anything.
func parseStat(text []byte) (stat, error) {
	end := bytes.LastIndexByte(text, ')')
	pid, _, named := bytes.Cut(text, []byte(" ("))
	if end < 0 || !named {
		return stat{}, fmt.Errorf("not a line of stat: %q", text)
	}
	fields := strings.Fields(string(text[end+1:])) // from the third field on
	const parent, user, system = 3 - 2, 14 - 3, 15 - 3
	if len(fields) <= system {
		return stat{}, fmt.Errorf("not a line of stat: %q", text)
	}
	var numbers [4]int64
	for i, field := range []string{string(pid), fields[parent], fields[user], fields[system]} {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return stat{}, fmt.Errorf("not a line of stat: %q", text)
		}
		numbers[i] = n
	}
	return stat{pid: int(numbers[0]), parent: int(numbers[1]), cpu: time.Duration(numbers[2]+numbers[3]) * tick}, nil
}

// computer reads the first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal …
func computer() (busy, stolen time.Duration, err error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, errors.Join(errors.New("CPU time can only be read on Linux"), err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, 0, fmt.Errorf("/proc/stat begins %q", line)
	}
	for i, field := range fields[1:9] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("/proc/stat begins %q", line)
		}
		switch i {
		case 3, 4: // idle, waiting for disks
		case 7:
			stolen = time.Duration(n) * tick
		default:
			busy += time.Duration(n) * tick
		}
	}
	return busy, stolen, nil
}

// Used is what was used between two readings.
type Used struct {
	// Process is the CPU time of the measured process, Generator that of this one.
	Process, Generator time.Duration
	// Ours is the share (0 to 1) of all cores that we and all our processes used; Strangers that of everybody else; Stolen what
	// the hypervisor took.
	Ours, Strangers, Stolen float64
}

// Since gives what was used from an earlier reading to this one.
func (r Reading) Since(earlier Reading) Used {
	capacity := float64(r.at.Sub(earlier.at)) * float64(runtime.NumCPU())
	family := r.family - earlier.family
	return Used{
		Process:   r.process - earlier.process,
		Generator: r.self - earlier.self,
		Ours:      float64(family) / capacity,
		Strangers: max(0, float64(r.busy-earlier.busy-family)) / capacity,
		Stolen:    float64(r.stolen-earlier.stolen) / capacity,
	}
}

// Memory gives the resident memory of a process, now and at its largest so far, in bytes.
func Memory(pid int) (now, peak int64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("memory of process %d: %w", pid, err)
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		to := map[string]*int64{"VmRSS": &now, "VmHWM": &peak}[name]
		if to == nil {
			continue
		}
		kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("memory of process %d: %q", pid, line)
		}
		*to = kilobytes << 10
	}
	return now, peak, nil
}
