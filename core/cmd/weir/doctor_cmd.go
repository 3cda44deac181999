package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/kafka"
)

// doctorTimeout bounds the examination of one cluster.
const doctorTimeout = 30 * time.Second

func newDoctorCommand() *cobra.Command {
	var file string
	command := &cobra.Command{
		Use:   "doctor",
		Short: "Try every connection of a configuration and name what is wrong",
		Long: "Doctor tries each broker address of each cluster with the configured TLS and SASL settings and says what it found, the\n" +
			"likely cause and the cure. It writes nothing to Kafka. The exit code is 0 when everything works, otherwise 1.",
		Example: "  weir doctor --config weir.yaml",
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			settings, err := loadFor(command, file)
			if err != nil {
				return err
			}
			return examine(command, settings)
		},
	}
	command.Flags().StringVarP(&file, "config", "c", "", "configuration file; without one, WEIR_… variables alone")
	return command
}

func examine(command *cobra.Command, settings config.Config) error {
	out := command.OutOrStdout()
	well := true
	for _, cluster := range settings.Clusters {
		fmt.Fprintf(out, "cluster %s\n", cluster.Name)
		ctx, cancel := context.WithTimeout(command.Context(), doctorTimeout)
		diagnoses := kafka.Probe(ctx, cluster)
		cancel()
		for _, diagnosis := range diagnoses {
			if diagnosis.Cause == kafka.CauseNone {
				fmt.Fprintf(out, "  %s  ok\n", diagnosis.Address)
				continue
			}
			well = false
			fmt.Fprintf(out, "  %s  %s\n", diagnosis.Address, diagnosis.Cause)
			if diagnosis.Err != nil {
				fmt.Fprintf(out, "    found: %v\n", diagnosis.Err)
			}
			fmt.Fprintf(out, "    cure:  %s\n", diagnosis.Cure)
		}
	}
	if !well {
		return errReported
	}
	return nil
}
