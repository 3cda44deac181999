//go:build unix

// Command weir-bench measures the gateway beside programs that do parts of its work and nothing else: a bare net/http server
// that reads the same bodies and answers the same bytes, and sarama alone, an AsyncProducer that sends the same records and
// connections that fetch and copy them.
//
// Everything runs on this computer: a broker (a real Apache Kafka, or the embedded one), the program under measurement, and
// the load generator, each in a process of its own. The number to trust is therefore not a rate, for which all of them share
// the cores, but the CPU time of the measured process for each request and record, and its ratio to the bare programs' in the
// same round: rounds are interleaved, so that what disturbs one disturbs all. docs/benchmarks.md says more and has the results.
//
// The bare programs and the embedded broker are hidden subcommands of this one, which starts itself.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/rcrowley/go-metrics"
	"github.com/spf13/cobra"
)

func main() {
	metrics.UseNilMetrics = true // sarama's own cost CPU for each record, and the gateway has them off too
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newRootCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "weir-bench:", err)
		os.Exit(1)
	}
}

// settings are what a person may choose.
type settings struct {
	Broker    string        `json:"broker"`
	Rounds    int           `json:"rounds"`
	WarmUp    time.Duration `json:"warm_up"`
	Measure   time.Duration `json:"measure"`
	Rate      float64       `json:"rate"`
	ValueSize int           `json:"value_bytes"`
	Scenarios []string      `json:"scenarios"`

	quick, profile           bool
	gateway                  string
	keep                     string
	jsonFile, markdown, from string
}

func newRootCommand() *cobra.Command {
	var s settings
	root := &cobra.Command{
		Use:   "weir-bench",
		Short: "Measure the gateway beside a bare HTTP server and a bare Kafka client",
		Long: "weir-bench measures, in interleaved rounds on this computer, what the gateway costs: CPU time for each request and record,\n" +
			"latencies, memory, and how that compares with a bare net/http server and with bare sarama doing the same work.\n" +
			"Run it on a quiet computer: it tells how much of the CPU went to strangers meanwhile. It needs Linux, and for the real\n" +
			"Kafka Java 17 (and Maven the first time).",
		Example: "  weir-bench                                   all of it, about 20 minutes\n" +
			"  weir-bench --quick                           a look, about a minute\n" +
			"  weir-bench --scenario batch-1,batch-100      some of it\n" +
			"  weir-bench --json r.json --markdown docs/benchmarks.md\n" +
			"  weir-bench --from r.json --markdown docs/benchmarks.md",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(command *cobra.Command, _ []string) error {
			return run(command, s)
		},
	}
	flags := root.Flags()
	flags.StringVar(&s.Broker, "broker", "kafka", "kafka: a real Apache Kafka; embedded: one that counts records and keeps none, so that nothing can be read")
	flags.IntVar(&s.Rounds, "rounds", 3, "how many interleaved rounds")
	flags.DurationVar(&s.WarmUp, "warm-up", 2*time.Second, "how long each program works before it is measured")
	flags.DurationVar(&s.Measure, "measure", 6*time.Second, "how long each program is measured in each round")
	flags.StringSliceVar(&s.Scenarios, "scenario", nil, "run only these (default: all): "+scenarioNames())
	flags.Float64Var(&s.Rate, "rate", 2000, "requests a second of the open loop")
	flags.IntVar(&s.ValueSize, "value-bytes", 1024, "size of a record's JSON value, at least 640")
	flags.BoolVar(&s.quick, "quick", false, "one short round of the main scenarios: to see that it works, not for figures")
	flags.BoolVar(&s.profile, "profile", true, "after the rounds, say what the gateway's CPU time went to")
	flags.StringVar(&s.keep, "keep", "", "keep the gateway's log, CPU profiles and allocation profiles in this directory")
	flags.StringVar(&s.gateway, "gateway", "", "the weir binary (default: the one beside this one)")
	flags.StringVar(&s.jsonFile, "json", "", "write all results to this file")
	flags.StringVar(&s.markdown, "markdown", "", "write the tables into this Markdown file, between its weir-bench marks; a part that was not measured stays")
	flags.StringVar(&s.from, "from", "", "measure nothing: take the results from a file that --json wrote")
	root.AddCommand(newEchoCommand(), newProducerCommand(), newReaderCommand(), newBrokerCommand())
	return root
}

// check completes the settings.
func (s *settings) check() error {
	if s.quick {
		s.Rounds, s.WarmUp, s.Measure = 1, time.Second, 2*time.Second
		if len(s.Scenarios) == 0 {
			s.Scenarios = quickScenarios(s.Broker)
		}
	}
	if s.gateway == "" {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find the weir binary (give it with --gateway): %w", err)
		}
		s.gateway = filepath.Join(filepath.Dir(self), "weir")
	}
	if _, err := os.Stat(s.gateway); err != nil {
		return fmt.Errorf("the gateway's binary: %w. Run make build, or give it with --gateway", err)
	}
	switch {
	case s.Broker != "kafka" && s.Broker != "embedded":
		return fmt.Errorf("--broker %q: kafka or embedded", s.Broker)
	case s.Rounds < 1:
		return errors.New("--rounds: at least 1")
	case s.Measure < 500*time.Millisecond:
		return errors.New("--measure: at least 500ms, because the kernel counts CPU time in steps of 10ms")
	case s.Rate <= 0:
		return errors.New("--rate: more than 0")
	case s.ValueSize < 640:
		return errors.New("--value-bytes: at least 640")
	}
	return nil
}

// run measures, or reads what was measured, and reports.
func run(command *cobra.Command, s settings) error {
	var results report
	var err error
	if s.from != "" {
		results, err = readReport(s.from)
	} else if err = s.check(); err == nil {
		results, err = measure(command.Context(), s, command.ErrOrStderr())
	}
	if err != nil {
		return err
	}
	var failed []error
	if s.jsonFile != "" {
		failed = append(failed, results.write(s.jsonFile))
	}
	if s.markdown != "" {
		failed = append(failed, results.writeInto(s.markdown))
	}
	failed = append(failed, results.print(command.OutOrStdout()))
	return errors.Join(failed...)
}
