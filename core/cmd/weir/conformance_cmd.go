package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-gateway/weir/conformance"
	"github.com/weir-gateway/weir/conformance/kafkaenv"
)

// errNotConformant is a run whose report is not good. The report itself has said why.
var errNotConformant = errors.New("the target does not conform: see the failures above")

// newConformanceCommand makes `weir conformance`: the black-box suite against any base URL.
func newConformanceCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "conformance",
		Short: "Hold a server against the conformance suite for the REST API",
		Long: `The suite sends what clients send, and holds the answers – and what is then in Kafka – against what the Confluent REST
API (v2 and v3) and Weir's extensions of it promise. It works on any base URL.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	command.AddCommand(newConformanceRunCommand(), newConformanceListCommand())
	return command
}

type conformanceFlags struct {
	url, management, report, suite, known, name, profile, cluster string
	bootstrap, features, traits, headers, limits                  []string
	parallel                                                      int
	keepTopics                                                    bool
}

func newConformanceRunCommand() *cobra.Command {
	var flags conformanceFlags
	command := &cobra.Command{
		Use:   "run --url URL",
		Short: "Run the suite; exit status 1 when anything failed",
		Example: `  weir conformance run --url http://127.0.0.1:8082
  weir conformance run --url http://127.0.0.1:8082 --bootstrap 127.0.0.1:9092 --report report.json
  weir conformance run --url https://gateway.example/kafka --header 'Authorization: Bearer TOKEN' --suite 'v3-*'`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			command.SilenceUsage = true
			return runConformance(command.Context(), command.OutOrStdout(), &flags)
		},
	}
	f := command.Flags()
	f.StringVar(&flags.url, "url", "", "where the API begins, for example http://127.0.0.1:8082 (required)")
	f.StringVar(&flags.management, "management", "", "a Weir's management URL; the run waits until /readyz there says ready")
	f.StringVar(&flags.report, "report", "", "write the report as JSON to this file")
	f.StringVar(&flags.suite, "suite", "", "run only the suites or cases whose id matches; * stands for any text")
	f.StringVar(&flags.known, "known", "", "a list of known failures, PATTERN # REASON on each line; one that passes fails the run")
	f.StringVar(&flags.name, "name", "", "the target's name in the report (default: the URL)")
	f.StringVar(&flags.cluster, "cluster", "", "the Kafka cluster's id (default: the first that the target lists)")
	f.StringVar(&flags.profile, "profile", conformance.DefaultProfile, "the configuration that the target runs with, one of "+profileNames())
	f.StringSliceVar(&flags.bootstrap, "bootstrap", nil, "host:port of the Kafka behind the target, to make topics and read records back")
	f.StringSliceVar(&flags.features, "feature", nil, "a feature of the target, in place of finding them out; repeatable")
	f.StringSliceVar(&flags.traits, "trait", nil, "what is behind the target and known to differ: kfake, apache, confluent; repeatable")
	f.StringArrayVar(&flags.headers, "header", nil, "a header for every request, 'Name: value'; repeatable")
	f.StringSliceVar(&flags.limits, "limit", nil, "a limit of the target that is not the default, name=value; repeatable")
	f.IntVar(&flags.parallel, "parallel", 0, "how many cases run at once (default 16)")
	f.BoolVar(&flags.keepTopics, "keep-topics", false, "leave the topics of the run in Kafka")
	if err := command.MarkFlagRequired("url"); err != nil {
		panic(err) // the flag is defined above
	}
	return command
}

func profileNames() string {
	profiles, err := conformance.Profiles()
	if err != nil {
		return err.Error()
	}
	names := make([]string, 0, len(profiles))
	for _, p := range profiles {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

func runConformance(ctx context.Context, out io.Writer, flags *conformanceFlags) error {
	target, err := conformanceTarget(ctx, flags)
	if err != nil {
		return err
	}
	var env conformance.Env
	if len(flags.bootstrap) > 0 {
		kafka, err := kafkaenv.New(ctx, flags.bootstrap)
		if err != nil {
			return err
		}
		defer kafka.Close()
		env = kafka
	}
	report, err := conformance.Run(ctx, *target, env, conformance.Options{
		Match: suitePattern(flags.suite), Parallel: flags.parallel, KeepTopics: flags.keepTopics,
	})
	if err != nil {
		return err
	}
	if err := report.WriteTable(out); err != nil {
		return err
	}
	if flags.report != "" {
		if err := writeReport(flags.report, report); err != nil {
			return err
		}
	}
	if !report.OK {
		return errNotConformant
	}
	return nil
}

// suitePattern lets a suite's name stand for its cases.
func suitePattern(suite string) string {
	if suite == "" || strings.Contains(suite, "/") {
		return suite
	}
	return suite + "/*"
}

func writeReport(path string, report *conformance.Report) error {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := errors.Join(report.WriteJSON(file), file.Close()); err != nil {
		return fmt.Errorf("report %s: %w", path, err)
	}
	return nil
}

func conformanceTarget(ctx context.Context, flags *conformanceFlags) (*conformance.Target, error) {
	target := &conformance.Target{Name: flags.name, BaseURL: flags.url, ClusterID: flags.cluster, Profile: flags.profile, Traits: flags.traits, Header: http.Header{}}
	if target.Name == "" {
		target.Name = flags.url
	}
	profiles, err := conformance.Profiles()
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(profiles, func(p conformance.Profile) bool { return p.Name == flags.profile })
	if at < 0 {
		return nil, fmt.Errorf("--profile %s: want one of %s", flags.profile, profileNames())
	}
	target.Limits = profiles[at].Limits
	for _, header := range flags.headers {
		name, value, ok := strings.Cut(header, ":")
		if !ok {
			return nil, fmt.Errorf("--header %q: want 'Name: value'", header)
		}
		target.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	if err := setLimits(target, flags.limits); err != nil {
		return nil, err
	}
	if flags.known != "" {
		file, err := os.Open(flags.known)
		if err != nil {
			return nil, fmt.Errorf("--known: %w", err)
		}
		defer file.Close()
		if target.Known, err = conformance.ParseKnownFailures(flags.known, file); err != nil {
			return nil, err
		}
	}
	if flags.management != "" {
		if err := waitReady(ctx, flags.management); err != nil {
			return nil, err
		}
	}
	for _, feature := range flags.features {
		target.Features = append(target.Features, conformance.Feature(feature))
	}
	if len(target.Features) == 0 {
		target.Features, err = conformance.Probe(ctx, *target)
	}
	return target, err
}

func setLimits(target *conformance.Target, limits []string) error {
	known := conformance.DefaultLimits()
	for _, limit := range limits {
		name, value, _ := strings.Cut(limit, "=")
		number, err := strconv.ParseInt(value, 10, 64)
		if _, ok := known[name]; !ok || err != nil {
			return fmt.Errorf("--limit %q: want NAME=NUMBER with a name such as key_bytes", limit)
		}
		target.Limits[name] = number
	}
	return nil
}

const (
	readyPatience = 30 * time.Second
	readyPoll     = 100 * time.Millisecond
)

// waitReady waits until a Weir says on its management listener that it is ready, and says why when it does not.
func waitReady(ctx context.Context, management string) error {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	client := &http.Client{Timeout: readyPatience}
	url := strings.TrimSuffix(management, "/") + "/readyz"
	last := errors.New("no answer")
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return fmt.Errorf("--management: %w", err)
		}
		response, err := client.Do(request)
		if err == nil {
			body, _ := io.ReadAll(io.LimitReader(response.Body, 4096)) // it is shown to a person as far as it came
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
			last = fmt.Errorf("%s: %s", response.Status, body)
		} else if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s was not ready within %s: %w", url, readyPatience, last)
		case <-time.After(readyPoll):
		}
	}
}

func newConformanceListCommand() *cobra.Command {
	var suite string
	command := &cobra.Command{
		Use:   "list",
		Short: "List the cases with the profile and features that each needs",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			command.SilenceUsage = true
			return listConformance(command.OutOrStdout(), suitePattern(suite))
		},
	}
	command.Flags().StringVar(&suite, "suite", "", "list only the suites or cases whose id matches; * stands for any text")
	return command
}

func listConformance(out io.Writer, pattern string) error {
	cases, err := conformance.Cases()
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	listed := 0
	for _, c := range cases {
		if pattern != "" && !conformance.MatchID(pattern, c.ID) {
			continue
		}
		listed++
		needs := make([]string, 0, len(c.Needs))
		for _, need := range c.Needs {
			needs = append(needs, string(need))
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", c.ID, c.Profile, strings.Join(needs, ","))
	}
	if listed == 0 {
		return fmt.Errorf("no case matches %s", pattern)
	}
	return table.Flush()
}
