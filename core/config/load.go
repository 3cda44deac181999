package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
)

// Default is a configuration in which every setting has its default. It has no cluster, so it is not valid yet: give it
// one that begins as DefaultCluster.
func Default() Config {
	var c Config
	setDefaults(reflect.ValueOf(&c).Elem())
	return c
}

// DefaultCluster is a cluster in which every setting has its default; name and bootstrap servers have none.
func DefaultCluster() Cluster {
	var c Cluster
	setDefaults(reflect.ValueOf(&c).Elem())
	return c
}

// Load reads the configuration file at path, puts the WEIR_… variables of environ (as os.Environ gives it) over it, resolves
// ${env:NAME} and ${file:PATH}, and validates. With an empty path all of it comes from the environment. The error is a
// Problems with every problem, and the Config then empty.
func Load(path string, environ []string) (Config, error) {
	if path == "" {
		return Parse("", nil, environ)
	}
	data, err := readFile(path)
	if err != nil {
		return Config{}, Problems{{File: path, Message: err.Error(), Cure: "give the path of a configuration file"}}
	}
	return Parse(path, data, environ)
}

// readFile reads at most one byte more than a configuration may have. Unlike the files that a configuration names, the
// configuration itself may be a pipe: its path comes from whoever starts the program.
func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fileFault(err)
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.IsDir() {
		return nil, errors.New("is a directory")
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	if err != nil {
		return nil, fileFault(err)
	}
	return data, nil
}

// Parse is Load with the text of the file in data, at most 1 MiB. The name is what problems call the file, and its directory
// is where relative paths start.
func Parse(name string, data []byte, environ []string) (Config, error) {
	environment := environmentOf(environ)
	file := name
	if file == "" {
		file = environmentPlace
	}
	root, problems := readYAML(file, data)
	if root == nil {
		return Config{}, problems.orNil()
	}
	if name == "" {
		root.place = place{file: environmentPlace}
	}
	problems = append(problems, overlay(root, environment)...)
	d := decoder{
		expander: expander{environment: environment, directory: filepath.Dir(name)},
		places:   map[string]place{"": root.place},
		broken:   map[string]bool{},
	}
	c := Default()
	d.section(root, reflect.ValueOf(&c).Elem(), "")
	problems = append(problems, d.problems...)
	for i := range c.Clusters {
		c.Clusters[i].KafkaVersion = fullVersion(c.Clusters[i].KafkaVersion)
	}
	for _, p := range problems {
		// Settings that the reader dropped are as unknown to the relations as those that the decoder could not read.
		d.broken[p.Path] = true
	}
	for _, f := range c.findings() {
		if !d.knows(f) {
			continue
		}
		problems = append(problems, d.placeOf(f).problem(f.path, f.message, f.cure))
	}
	if len(problems) > 0 {
		return Config{}, problems.orNil()
	}
	return c, nil
}

// knows says whether every setting that the finding is about could be read.
func (d *decoder) knows(f finding) bool {
	for _, path := range append([]string{f.path}, f.with...) {
		for ; path != ""; path = parent(path) {
			if d.broken[path] {
				return false
			}
		}
	}
	return true
}

// placeOf is where the setting that f is about was given; when it was not, where one that f compares it with was; else the
// nearest section around it.
func (d *decoder) placeOf(f finding) place {
	for _, path := range append([]string{f.path}, f.with...) {
		if at, ok := d.places[path]; ok {
			return at
		}
	}
	for path := parent(f.path); ; path = parent(path) {
		if at, ok := d.places[path]; ok {
			return at
		}
	}
}

func parent(path string) string {
	if i := strings.LastIndexAny(path, ".["); i >= 0 {
		return path[:i]
	}
	return ""
}

var shortVersion = regexp.MustCompile(`^[0-9]{1,4}\.[0-9]{1,4}$`)

// fullVersion adds the patch number to a Kafka version that has none, so that whoever reads the setting finds one form.
func fullVersion(version string) string {
	if shortVersion.MatchString(version) {
		return fmt.Sprintf("%s.0", version)
	}
	return version
}
