//go:build unix

package apachekafka

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

//go:embed pom.xml
var pom []byte

// CacheVariable names the environment variable that says where downloads are kept.
const CacheVariable = "WEIR_KAFKA_CACHE"

// Distribution is a downloaded Kafka with the Java that runs it.
type Distribution struct {
	directory string // of this version, inside the cache
	jars      string
	java      java
	archive   string // a class data archive that makes JVMs start faster; empty: none
}

// Download finds Kafka's jars in the cache, or has Maven put them there: in ${WEIR_KAFKA_CACHE}, or else in the user's cache
// directory under weir, in both cases below kafka-VERSION. Of several processes that ask at once, one downloads and the
// others wait for it. An interrupted download leaves nothing that a later one would take for complete.
//
// A missing or too old Java, and a missing Maven when there is something to download, are errors that name the packages to
// install.
func Download(ctx context.Context) (*Distribution, error) {
	java, err := findJava(ctx)
	if err != nil {
		return nil, err
	}
	directory, err := cacheDirectory()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return nil, fmt.Errorf("make the cache for Kafka's jars (set %s to another place): %w", CacheVariable, err)
	}
	unlock, err := lock(ctx, filepath.Join(directory, "lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()

	sum := sha256.Sum256(pom)
	d := &Distribution{
		directory: directory,
		jars:      filepath.Join(directory, "jars-"+hex.EncodeToString(sum[:4])),
		java:      java,
	}
	if _, err := os.Stat(filepath.Join(d.jars, "complete")); errors.Is(err, os.ErrNotExist) {
		if err := d.resolve(ctx); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, fmt.Errorf("look for Kafka's jars: %w", err)
	}
	if err := d.findArchive(ctx); err != nil {
		return nil, err
	}
	return d, nil
}

func cacheDirectory() (string, error) {
	root := os.Getenv(CacheVariable)
	if root == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("no cache directory for Kafka's jars (set %s): %w", CacheVariable, err)
		}
		root = filepath.Join(user, "weir")
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return "", fmt.Errorf("cache directory %s: %w", root, err)
	}
	return filepath.Join(root, "kafka-"+Version), nil
}

// resolve has Maven copy the jars into a directory of its own, which gets its final name only when all are there.
func (d *Distribution) resolve(ctx context.Context) error {
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return errors.New("mvn not found: Apache Maven fetches Kafka's jars the first time; install it: " +
			"apt-get install -y maven (Debian, Ubuntu), brew install maven (macOS)")
	}
	staging, err := os.MkdirTemp(d.directory, "incomplete-")
	if err != nil {
		return fmt.Errorf("download Kafka: %w", err)
	}
	defer os.RemoveAll(staging)
	project := filepath.Join(staging, "pom.xml")
	if err := os.WriteFile(project, pom, 0o644); err != nil {
		return fmt.Errorf("download Kafka: %w", err)
	}
	jars := filepath.Join(staging, "jars")
	command := exec.CommandContext(ctx, mvn, "--batch-mode", "--quiet", "--file", project, "-Dkafka.version="+Version,
		"dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+jars)
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	command.WaitDelay = 5 * time.Second
	if err := command.Run(); err != nil {
		return fmt.Errorf("mvn could not fetch Apache Kafka %s (is Maven Central, or the mirror in ~/.m2/settings.xml, reachable?): %w\n%s",
			Version, err, lastLines(output.String()))
	}
	if err := os.WriteFile(filepath.Join(jars, "complete"), []byte("Apache Kafka "+Version+"\n"), 0o644); err != nil {
		return fmt.Errorf("download Kafka: %w", err)
	}
	if err := os.Rename(jars, d.jars); err != nil {
		return fmt.Errorf("download Kafka: %w", err)
	}
	return nil
}

// lock takes an exclusive lock that the kernel gives back when the process ends, however it ends.
func lock(ctx context.Context, name string) (unlock func(), err error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock Kafka's cache: %w", err)
	}
	retry := time.NewTicker(50 * time.Millisecond)
	defer retry.Stop()
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil // closing gives the lock back
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			_ = file.Close()
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		select {
		case <-ctx.Done():
			_ = file.Close()
			return nil, fmt.Errorf("another process holds %s: %w", name, ctx.Err())
		case <-retry.C:
		}
	}
}

// lastLines is the end of what a tool printed: as much as an error message can bear.
func lastLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}
