//go:build unix

package main

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// machine is what the figures are worth anything for.
type machine struct {
	CPU      string `json:"cpu"`
	Cores    int    `json:"cores"`
	Memory   string `json:"memory"`
	Kernel   string `json:"kernel"`
	Go       string `json:"go"`
	Broker   string `json:"broker"`
	Java     string `json:"java,omitempty"`
	Revision string `json:"revision,omitempty"` // empty: the toolchain wrote none into the binary
}

func describeMachine(ctx context.Context, broker, gateway string) (machine, error) {
	m := machine{Cores: runtime.NumCPU(), Broker: broker, CPU: field("/proc/cpuinfo", "model name"), Memory: field("/proc/meminfo", "MemTotal")}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return m, fmt.Errorf("kernel: %w", err)
	}
	m.Kernel = strings.TrimSpace(string(kernel))
	m.Go = runtime.Version()
	if built, err := buildinfo.ReadFile(gateway); err == nil { // it may be a script that sets an environment
		m.Go = built.GoVersion
		for _, s := range built.Settings {
			switch {
			case s.Key == "vcs.revision":
				m.Revision = s.Value[:min(12, len(s.Value))]
			case s.Key == "vcs.modified" && s.Value == "true":
				m.Revision += " with changes"
			}
		}
	}
	if strings.HasPrefix(broker, "Apache") {
		output, err := exec.CommandContext(ctx, "java", "-version").CombinedOutput()
		if err == nil { // it may be in JAVA_HOME only
			m.Java, _, _ = strings.Cut(string(output), "\n")
		}
	}
	return m, nil
}

// field gives a value of one of /proc's lists, or "unknown".
func field(file, name string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if key, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}
