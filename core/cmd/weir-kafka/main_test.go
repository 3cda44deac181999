//go:build unix && acceptance

package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Every command that the banner prints does what the banner says when it is pasted into a shell.
func TestPastedCommandsWork(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	running, stop := context.WithCancel(ctx)
	defer stop()
	reader, writer := io.Pipe()
	root := command()
	root.SetArgs([]string{"--sasl", "--topic", "trial"})
	root.SetOut(writer)
	root.SetErr(t.Output())
	ended := make(chan error, 1)
	go func() {
		err := root.ExecuteContext(running)
		ended <- err
		_ = writer.CloseWithError(io.EOF)
	}()

	var consume, produce, directory, banner string
	for lines := bufio.NewScanner(reader); produce == "" || !strings.HasPrefix(lines.Text(), "Ctrl-C"); {
		if !lines.Scan() {
			t.Fatalf("the banner ended early (%v):\n%s", <-ended, banner)
		}
		line := strings.TrimSpace(lines.Text())
		banner += line + "\n"
		switch {
		case strings.Contains(line, "ConsoleConsumer"):
			consume = line
		case strings.Contains(line, "ConsoleProducer"):
			produce = line
		}
	}
	directory = filepath.Dir(strings.Fields(consume)[0])
	paste := func(command, input string) string {
		t.Helper()
		shell := exec.CommandContext(ctx, "sh", "-c", command)
		shell.Stdin = strings.NewReader(input)
		output, err := shell.Output()
		if err != nil {
			t.Fatalf("%s: %v", command, err)
		}
		return string(output)
	}
	paste(produce, "hello\n")
	got := paste(consume+" --max-messages 1 --timeout-ms 20000", "")
	if !strings.HasPrefix(got, "Partition:") || !strings.HasSuffix(got, "\tOffset:0\tNO_HEADERS\tnull\thello\n") {
		t.Errorf("got %q, want the record with its place", got)
	}
	for _, user := range []string{"admin-secret", "alice-secret", "bob-secret"} {
		if !strings.Contains(banner, user) {
			t.Errorf("the banner does not say %s", user)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(directory); !os.IsNotExist(err) {
		t.Errorf("got %v, want %s removed", err, directory)
	}
}
