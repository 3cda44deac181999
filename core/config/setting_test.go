package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// sections are the types of all sections, by path.
func sections() map[string]reflect.Type {
	found := map[string]reflect.Type{}
	var walk func(section reflect.Type, path string)
	walk = func(section reflect.Type, path string) {
		found[path] = section
		for _, s := range settingsOf(section) {
			switch s.kind {
			case sectionKind:
				walk(s.typ, join(path, s.key))
			case sectionsKind:
				walk(s.typ.Elem(), join(path, s.key)+"[]")
			}
		}
	}
	walk(reflect.TypeFor[Config](), "")
	return found
}

func TestEverySettingIsDescribed(t *testing.T) {
	t.Parallel()
	described := readComments()
	for path, section := range sections() {
		if described[section.Name()] == "" {
			t.Errorf("type %s has no comment", section.Name())
		}
		for _, s := range settingsOf(section) {
			at := join(path, s.key)
			if s.key == "" || s.key != strings.ToLower(s.key) {
				t.Errorf("%s.%s: the yaml tag is %q, want lower case", section.Name(), s.goName, s.key)
			}
			text := described.setting(section, s)
			if !strings.HasSuffix(text, ".") || strings.Contains(text, s.goName+" ") && humps(s.goName) > 1 {
				t.Errorf("%s is described as %q, want sentences without the Go name", at, text)
			}
		}
	}
}

// Bounds come in pairs, are in order, and hold the default; the only thing that is missing in the defaults is a cluster.
func TestDefaultsAreWithinBounds(t *testing.T) {
	t.Parallel()
	for path, section := range sections() {
		for _, s := range settingsOf(section) {
			bounded := s.kind == numberKind || s.kind == sizeKind || s.kind == durationKind
			if (s.min == "") != (s.max == "") || bounded && s.min == "" {
				t.Errorf("%s needs min and max", join(path, s.key))
				continue
			}
			if !bounded {
				continue
			}
			if s.fallback == "" {
				t.Errorf("%s needs a default", join(path, s.key))
				continue
			}
			low, value, high := bound(s, s.min), bound(s, s.fallback), bound(s, s.max)
			if low > value || value > high {
				t.Errorf("%s: default %d is outside of %d to %d", join(path, s.key), value, low, high)
			}
			if s.kind == durationKind && durationText(0) != "0s" {
				t.Errorf("zero is %q, want 0s", durationText(0))
			}
		}
	}
	found := Default().findings()
	if len(found) != 1 || found[0].path != "clusters" {
		t.Errorf("the defaults have the findings %v, want one about clusters", found)
	}
}

// Each variable names one setting, the one that it is made from.
func TestVariablesNameTheirSettings(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, name := range variablesOf(reflect.TypeFor[Config](), variablePrefix) {
		if seen[name] {
			t.Errorf("%s names two settings", name)
		}
		seen[name] = true
		var o override
		if found, _ := findSetting(reflect.TypeFor[Config](), strings.TrimPrefix(name, variablePrefix), &o); !found {
			t.Errorf("%s is not found", name)
		}
		back := variablePrefix
		for i, s := range o.steps {
			if i > 0 {
				back += "_"
			}
			if s.key == "" {
				back += fmt.Sprint(s.index)
			} else {
				back += strings.ToUpper(s.key)
			}
		}
		if back != name {
			t.Errorf("%s leads to %s (%s)", name, back, o.path)
		}
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"address", "bootstrap_servers", "timeout", "warn"}
	for name, want := range map[string]string{
		"adress": "address", "Address": "address", "addresss": "address", "bootstrap.servers": "bootstrap_servers",
		"bootstrapServers": "bootstrap_servers", "boostrap_server": "bootstrap_servers", "tiemout": "timeout", "warning": "warn",
		"brokers": "", "": "", strings.Repeat("x", 200): "",
	} {
		if got := nearest(name, known); got != want {
			t.Errorf("nearest(%q) is %q, want %q", name, got, want)
		}
	}
}

func TestDescriptions(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ comment, goName, key, want string }{
		{"Address is the host:port.", "Address", "address", "The host:port."},
		{"Files are read.", "Files", "files", "Read."},
		{"HTTP2 offers HTTP/2.", "HTTP2", "http2", "Offers HTTP/2."},
		{"StallTimeout: a partition waits.", "StallTimeout", "stall_timeout", "A partition waits."},
		{"Compression of batches.", "Compression", "compression", "Compression of batches."},
		{"DuplicateNames inside of data.", "DuplicateNames", "duplicate_names", "`duplicate_names` inside of data."},
		{"Says what it does.", "Address", "address", "Says what it does."},
	} {
		if got := asDescription(test.comment, test.goName, test.key); got != test.want {
			t.Errorf("%q is described as %q, want %q", test.comment, got, test.want)
		}
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"0": 0, "12": 12, "1B": 1, "1kB": 1000, "1KB": 1000, "1KiB": 1024, "64MiB": 64 << 20, "64 MiB": 64 << 20, "2GB": 2e9, "1TiB": 1 << 40,
		"-5": -5,
	} {
		if got, ok := parseSize(text); !ok || got != want {
			t.Errorf("parseSize(%q) is %d, %v, want %d", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "MiB", "1M", "1mib", "1.5MiB", "1e6", "0x10", "99999999TiB", "1 MiB ", " 1", "1MiBB", "1_000"} {
		if got, ok := parseSize(text); ok {
			t.Errorf("parseSize(%q) is %d, want a refusal", text, got)
		}
	}
	for n, want := range map[int64]string{0: "0", 1: "1", 1000: "1KB", 1024: "1KiB", 1_000_000: "1MB", 1025: "1025", 1 << 30: "1GiB"} {
		got := shortSize(n)
		if got != want {
			t.Errorf("shortSize(%d) is %s, want %s", n, got, want)
		}
		if back, ok := parseSize(got); !ok || back != n {
			t.Errorf("%s reads back as %d, want %d", got, back, n)
		}
	}
}
