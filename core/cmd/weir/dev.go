package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/internal/embedded"
	"github.com/weir-gateway/weir/core/internal/telemetry"
)

// defaultTopics are there so that the first request has somewhere to go.
var defaultTopics = []string{"orders:3", "payments:1", "clicks:6"}

func newDevCommand() *cobra.Command {
	settings := config.Default()
	var topics []string
	var dataDir string
	command := &cobra.Command{
		Use:   "dev",
		Short: "Run the gateway on an embedded broker, to try it out",
		Long: "Dev runs the gateway with a Kafka broker inside the process: nothing else is needed, and nothing outlasts it unless\n" +
			"--data-dir is given. The embedded broker is for trying out; use weir serve with a real cluster for records that matter.",
		Example: "  weir dev\n  weir dev --topic invoices:12 --data-dir ./data",
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			logger := telemetry.NewLogger(settings.Log, command.ErrOrStderr())
			return runDev(command, settings, topics, dataDir, logger)
		},
	}
	flags := command.Flags()
	flags.StringVar(&settings.Listen.Address, "listen", settings.Listen.Address, "address for clients")
	flags.StringVar(&settings.Management.Address, "management", settings.Management.Address, "address for health and metrics; empty: off")
	flags.StringArrayVar(&topics, "topic", nil, "topic to make, name:partitions; may be given several times (default "+strings.Join(defaultTopics, ", ")+")")
	flags.StringVar(&dataDir, "data-dir", "", "directory that keeps the records; without one they are in memory")
	settings.Log.Format = "text"
	flags.StringVar(&settings.Log.Level, "log-level", "info", "debug, info, warn or error")
	return command
}

func runDev(command *cobra.Command, settings config.Config, topics []string, dataDir string, logger *slog.Logger) error {
	if len(topics) == 0 {
		topics = defaultTopics
	}
	options := embedded.Options{DataDir: dataDir, Logger: logger}
	for _, topic := range topics {
		parsed, err := parseTopic(topic)
		if err != nil {
			return err
		}
		options.Topics = append(options.Topics, parsed)
	}
	broker, err := embedded.Start(options)
	if err != nil {
		return err
	}
	defer broker.Close()
	cluster := config.DefaultCluster()
	cluster.Name, cluster.ID, cluster.BootstrapServers = "embedded", broker.ClusterID(), broker.Addresses()
	settings.Clusters = []config.Cluster{cluster}
	gateway, err := listen(command.Context(), settings, logger)
	if err != nil {
		return err
	}
	banner(command.OutOrStdout(), gateway, broker, options.Topics)
	return gateway.run(command.Context())
}

func parseTopic(text string) (embedded.Topic, error) {
	name, count, found := strings.Cut(text, ":")
	partitions := 1
	if found {
		var err error
		if partitions, err = strconv.Atoi(count); err != nil || partitions < 1 || partitions > 1000 {
			return embedded.Topic{}, fmt.Errorf("--topic %q: the part after the colon is the number of partitions, 1 to 1000", text)
		}
	}
	if name == "" {
		return embedded.Topic{}, errors.New("--topic: give a name and a number of partitions, for example orders:3")
	}
	return embedded.Topic{Name: name, Partitions: int32(partitions)}, nil
}

// banner prints what is where and requests to paste, each of which works as it stands.
func banner(w io.Writer, g *gateway, broker *embedded.Broker, topics []embedded.Topic) {
	base := "http://" + g.clients.Addr().String()
	topic := topics[0].Name
	fmt.Fprintf(w, `
Weir is up.  clients %s   brokers %s   cluster %s
The broker is embedded: good for trying out, not for records that matter.  Ctrl-C stops both.

Write two records (v2), then a stream of them (v3):

  curl %s/topics/%s -H 'Content-Type: application/vnd.kafka.json.v2+json' \
    -d '{"records":[{"key":"k1","value":{"id":1}},{"key":"k2","value":{"id":2}}]}'

  curl %s/v3/clusters/%s/topics/%s/records -H 'Content-Type: application/json' \
    -d '{"value":{"type":"JSON","data":{"id":3}}} {"value":{"type":"JSON","data":{"id":4}}}'

Read them: as a member of a group (run the last line again for more), or at an offset:

  curl %s/consumers/demo -H 'Content-Type: application/vnd.kafka.v2+json' -d '{"name":"me","format":"json","auto.offset.reset":"earliest"}'
  curl %s/consumers/demo/instances/me/subscription -H 'Content-Type: application/vnd.kafka.v2+json' -d '{"topics":["%s"]}'
  curl %s/consumers/demo/instances/me/records -H 'Accept: application/vnd.kafka.json.v2+json'

  curl '%s/topics/%s/partitions/0/records?offset=0' -H 'Accept: application/vnd.kafka.json.v2+json'

Look around:

  curl %s/topics
  curl %s/topics/%s/partitions/0/offsets
  curl %s/v3/clusters
`, base, strings.Join(broker.Addresses(), ","), broker.ClusterID(), base, topic, base, broker.ClusterID(), topic, base, base, topic, base, base, topic, base, base, topic, base)
	if g.management != nil {
		fmt.Fprintf(w, "  curl http://%s/readyz\n", g.management.Addr())
	}
	fmt.Fprintln(w)
}
