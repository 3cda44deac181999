// Command generate writes the reference of the settings and their JSON Schema into a directory. It is what go generate runs
// in core/config. The texts come from package config alone, and a test there fails when the files differ from them.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/weir-gateway/weir/core/config"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) != 1 {
		return fmt.Errorf("got %d arguments, need one: the directory to write to", len(arguments))
	}
	for name, content := range map[string][]byte{
		"config.md":          config.Markdown(),
		"config.schema.json": config.JSONSchema(),
	} {
		if err := os.WriteFile(filepath.Join(arguments[0], name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
