// Command weir is the gateway and the tools around it: serve and dev run it, config and doctor find out what is wrong before
// it runs, conformance finds out whether a gateway keeps its word. Each subcommand has a file of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	err := newRootCommand().ExecuteContext(ctx)
	if err != nil {
		if !errors.Is(err, errReported) {
			fmt.Fprintln(os.Stderr, "weir:", err)
		}
		os.Exit(1)
	}
}

// errReported ends a command whose output has said what is wrong.
var errReported = errors.New("reported")

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "weir",
		Short:         "An HTTP gateway for Apache Kafka",
		Long:          "Weir lets anyone who speaks HTTP use Apache Kafka: compatible with the REST Proxy's v2 and v3 APIs.",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(newDevCommand(), newServeCommand(), newConfigCommand(), newDoctorCommand(), newConformanceCommand())
	return root
}
