//go:build unix

package apachekafka

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
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
		return stdout.Bytes(), fmt.Errorf("%s: %w: %s", class, err, lastLines(stderr.String()))
	}
	return stdout.Bytes(), nil
}

// WriteToolScript writes a shell script into the cluster's directory that runs the Java tool that its first argument names
// with the arguments that follow, and gives the script's path.
func (c *Cluster) WriteToolScript() (string, error) {
	command := c.distribution.command(context.Background(), 256, []string{"-Dorg.slf4j.simpleLogger.defaultLogLevel=error"}, `"$@"`)
	arguments := command.Args
	last := len(arguments) - 1
	for i, argument := range arguments[:last] {
		arguments[i] = "'" + strings.ReplaceAll(argument, "'", `'\''`) + "'"
	}
	path := filepath.Join(c.directory, "kafka-tool")
	script := "#!/bin/sh\n# Runs one of Apache Kafka's tools: kafka-tool CLASS [ARGUMENT...]\nexec " + strings.Join(arguments, " ") + "\n"
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		return "", fmt.Errorf("write the script for Kafka's tools: %w", err)
	}
	return path, nil
}
