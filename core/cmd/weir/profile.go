package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/pprof"

	"github.com/spf13/cobra"
)

// profiles are files that serve writes about itself, for whoever measures it. They are flags and hidden, not settings: there is
// no way to switch them on from outside, and nothing listens.
type profiles struct{ cpu, memory string }

func (p *profiles) flags(command *cobra.Command) {
	flags := command.Flags()
	flags.StringVar(&p.cpu, "cpu-profile", "", "write a CPU profile, from the start to the end, to this file")
	flags.StringVar(&p.memory, "memory-profile", "", "write a profile of all allocations to this file at the end")
	for _, name := range []string{"cpu-profile", "memory-profile"} {
		flags.Lookup(name).Hidden = true
	}
}

// start begins what was asked for. The function that it gives ends it and writes the files.
func (p *profiles) start() (stop func() error, err error) {
	var cpu *os.File
	if p.cpu != "" {
		if cpu, err = os.Create(p.cpu); err != nil {
			return nil, fmt.Errorf("--cpu-profile: %w", err)
		}
		if err := pprof.StartCPUProfile(cpu); err != nil {
			return nil, errors.Join(fmt.Errorf("--cpu-profile: %w", err), cpu.Close())
		}
	}
	return func() error {
		var failed []error
		if cpu != nil {
			pprof.StopCPUProfile()
			failed = append(failed, cpu.Close())
		}
		if p.memory != "" {
			failed = append(failed, writeAllocations(p.memory))
		}
		return errors.Join(failed...)
	}, nil
}

func writeAllocations(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("--memory-profile: %w", err)
	}
	return errors.Join(pprof.Lookup("allocs").WriteTo(file, 0), file.Close())
}
