package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/weir-gateway/weir/core/internal/telemetry"
)

func newServeCommand() *cobra.Command {
	var file string
	var profiles profiles
	command := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway in front of real clusters",
		Long: "Serve runs the gateway until SIGTERM or Ctrl-C and then drains. It starts even when no broker answers: /readyz on the\n" +
			"management address says what is missing. All settings are in docs/config.md.",
		Example: "  weir serve --config weir.yaml\n  WEIR_CLUSTERS_0_NAME=main WEIR_CLUSTERS_0_BOOTSTRAP_SERVERS=localhost:9092 weir serve",
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) (err error) {
			settings, err := loadFor(command, file)
			if err != nil {
				return err
			}
			stopProfiles, err := profiles.start()
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, stopProfiles()) }()
			defer holdHeapFloor()()
			logger := telemetry.NewLogger(settings.Log, command.ErrOrStderr())
			gateway, err := listen(command.Context(), settings, logger)
			if err != nil {
				return err
			}
			logger.Info("serving", "address", gateway.clients.Addr().String(), "management", settings.Management.Address)
			return gateway.run(command.Context())
		},
	}
	command.Flags().StringVarP(&file, "config", "c", "", "configuration file; without one, WEIR_… variables alone")
	profiles.flags(command)
	return command
}
