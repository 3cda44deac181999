package config_test

import (
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/core/config"
)

// asRedacted is c as it comes back from its redacted text: every secret that is set is ***.
func asRedacted(c config.Config) config.Config {
	c.Clusters = slices.Clone(c.Clusters)
	for i := range c.Clusters {
		for _, secret := range []*config.Secret{&c.Clusters[i].SASL.Password, &c.Clusters[i].SASL.OAuth.ClientSecret} {
			if *secret != "" {
				*secret = "***"
			}
		}
	}
	for _, secret := range []*config.Secret{&c.Peers.Secret, &c.Peers.PreviousSecret} {
		if *secret != "" {
			*secret = "***"
		}
	}
	return c
}

// sameConfig compares whole configurations, secrets too; no elements and nil are the same.
func sameConfig(want, got config.Config) string {
	return cmp.Diff(want, got,
		cmp.Comparer(func(a, b config.Secret) bool { return a.Reveal() == b.Reveal() }),
		cmp.Comparer(func(a, b []string) bool { return slices.Equal(a, b) }),
		cmp.Comparer(func(a, b map[string]string) bool { return maps.Equal(a, b) }))
}

func TestRedactedReadsBack(t *testing.T) {
	t.Parallel()
	for _, file := range fixtures(t, ".good.yaml") {
		data, environ := readFixture(t, file)
		loaded, err := config.Parse(file, data, environ)
		if err != nil {
			t.Fatal(err)
		}
		// File paths are relative to the working directory by now, which is where a name without a directory starts.
		back, err := config.Parse("shown.yaml", loaded.Redacted(), nil)
		if err != nil {
			t.Errorf("%s: %v\n%s", file, err, loaded.Redacted())
			continue
		}
		if diff := sameConfig(asRedacted(loaded), back); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
	}
}

// Any text survives: control characters, quotes, references, line breaks.
func TestRedactedQuotes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.OneOf(
			rapid.StringN(0, 30, -1),
			rapid.StringMatching(`[$:{}\[\]"'\\#&*!|>%@ \t\n\r\x00-\x1f\x{85}\x{2028}\x{feff}-]{0,20}`),
			rapid.SampledFrom([]string{"${env:X}", "$${", "$$${file:x}", "true", "null", "~", "12", "- a", "a: b"}),
		).Filter(func(s string) bool { return !slices.Contains([]byte(s), 0) })
		want := config.Default()
		cluster := config.DefaultCluster()
		cluster.Name, cluster.BootstrapServers = "main", []string{"a:1"}
		cluster.TLS.Enabled = true
		cluster.TLS.ServerName = texts.Draw(t, "server name")
		cluster.SASL.Mechanism, cluster.SASL.Username, cluster.SASL.Password = "PLAIN", "x"+texts.Draw(t, "username"), "p"
		want.Clusters = []config.Cluster{cluster}
		back, err := config.Parse("shown.yaml", want.Redacted(), nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, want.Redacted())
		}
		if diff := sameConfig(asRedacted(want), back); diff != "" {
			t.Fatalf("(-want +got):\n%s\n%s", diff, want.Redacted())
		}
	})
}

// Redacted names every setting: what it leaves out nobody could see.
func TestRedactedIsWhole(t *testing.T) {
	t.Parallel()
	c := config.Default()
	c.Clusters = []config.Cluster{config.DefaultCluster()}
	text := string(c.Redacted())
	var walk func(section reflect.Type)
	walk = func(section reflect.Type) {
		for i := range section.NumField() {
			field := section.Field(i)
			if key := field.Tag.Get("yaml"); !containsKey(text, key) {
				t.Errorf("%s is missing in\n%s", key, text)
			}
			of := field.Type
			if of.Kind() == reflect.Slice {
				of = of.Elem()
			}
			if of.Kind() == reflect.Struct {
				walk(of)
			}
		}
	}
	walk(reflect.TypeFor[config.Config]())
}

func containsKey(text, key string) bool {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimLeft(line, " -"), key+":") {
			return true
		}
	}
	return false
}

func FuzzParse(f *testing.F) {
	for _, ending := range []string{".good.yaml", ".bad.yaml"} {
		for _, file := range fixtures(f, ending) {
			data, environ := readFixture(f, file)
			variable := ""
			if len(environ) > 0 {
				variable = environ[0]
			}
			f.Add(data, variable)
		}
	}
	name := filepath.Join("testdata", "fuzz.yaml")
	f.Fuzz(func(t *testing.T, data []byte, variable string) {
		begin := time.Now()
		loaded, err := config.Parse(name, data, []string{variable})
		if took, most := time.Since(begin), 10*time.Second; took > most {
			t.Fatalf("took %s for %d bytes, more than %s", took, len(data), most)
		}
		if err != nil {
			problems := problemsOf(t, err)
			if len(problems) == 0 || problems.Error() == "" {
				t.Fatal("an error without a problem")
			}
			for _, p := range problems {
				if p.File == "" || p.Message == "" || p.File == name && (p.Line < 1 || p.Column < 1) {
					t.Fatalf("a problem without a place or a message: %+v", p)
				}
			}
			return
		}
		if err := loaded.Validate(); err != nil {
			t.Fatalf("Parse accepted what Validate does not: %v", err)
		}
		back, err := config.Parse("shown.yaml", loaded.Redacted(), nil)
		if err != nil {
			t.Fatalf("%v in\n%s", err, loaded.Redacted())
		}
		if diff := sameConfig(asRedacted(loaded), back); diff != "" {
			t.Fatalf("(-want +got):\n%s\n%s", diff, loaded.Redacted())
		}
	})
}
