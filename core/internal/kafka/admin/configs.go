package admin

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/IBM/sarama"

	"github.com/weir-gateway/weir/core/internal/kafka"
)

// ConfigEntry is one effective setting.
type ConfigEntry struct {
	Name      string
	Value     *string // nil: sensitive
	Source    string  // DYNAMIC_TOPIC_CONFIG, DEFAULT_CONFIG and so on, Kafka's names
	Default   bool
	ReadOnly  bool
	Sensitive bool
	Synonyms  []ConfigSynonym // what the value would be taken from, first to last
}

// ConfigSynonym is one place that a value may come from.
type ConfigSynonym struct {
	Name   string
	Value  *string // nil: sensitive
	Source string
}

// TopicConfigs gives all settings of a topic, defaults included, by name.
func (a *Admin) TopicConfigs(ctx context.Context, name string) ([]ConfigEntry, error) {
	var response *sarama.DescribeConfigsResponse
	err := a.read(ctx, kafka.AnyBroker, func(b *sarama.Broker) error {
		var err error
		response, err = b.DescribeConfigs(&sarama.DescribeConfigsRequest{
			Version: configsVersion(a.client.Version()), IncludeSynonyms: true,
			Resources: []*sarama.ConfigResource{{Type: sarama.TopicResource, Name: name}},
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, r := range response.Resources {
		if r.Name != name {
			continue
		}
		if err := a.code(sarama.KError(r.ErrorCode), &r.ErrorMsg); err != nil {
			return nil, err
		}
		entries := make([]ConfigEntry, 0, len(r.Configs))
		for _, c := range r.Configs {
			entries = append(entries, toConfigEntry(c))
		}
		slices.SortFunc(entries, func(x, y ConfigEntry) int { return cmp.Compare(x.Name, y.Name) })
		return entries, nil
	}
	return nil, unreadable(errors.New("the configs answer lacks the topic"))
}

func toConfigEntry(c *sarama.ConfigEntry) ConfigEntry {
	entry := ConfigEntry{
		Name: c.Name, Source: sourceName(c.Source), ReadOnly: c.ReadOnly, Sensitive: c.Sensitive,
		Default: c.Default || c.Source == sarama.SourceDefault,
	}
	text := func(value string) *string {
		if c.Sensitive {
			return nil
		}
		return &value
	}
	entry.Value = text(c.Value)
	for _, s := range c.Synonyms {
		entry.Synonyms = append(entry.Synonyms, ConfigSynonym{Name: s.ConfigName, Value: text(s.ConfigValue), Source: sourceName(s.Source)})
	}
	return entry
}

// sources are Kafka's names by code. sarama names fewer.
var sources = [...]string{
	"UNKNOWN", "DYNAMIC_TOPIC_CONFIG", "DYNAMIC_BROKER_CONFIG", "DYNAMIC_DEFAULT_BROKER_CONFIG", "STATIC_BROKER_CONFIG",
	"DEFAULT_CONFIG", "DYNAMIC_BROKER_LOGGER_CONFIG", "DYNAMIC_CLIENT_METRICS_CONFIG", "DYNAMIC_GROUP_CONFIG",
}

func sourceName(source sarama.ConfigSource) string {
	if source < 0 || int(source) >= len(sources) {
		return sources[0]
	}
	return sources[source]
}

func configsVersion(version sarama.KafkaVersion) int16 {
	switch {
	case version.IsAtLeast(sarama.V2_8_0_0):
		return 4
	case version.IsAtLeast(sarama.V2_6_0_0):
		return 3
	case version.IsAtLeast(sarama.V2_0_0_0):
		return 2
	}
	return 1
}
