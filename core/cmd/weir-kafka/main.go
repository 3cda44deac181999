//go:build unix

// Command weir-kafka runs a real Apache Kafka on this computer for a person to try Weir against.
//
// It fetches Kafka's jars the first time, starts one or three brokers on free loopback ports, prints the addresses, the
// users and a few commands to paste, and runs until Ctrl-C; then the brokers and their data are gone. It needs Java 17 or
// newer, and Maven the first time.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-gateway/weir/core/internal/apachekafka"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "weir-kafka:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	var options apachekafka.Options
	var topics []string
	root := &cobra.Command{
		Use:           "weir-kafka",
		Short:         "Run a real Apache Kafka on this computer until Ctrl-C",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(command *cobra.Command, _ []string) error {
			return run(command.Context(), command.OutOrStdout(), command.ErrOrStderr(), options, topics)
		},
	}
	root.Flags().IntVar(&options.Brokers, "brokers", 1, "how many brokers: 1, 2 or 3")
	root.Flags().BoolVar(&options.SASL, "sasl", false, "add listeners with SASL and TLS, users, and an authorizer that denies what no ACL allows")
	root.Flags().StringVar(&options.Directory, "directory", "", "an empty or absent directory for data and logs, kept at the end (default: a temporary one)")
	root.Flags().StringSliceVar(&topics, "topic", []string{"orders"}, "a topic to create, with four partitions (repeatable)")
	return root
}

// run starts the cluster, says how to use it and waits for the context's end.
func run(ctx context.Context, out, progress io.Writer, options apachekafka.Options, topics []string) (err error) {
	fmt.Fprintf(progress, "Starting Apache Kafka %s (the first time it is downloaded)…\n", apachekafka.Version)
	began := time.Now()
	cluster, err := apachekafka.Start(ctx, options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Close()) }()
	for _, topic := range topics {
		if err := cluster.CreateTopic(ctx, topic, 4, -1, nil); err != nil {
			return err
		}
	}
	tool, err := cluster.WriteToolScript()
	if err != nil {
		return err
	}
	fmt.Fprintf(progress, "Up in %v.\n\n", time.Since(began).Round(100*time.Millisecond))
	if _, err := io.WriteString(out, banner(cluster, tool, options, topics)); err != nil {
		return fmt.Errorf("write the banner: %w", err)
	}
	<-ctx.Done()
	fmt.Fprintln(progress, "\nStopping.")
	return nil
}

// banner says where the cluster is and how to use it.
func banner(cluster *apachekafka.Cluster, tool string, options apachekafka.Options, topics []string) string {
	var text strings.Builder
	servers := strings.Join(cluster.BootstrapServers(), ",")
	field := func(name, value string) { fmt.Fprintf(&text, "%-19s %s\n", name, value) }
	field("Bootstrap servers", servers)
	if options.SASL {
		field("  SASL, no TLS", strings.Join(cluster.Addresses(apachekafka.SASLPlaintext), ","))
		field("  SASL over TLS", strings.Join(cluster.Addresses(apachekafka.SASLTLS), ","))
		field("  mutual TLS", strings.Join(cluster.Addresses(apachekafka.MutualTLS), ","))
	}
	field("Cluster id", cluster.ID())
	field("Topics", strings.Join(topics, ", "))
	field("Data and logs", cluster.Directory())
	if options.SASL {
		certificates := cluster.Certificates()
		for i, user := range apachekafka.Users() {
			title, note := "", "may do what ACLs allow, at first nothing"
			if i == 0 {
				title, note = "Users", "may do everything"
			}
			field(title, fmt.Sprintf("%s, password %s (%s)", user.Name, user.Password, note))
		}
		field("Mechanisms", "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512")
		field("CA certificate", certificates.AuthorityFile)
		field("alice's certificate", certificates.ClientFile+" and "+certificates.ClientKeyFile)
		field("Note", "who comes through the first bootstrap servers may do everything, without a password")
	}
	topic := "orders"
	if len(topics) > 0 {
		topic = topics[0]
	}
	fmt.Fprintf(&text, `
A weir.yaml for it:

  clusters:
    - name: local
      bootstrap_servers: [%s]

Watch the records of a topic:

  %s

Write some, one a line:

  %s

Ctrl-C stops it%s.
`,
		strings.Join(cluster.BootstrapServers(), ", "),
		strings.Join([]string{tool, apachekafka.ConsoleConsumer, "--bootstrap-server", servers, "--topic", topic, "--from-beginning",
			"--formatter-property print.key=true --formatter-property print.headers=true",
			"--formatter-property print.partition=true --formatter-property print.offset=true"}, " "),
		strings.Join([]string{tool, apachekafka.ConsoleProducer, "--bootstrap-server", servers, "--topic", topic}, " "),
		map[bool]string{true: " and removes its data", false: ""}[options.Directory == ""])
	return text.String()
}
