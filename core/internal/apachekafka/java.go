//go:build unix

package apachekafka

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

const javaCure = "apt-get install -y openjdk-17-jre-headless (Debian, Ubuntu), brew install openjdk (macOS), or point JAVA_HOME at one"

// java is a Java virtual machine of this computer.
type java struct {
	path        string
	fingerprint string // differs between any two builds
}

var javaVersion = regexp.MustCompile(`version "(\d+)`)

// findJava takes the Java of JAVA_HOME, or else the one on the PATH, if it is new enough.
func findJava(ctx context.Context) (java, error) {
	path := filepath.Join(os.Getenv("JAVA_HOME"), "bin", "java")
	if os.Getenv("JAVA_HOME") == "" {
		var err error
		if path, err = exec.LookPath("java"); err != nil {
			return java{}, fmt.Errorf("java not found: Apache Kafka needs Java %d or newer: %s", minimumJava, javaCure)
		}
	}
	output, err := exec.CommandContext(ctx, path, "-version").CombinedOutput()
	if err != nil {
		return java{}, fmt.Errorf("%s does not run (%w): Apache Kafka needs Java %d or newer: %s", path, err, minimumJava, javaCure)
	}
	match := javaVersion.FindSubmatch(output)
	if match == nil {
		return java{}, fmt.Errorf("%s -version says nothing of a version: Apache Kafka needs Java %d or newer: %s", path, minimumJava, javaCure)
	}
	if version, err := strconv.Atoi(string(match[1])); err != nil || version < minimumJava {
		return java{}, fmt.Errorf("%s is Java %s: Apache Kafka needs Java %d or newer: %s", path, match[1], minimumJava, javaCure)
	}
	sum := sha256.Sum256(append([]byte(path), output...))
	return java{path: path, fingerprint: hex.EncodeToString(sum[:4])}, nil
}

// command prepares a run of one of the distribution's Java classes with a bounded heap.
func (d *Distribution) command(ctx context.Context, heapMiB int, options []string, class string, arguments ...string) *exec.Cmd {
	all := []string{fmt.Sprintf("-Xmx%dm", heapMiB), "-XX:+UseSerialGC", "-Djava.awt.headless=true"}
	if d.archive != "" {
		all = append(all, "-Xshare:auto", "-XX:SharedArchiveFile="+d.archive)
	}
	all = append(all, options...)
	all = append(all, "-cp", filepath.Join(d.jars, "*"), class)
	return exec.CommandContext(ctx, d.java.path, append(all, arguments...)...)
}

// findArchive looks for a class data archive of this Java and these jars, and makes one if there is none. It halves the
// time and the CPU that a broker takes to start. Kafka runs without it: a Java that cannot make one is no error.
func (d *Distribution) findArchive(ctx context.Context) error {
	archive := d.jars + "-java-" + d.java.fingerprint + ".jsa"
	unusable := archive + ".unusable"
	if _, err := os.Stat(archive); err == nil {
		d.archive = archive
		return nil
	}
	if _, err := os.Stat(unusable); err == nil {
		return nil
	}
	reason := d.makeArchive(ctx, archive)
	if reason == nil {
		d.archive = archive
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("prepare Kafka's jars: %w", reason)
	}
	if err := os.WriteFile(unusable, []byte(reason.Error()+"\n"), 0o644); err != nil {
		return errors.Join(reason, err)
	}
	return nil
}

// makeArchive runs a broker once with the order to write the classes it loaded when it ends.
func (d *Distribution) makeArchive(ctx context.Context, archive string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	directory, err := os.MkdirTemp(d.directory, "incomplete-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(directory)
	written := filepath.Join(directory, "classes.jsa")
	cluster, err := d.start(ctx, Options{Directory: directory, javaOptions: []string{"-XX:ArchiveClassesAtExit=" + written}})
	if err != nil {
		return err
	}
	defer cluster.Close()
	if err := cluster.Node(1).Stop(ctx); err != nil {
		return err
	}
	return os.Rename(written, archive)
}
