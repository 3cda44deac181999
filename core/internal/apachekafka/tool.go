//go:build unix

package apachekafka

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"
)

// The tools of Kafka's own distribution that tests use most, as Tool wants them.
const (
	ConsoleConsumer = "org.apache.kafka.tools.consumer.ConsoleConsumer"
	ConsoleProducer = "org.apache.kafka.tools.ConsoleProducer"
	TopicCommand    = "org.apache.kafka.tools.TopicCommand"
	ACLCommand      = "org.apache.kafka.tools.AclCommand"
)

// Tool runs one of Kafka's Java tools from the same jars as the brokers and gives its standard output. stdin may be nil.
// A tool that fails is an error with what it said on standard error; the output until then is returned too.
func (c *Cluster) Tool(ctx context.Context, class string, stdin io.Reader, arguments ...string) ([]byte, error) {
	options := []string{"-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"}
	command := c.distribution.command(ctx, 256, options, class, arguments...)
	var stdout, stderr bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = stdin, &stdout, &stderr
	command.WaitDelay = 5 * time.Second
	if err := command.Run(); err != nil {
		return stdout.Bytes(), fmt.Errorf("%s: %w: %s", class, err, lastLines(stderr.String(), 20))
	}
	return stdout.Bytes(), nil
}

// ToolCommand is the command line that runs one of Kafka's Java tools, for a person to paste.
func (c *Cluster) ToolCommand(class string, arguments ...string) []string {
	options := []string{"-Dorg.slf4j.simpleLogger.defaultLogLevel=error"}
	return c.distribution.command(context.Background(), 256, options, class, arguments...).Args
}
