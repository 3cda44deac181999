package kafka

import (
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/rcrowley/go-metrics"

	"github.com/weir-gateway/weir/core/config"
)

// This file is the only place that builds sarama configurations.

// LargestBatch is how many bytes a compressed batch may become, at most: a few kilobytes can be made to expand to gigabytes. A larger
// one cannot be read.
const LargestBatch = 64 << 20

// processWide makes the two choices that sarama knows only for a whole process, before its first connection: how large a batch may
// become, and no meters for each topic's fetches, whatever registry a configuration names.
var processWide = sync.OnceFunc(func() {
	sarama.MaxDecompressedBatchSize = LargestBatch
	metrics.UseNilMetrics = true
})

// newConfig is what every connection to a cluster shares.
func newConfig(settings config.Cluster, s *security) (*sarama.Config, error) {
	processWide()
	version, err := sarama.ParseKafkaVersion(settings.KafkaVersion)
	if err != nil {
		return nil, fmt.Errorf("kafka_version: %w", err)
	}
	if !version.IsAtLeast(sarama.V1_0_0_0) {
		return nil, fmt.Errorf("kafka_version %s is older than 1.0.0, the oldest that Weir speaks", settings.KafkaVersion)
	}
	if !sarama.MaxVersion.IsAtLeast(version) {
		version = sarama.MaxVersion // an upper bound anyway: brokers are spoken to in what they advertise
	}
	c := sarama.NewConfig()
	c.Version = version
	c.ClientID = settings.ClientID
	c.ApiVersionsRequest = true
	c.MetricRegistry = noMetrics{}
	c.Net.DialTimeout = settings.DialTimeout
	c.Net.ReadTimeout = settings.RequestTimeout
	c.Net.WriteTimeout = settings.RequestTimeout
	c.Net.MaxOpenRequests = 1 // connections are not shared; see pool.go
	c.Net.Proxy.Enable = true // our dialer, which does TLS too
	c.Metadata.Full = false
	c.Admin.Timeout = settings.AdminTimeout
	s.apply(c)
	return c, nil
}

// newProducerConfig is the configuration of the AsyncProducer. The partitioner and the dialer are still to be set.
//
// What is chosen, and why:
//   - Idempotent with all acks is what makes a retry safe; it forces one request in flight on a connection.
//   - Flush.Frequency makes partitions share a request; without it the first record goes out alone and the partitions then
//     take turns, six round trips instead of one. Flush.MaxMessages stays 0: it caps the whole request, not a partition.
//   - The broker is told to give up (Producer.Timeout) before the connection is given up (Net.ReadTimeout): its answer says
//     more than a broken connection does.
//   - ChannelBufferSize exceeds what one partition may have inside sarama, so that no channel on the way to a partition can
//     fill and stop the partitions behind it. The rest of the buffer is for sarama's own marks (syn, fin).
func newProducerConfig(base *sarama.Config, settings config.Produce, partitionRecords int) *sarama.Config {
	c := *base
	c.Net.MaxOpenRequests = 1
	c.ChannelBufferSize = partitionRecords + 64
	c.Producer.Idempotent = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Return.Successes = true
	c.Producer.Return.Errors = true
	c.Producer.Compression = compressions[settings.Compression]
	c.Producer.CompressionLevel = sarama.CompressionLevelDefault
	c.Producer.MaxMessageBytes = settings.MaxRecordBytes
	c.Producer.Timeout = (base.Net.ReadTimeout * 2 / 3).Truncate(time.Millisecond)
	c.Producer.Flush.Frequency = settings.FlushInterval
	c.Producer.Flush.Messages, c.Producer.Flush.MaxMessages, c.Producer.Flush.Bytes = 0, 0, 0
	c.Producer.Retry.Max = max(1, settings.Retries) // idempotence needs one
	c.Producer.Retry.Backoff = settings.RetryBackoff
	c.Producer.Transaction.Retry.Max = 3 // of InitProducerId; our own loop goes on after that
	return &c
}

var compressions = map[string]sarama.CompressionCodec{
	"": sarama.CompressionNone, "none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP,
	"snappy": sarama.CompressionSnappy, "lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

// noMetrics is a registry that keeps nothing. sarama's default registry costs CPU for each record, never shrinks, and its
// meters start a goroutine that never ends; Weir has metrics of its own.
type noMetrics struct{}

func (noMetrics) GetOrRegister(_ string, make interface{}) interface{} {
	switch make.(type) {
	case func() metrics.Histogram:
		return metrics.NilHistogram{}
	case func() metrics.Counter:
		return metrics.NilCounter{}
	default: // func() metrics.Meter: all that sarama uses beside the two above
		return metrics.NilMeter{}
	}
}

func (noMetrics) Each(func(string, interface{}))            {}
func (noMetrics) Get(string) interface{}                    { return nil }
func (noMetrics) GetAll() map[string]map[string]interface{} { return nil }
func (noMetrics) Register(string, interface{}) error        { return nil }
func (noMetrics) RunHealthchecks()                          {}
func (noMetrics) Unregister(string)                         {}
func (noMetrics) UnregisterAll()                            {}
