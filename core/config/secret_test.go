package config_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/goccy/go-yaml"

	"github.com/weir-gateway/weir/core/config"
)

const canary = "cAnArY7"

// leaks says whether text holds the canary, plain or in hexadecimal, or a good part of it.
func leaks(text string) bool {
	lower := strings.ToLower(text)
	return strings.Contains(lower, strings.ToLower(canary[:5])) || strings.Contains(lower, hex.EncodeToString([]byte(canary[:5])))
}

// printings formats v in every way that a program does by accident.
func printings(t *testing.T, v any) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, verb := range "vsqxXdtcUboeEfFgG" {
		for _, flags := range []string{"", "+", "#", " ", "-60", "0200"} {
			format := "%" + flags + string(verb)
			all[format] = fmt.Sprintf(format, v)
		}
	}
	all["Sprint"], all["Errorf"] = fmt.Sprint(v), fmt.Errorf("%v", v).Error()
	for name, marshal := range map[string]func(any) ([]byte, error){
		"json": json.Marshal,
		"yaml": yaml.Marshal,
		"json v2": func(v any) ([]byte, error) {
			// Durations have no representation of their own there.
			if reflect.TypeOf(v) != reflect.TypeFor[config.Secret]() {
				return nil, nil
			}
			return jsonv2.Marshal(v)
		},
		"xml": func(v any) ([]byte, error) {
			out, _ := xml.Marshal(v) // maps are not supported: what was written counts
			return out, nil
		},
	} {
		out, err := marshal(v)
		if err != nil {
			t.Errorf("%s of %T: %v", name, v, err)
		}
		all[name] = string(out)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "v", v)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "v", v)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", slog.Group("g", slog.Any("v", v)))
	all["slog"] = log.String()
	return all
}

func TestSecretsNeverPrint(t *testing.T) {
	t.Parallel()
	c := config.Default()
	c.Clusters = []config.Cluster{config.DefaultCluster()}
	if n := fillSecrets(reflect.ValueOf(&c).Elem()); n == 0 {
		t.Fatal("found no Secret")
	}
	secret := config.Secret(canary)
	for name, v := range map[string]any{
		"config": c, "pointer": &c, "cluster": c.Clusters[0], "secret": secret, "pointer to secret": &secret,
		"slice": []config.Secret{secret}, "map": map[string]config.Secret{"a": secret},
		"any": []any{secret}, "struct": struct{ S config.Secret }{secret},
	} {
		for how, printed := range printings(t, v) {
			if leaks(printed) {
				t.Errorf("%s printed with %s shows the secret: %s", name, how, printed)
			}
		}
	}
	if leaks(string(c.Redacted())) {
		t.Errorf("Redacted shows the secret:\n%s", c.Redacted())
	}
	if got := secret.Reveal(); got != canary {
		t.Errorf("Reveal gave %q, want %q", got, canary)
	}
	if got, want := fmt.Sprintf("%v|%v", secret, config.Secret("")), "***|"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// fillSecrets puts the canary into every Secret below v and says how many there were.
func fillSecrets(v reflect.Value) int {
	n := 0
	switch {
	case v.Type() == reflect.TypeFor[config.Secret]():
		v.SetString(canary)
		return 1
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			n += fillSecrets(v.Field(i))
		}
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			n += fillSecrets(v.Index(i))
		}
	}
	return n
}

// Every Secret of the structs, given in every way, beside everything else that can be wrong.
func TestProblemsNeverShowSecrets(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(directory, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("plain", canary+"\n")
	write("binary", canary+"\xff")
	write("large", strings.Repeat(canary, 1<<18))
	// Where the secret goes: %s stands for what is written there.
	fields := map[string]string{
		"clusters[].sasl.password":            "clusters:\n  - name: main\n    bootstrap_servers: [\"a:1\"]\n    sasl:\n      mechanism: PLAIN\n      username: u\n      password: %s\n",
		"clusters[].sasl.oauth.client_secret": "clusters:\n  - name: main\n    bootstrap_servers: [\"a:1\"]\n    sasl:\n      mechanism: OAUTHBEARER\n      oauth:\n        client_id: u\n        client_secret: %s\n",
		"peers.secret":                        "peers:\n  node_id: a\n  secret: %s\n",
		"peers.previous_secret":               "peers:\n  node_id: a\n  previous_secret: %s\n",
	}
	if got := secretFields(reflect.TypeFor[config.Config](), ""); len(got) != len(fields) {
		t.Errorf("the structs have the secrets %v; this test knows %d of them", got, len(fields))
	}
	values := []string{
		canary, `"` + canary + `"`, `'` + canary + `'`, "|\n            " + canary, ">-\n            " + canary,
		"${env:SECRET}", "${env:SECRET}${env:NONE}", "${env:NONE:-" + canary + "}", "${file:plain}", "${file:binary}", "${file:large}",
		"${file:plain", canary + "${x}", "${" + canary + "}", "${" + canary, `"${env:` + canary + ` }"`, `"$${` + canary + `"`,
		"[" + canary + "]", "{a: " + canary + "}", "{" + canary + ": a}", "\n            - " + canary, "\n            " + canary + " a: b",
		`"` + canary, "'" + canary, canary + ": x", canary + "\n" + canary, canary + " # " + canary, "!" + canary + " x", "!!" + canary,
		"*" + canary, "&" + canary + " &" + canary + " x", `"\0` + canary + `"`, `"\q` + canary + `"`, "@" + canary, "%" + canary, "`" + canary,
		"\t" + canary, "\x00" + canary, canary + "\xff", "123" + "\n            password:" + canary,
		"a\n            password: " + canary + "\n            password: " + canary + "\n            pasword: " + canary + "\n            client_secre: " + canary,
	}
	wholes := []string{
		"clusters: %s", "clusters: [%s]", "clusters: [[%s]]", "clusters: [{sasl: %s}]", "clusters: [{sasl: [%s]}]", "clusters: [{sasl: {oauth: %s}}]",
		"clusters: [{sasl: {pasword: %s}}]", "clusters: [{sasl:{password:%s}}]", "password:%s", "clusters: [{sasl: {<<: %s}}]",
		"clusters: [{sasl: {oauth: {token_url: 'https://u:%s@a/'}}}]", "clusters: [{bootstrap_servers: ['https://u:%s@a/']}]",
		"clusters: [{bootstrap_servers: ['u:%s@a:1']}]", "api: {advertised_urls: ['https://u:%s@a', 'ftp://u:%s@a', ':%s@']}",
	}
	environ := []string{"SECRET=" + canary}
	more := []string{
		"WEIR_CLUSTERS_0_SASL_PASSWORD=" + canary, "WEIR_CLUSTERS_0_SASL_PASSWORD=${file:plain}", "WEIR_CLUSTERS_0_SASL_PASSWORD=${" + canary,
		"WEIR_CLUSTERS_0_SASL_PASWORD=" + canary, "WEIR_CLUSTERS_0_SASL=" + canary, "WEIR_CLUSTERS=" + canary, "WEIR_PASSWORD=" + canary,
		"WEIR_CLUSTERS_9_SASL_PASSWORD=" + canary, "WEIR_CLUSTERS_0_SASL_PASSWORD=a\xff" + canary, "WEIR_CLUSTERS_1_SASL_OAUTH_CLIENT_SECRET=" + canary,
	}
	tail := "produce: {timeout: 30, retries: -1}\nlog: {level: loud}\nunknown: 1\n"
	var texts []string
	for _, field := range fields {
		for _, value := range values {
			texts = append(texts, fmt.Sprintf(field, value), fmt.Sprintf(field, value)+tail)
		}
	}
	for _, whole := range wholes {
		for _, value := range []string{canary, `"` + canary + `"`, "${env:SECRET}"} {
			texts = append(texts, strings.ReplaceAll(whole, "%s", value)+"\n"+tail)
		}
	}
	file := filepath.Join(directory, "weir.yaml")
	for _, text := range texts {
		for _, variable := range append([]string{"UNUSED=1"}, more...) {
			loaded, err := config.Parse(file, []byte(text), append([]string{variable}, environ...))
			printed := fmt.Sprintf("%+v\n%#v\n%s", loaded, loaded, loaded.Redacted())
			if err != nil {
				asJSON, _ := json.Marshal(problemsOf(t, err)) // strings and numbers only
				printed += fmt.Sprintf("%v %+v %#v %s", err, err, err, asJSON)
			}
			if leaks(printed) {
				t.Errorf("the secret shows for\n%s\n%s\nin\n%s", text, variable, printed)
			}
		}
	}
}

func secretFields(section reflect.Type, path string) []string {
	var found []string
	for i := range section.NumField() {
		field := section.Field(i)
		at, of := path+field.Tag.Get("yaml"), field.Type
		if of.Kind() == reflect.Slice {
			at, of = at+"[]", of.Elem()
		}
		switch {
		case of == reflect.TypeFor[config.Secret]():
			found = append(found, at)
		case of.Kind() == reflect.Struct:
			found = append(found, secretFields(of, at+".")...)
		}
	}
	return found
}
