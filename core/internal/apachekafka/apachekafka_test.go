//go:build unix

package apachekafka

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestJavaThatIsMissingOrTooOldIsNamedWithItsCure(t *testing.T) {
	fake := func(t *testing.T, script string) string {
		home := t.TempDir()
		if err := os.Mkdir(filepath.Join(home, "bin"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(home, "bin", "java"), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return home
	}
	for name, test := range map[string]struct {
		home func(*testing.T) string
		want string
	}{
		"missing":     {func(*testing.T) string { return "" }, "java not found"},
		"not there":   {func(t *testing.T) string { return t.TempDir() }, "does not run"},
		"too old":     {func(t *testing.T) string { return fake(t, `echo 'openjdk version "11.0.2"' >&2`) }, "is Java 11"},
		"older style": {func(t *testing.T) string { return fake(t, `echo 'java version "1.8.0_292"' >&2`) }, "is Java 1"},
		"not a java":  {func(t *testing.T) string { return fake(t, `echo hello`) }, "says nothing of a version"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("JAVA_HOME", test.home(t))
			t.Setenv("PATH", "/nonexistent")
			if test.home(t) != "" {
				t.Setenv("PATH", os.Getenv("PATH")+":/bin:/usr/bin")
			}
			_, err := findJava(t.Context())
			if err == nil {
				t.Fatal("got no error")
			}
			for _, part := range []string{test.want, "openjdk-17-jre-headless"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("got %q, want it to contain %q", err, part)
				}
			}
		})
	}
}

func TestMavenThatIsMissingIsNamedWithItsCure(t *testing.T) {
	t.Setenv("PATH", "/nonexistent")
	distribution := Distribution{directory: t.TempDir(), jars: filepath.Join(t.TempDir(), "jars")}
	err := distribution.resolve(t.Context())
	if err == nil || !strings.Contains(err.Error(), "apt-get install -y maven") {
		t.Errorf("got %v, want an error that says how to install Maven", err)
	}
}

func TestFailedDownloadLeavesNothingBehind(t *testing.T) {
	directory, bin := t.TempDir(), t.TempDir()
	script := "#!/bin/sh\necho cannot reach the mirror\nexit 1\n"
	if err := os.WriteFile(filepath.Join(bin, "mvn"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":/bin:/usr/bin")
	distribution := Distribution{directory: directory, jars: filepath.Join(directory, "jars")}
	err := distribution.resolve(t.Context())
	if err == nil || !strings.Contains(err.Error(), "cannot reach the mirror") {
		t.Errorf("got %v, want Maven's own words", err)
	}
	left, err := os.ReadDir(directory)
	if err != nil || len(left) != 0 {
		t.Errorf("got %v, %v left, want nothing", left, err)
	}
}

func TestLockIsExclusive(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() {
		second, err := lock(t.Context(), name)
		if err == nil {
			defer second()
			if _, statErr := os.Stat(name + ".free"); statErr != nil {
				err = errors.New("second lock taken while the first was held")
			}
		}
		got <- err
	}()
	if err := os.WriteFile(name+".free", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	unlock()
	if err := <-got; err != nil {
		t.Error(err)
	}
}

func TestFreePorts(t *testing.T) {
	ports, err := FreePorts(200)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[int]bool)
	for _, port := range ports {
		if seen[port] || port < firstPort || port >= lastPort {
			t.Errorf("port %d is picked twice or out of range", port)
		}
		seen[port] = true
	}
	if len(ports) != 200 {
		t.Errorf("got %d ports, want 200", len(ports))
	}
}

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	for name, options := range map[string]Options{
		"no brokers":   {Brokers: -1},
		"four brokers": {Brokers: 4},
		"line break":   {Brokers: 1, Properties: map[string]string{"a": "b\nc=d"}},
	} {
		if err := options.validate(); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

func TestUUID(t *testing.T) {
	seen := make(map[string]bool)
	for range 2000 {
		id := uuid()
		if len(id) != 22 || id[0] == '-' || seen[id] {
			t.Fatalf("got %q", id)
		}
		seen[id] = true
	}
}
