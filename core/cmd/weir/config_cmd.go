package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/weir-gateway/weir/core"
	"github.com/weir-gateway/weir/core/config"
)

// newConfigCommand makes weir config: what an operator needs to write a configuration and to be sure of it.
func newConfigCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "config",
		Short: "Check, show and explain the configuration",
		Args:  cobra.NoArgs,
		RunE:  func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	command.AddCommand(
		newConfigCheckCommand(),
		newConfigShowCommand(),
		newConfigTextCommand("docs", "Print the reference of all settings as Markdown", config.Markdown),
		newConfigTextCommand("schema", "Print the JSON Schema of the configuration file", config.JSONSchema),
	)
	return command
}

func newConfigCheckCommand() *cobra.Command {
	output := "text"
	command := &cobra.Command{
		Use:   "check [FILE]",
		Short: "List every problem of a configuration",
		Long: "Check reads FILE and the WEIR_… environment as weir serve does and lists every problem with its place and its cure.\n" +
			"Without FILE it checks what the environment gives alone. The exit code is 0 when there is no problem, otherwise 1.",
		Example: "  weir config check weir.yaml\n  weir config check -o json weir.yaml",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(command *cobra.Command, arguments []string) error {
			if output != "text" && output != "json" {
				return fmt.Errorf("--output is %q: it takes text or json", output)
			}
			_, file, problems, err := loadConfig(arguments)
			if err != nil {
				return err
			}
			if output == "json" {
				err = writeProblemsJSON(command.OutOrStdout(), file, problems)
			} else if len(problems) == 0 {
				_, err = fmt.Fprintf(command.OutOrStdout(), "%s: ok\n", file)
			} else {
				_, err = fmt.Fprintln(command.ErrOrStderr(), problems)
			}
			if err != nil {
				return err
			}
			return reported(command, problems)
		},
	}
	command.Flags().StringVarP(&output, "output", "o", output, "how to write the result: text or json")
	return command
}

func newConfigShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show [FILE]",
		Short: "Print the configuration in effect, secrets masked",
		Long: "Show prints what weir serve would run with: FILE under the WEIR_… environment, references resolved, defaults filled in.\n" +
			"Secrets that are set print as ***.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(command *cobra.Command, arguments []string) error {
			loaded, _, problems, err := loadConfig(arguments)
			if err != nil {
				return err
			}
			if len(problems) > 0 {
				if _, err := fmt.Fprintln(command.ErrOrStderr(), problems); err != nil {
					return err
				}
				return reported(command, problems)
			}
			_, err = command.OutOrStdout().Write(loaded.Redacted())
			return err
		},
	}
}

func newConfigTextCommand(name, short string, text func() []byte) *cobra.Command {
	return &cobra.Command{
		Use:   name,
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			_, err := command.OutOrStdout().Write(text())
			return err
		},
	}
}

// loadConfig loads the file that the arguments name, or the environment alone. Problems are a result here, not an error;
// source is what to call the configuration.
func loadConfig(arguments []string) (loaded config.Config, source string, problems config.Problems, err error) {
	path, source := "", "environment"
	if len(arguments) > 0 {
		path, source = arguments[0], arguments[0]
	}
	loaded, err = load(path)
	if errors.As(err, &problems) {
		err = nil
	}
	return loaded, source, problems, err
}

// load reads a configuration as every command does: what config can judge, and whether the operations that it names exist.
func load(path string) (config.Config, error) {
	loaded, err := config.Load(path, os.Environ())
	if err != nil {
		return loaded, err
	}
	err = core.CheckOperations(loaded.API)
	var problems config.Problems
	if errors.As(err, &problems) {
		for i := range problems {
			problems[i].File = path
			if path == "" {
				problems[i].File = "environment"
			}
		}
	}
	return loaded, err
}

// loadFor is load for a command that cannot go on with problems: it prints them.
func loadFor(command *cobra.Command, path string) (config.Config, error) {
	loaded, err := load(path)
	var problems config.Problems
	if errors.As(err, &problems) {
		fmt.Fprintln(command.ErrOrStderr(), problems.Error())
		return loaded, errReported
	}
	return loaded, err
}

// reported is nil without problems, and else silences cobra, which would print the error and the usage after them.
func reported(command *cobra.Command, problems config.Problems) error {
	if len(problems) == 0 {
		return nil
	}
	command.SilenceErrors, command.SilenceUsage = true, true
	return errReported
}

func writeProblemsJSON(out io.Writer, file string, problems config.Problems) error {
	if problems == nil {
		problems = config.Problems{} // [] rather than null
	}
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(struct {
		File     string          `json:"file"`
		OK       bool            `json:"ok"`
		Problems config.Problems `json:"problems"`
	}{file, len(problems) == 0, problems})
}
