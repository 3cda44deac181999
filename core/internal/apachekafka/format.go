//go:build unix

package apachekafka

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

// format prepares the nodes' data directories. Kafka's own tool formats the first; what it writes differs between the nodes
// of a cluster in two lines only, so the others get a copy with those changed, which saves a Java start each.
func (c *Cluster) format(ctx context.Context) error {
	first := c.nodes[0]
	arguments := []string{"format", "--cluster-id", c.id, "--config", first.propertiesFile()}
	if c.options.SASL {
		for _, user := range Users() {
			for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
				arguments = append(arguments, "--add-scram", fmt.Sprintf("%s=[name=%s,password=%s]", mechanism, user.Name, user.Password))
			}
		}
	}
	options := []string{"-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"}
	output, err := c.distribution.command(ctx, 256, options, "kafka.tools.StorageTool", arguments...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("format Kafka's storage: %w\n%s", err, lastLines(string(output)))
	}
	for _, node := range c.nodes[1:] {
		if err := first.cloneFormat(node); err != nil {
			return fmt.Errorf("format broker %d: %w", node.id, err)
		}
	}
	return nil
}

var (
	nodeIDLine      = regexp.MustCompile(`(?m)^node\.id=.*$`)
	directoryIDLine = regexp.MustCompile(`(?m)^directory\.id=.*$`)
)

func (n *Node) cloneFormat(to *Node) error {
	if err := os.CopyFS(to.dataDirectory(), os.DirFS(n.dataDirectory())); err != nil {
		return err
	}
	name := filepath.Join(to.dataDirectory(), "meta.properties")
	content, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if !nodeIDLine.Match(content) || !directoryIDLine.Match(content) {
		return fmt.Errorf("%s has no node.id or directory.id line: this package does not know the format of this release", name)
	}
	content = nodeIDLine.ReplaceAll(content, fmt.Appendf(nil, "node.id=%d", to.id))
	content = directoryIDLine.ReplaceAll(content, []byte("directory.id="+uuid()))
	return os.WriteFile(name, content, 0o644)
}
