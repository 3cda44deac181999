//go:build acceptance

package acceptance

import (
	"context"
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-gateway/weir/core/internal/apachekafka"
)

// consume reads a whole topic with Kafka's own console consumer. Each record is a line of partition, timestamp, headers, key and
// value, tab-separated, null spelled <null>.
func consume(t *testing.T, cluster *apachekafka.Cluster, topic string, count int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	arguments := []string{"--bootstrap-server", strings.Join(cluster.BootstrapServers(), ","), "--topic", topic, "--from-beginning",
		"--max-messages", fmt.Sprint(count), "--timeout-ms", "20000"}
	for _, property := range []string{"print.partition=true", "print.timestamp=true", "print.headers=true", "print.key=true", "print.value=true",
		"null.literal=<null>", "key.separator=\t", "headers.separator=,", "headers.deserializer=org.apache.kafka.common.serialization.StringDeserializer"} {
		arguments = append(arguments, "--formatter-property", property)
	}
	output, err := cluster.Tool(ctx, apachekafka.ConsoleConsumer, nil, arguments...)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimRight(string(output), "\n"), "\n")
	slices.Sort(lines)
	return lines
}

// Records of every format, with keys, headers, timestamps and tombstones, produced by curl through v2, v3 and batch, are read back
// byte for byte by Kafka's own console consumer.
func TestRecordsOfEveryFormatAreReadBackByKafkasConsoleConsumer(t *testing.T) {
	cluster := startKafka(t, apachekafka.Options{})
	ctx := context.Background()
	if err := cluster.CreateTopic(ctx, "formats", 1, 1, nil); err != nil {
		t.Fatal(err)
	}
	w := serveKafka(t, cluster, "")
	v3 := w.url + "/v3/clusters/" + w.clusterID(t) + "/topics/formats/records"
	const at, millis = "2024-05-01T10:00:00.123Z", "1714557600123"
	base := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

	type request struct{ url, contentType, body, want string }
	v2 := func(format, body, want string) request {
		return request{w.url + "/topics/formats", "application/vnd.kafka." + format + ".v2+json", body, want}
	}
	requests := []request{
		v2("json", `{"records":[{"key":{"b": 1.0, "a": "\u00e9 x"},"value":[1e2, 9007199254740993 , {"z":null,"a":"q\"\\"}]},{"key":"k"},{"value":"only"}]}`, `"error_code":null`),
		v2("binary", `{"records":[{"key":"`+base("bin key")+`","value":"`+base("bin value é")+`"},{"key":"`+base("gone")+`","value":null},{"value":""}]}`, `"error_code":null`),
		{w.url + "/topics/formats/partitions/0", "application/vnd.kafka.json.v2+json", `{"records":[{"value":{"via":"partition"}}]}`, `"partition":0`},
		{v3, "application/json", `{"key":{"type":"STRING","data":"s-key é"},"value":{"type":"STRING","data":"line"},"timestamp":"` + at + `",
			"headers":[{"name":"h","value":"` + base("v1") + `"},{"name":"h","value":"` + base("v2") + `"},{"name":"empty","value":""},{"name":"null"}]}
			{"key":{"type":"BINARY","data":"` + base("b-key") + `"},"value":{"type":"JSON","data":{"x": [true, 0.10]}},"timestamp":"` + at + `"}
			{"key":{"type":"JSON","data":{"j":1}},"value":null,"timestamp":"` + at + `"}{}`, `"error_code":200`},
		{v3 + ":batch", "application/json", `{"entries":[{"id":"1","value":{"type":"BINARY","data":"` + base("batch bin") + `"},"timestamp":"` + at + `"},
			{"id":"2","key":{"type":"STRING","data":"bk"},"value":{"type":"JSON","data": {"b": 1} },"headers":[{"name":"bh","value":"` + base("x") + `"}],"timestamp":"` + at + `"}]}`, `"failures":[]`},
	}
	for _, r := range requests {
		answer := curl(t, r.body, "--data-binary", "@-", "--header", "Content-Type: "+r.contentType, r.url)
		if !strings.Contains(answer, r.want) || strings.Contains(answer, `"offset":null`) || strings.Contains(answer, `"error_code":4`) {
			t.Fatalf("POST %s %s: %s", r.url, r.body, answer)
		}
	}
	got := consume(t, cluster, "formats", 13)
	line := func(timestamp, headers, key, value string) string {
		return strings.Join([]string{timestamp, "Partition:0", headers, key, value}, "\t")
	}
	const now, no = "CreateTime:NOW", "NO_HEADERS"
	want := []string{
		line(now, no, `{"b":1.0,"a":"\u00e9 x"}`, `[1e2,9007199254740993,{"z":null,"a":"q\"\\"}]`), line(now, no, `"k"`, "<null>"), line(now, no, "<null>", `"only"`),
		line(now, no, "bin key", "bin value é"), line(now, no, "gone", "<null>"), line(now, no, "<null>", ""), line(now, no, "<null>", `{"via":"partition"}`),
		line("CreateTime:"+millis, "h:v1,h:v2,empty:,null:<null>", "s-key é", "line"), line("CreateTime:"+millis, no, "b-key", `{"x":[true,0.10]}`),
		line("CreateTime:"+millis, no, `{"j":1}`, "<null>"), line(now, no, "<null>", "<null>"),
		line("CreateTime:"+millis, no, "<null>", "batch bin"), line("CreateTime:"+millis, "bh:x", "bk", `{"b":1}`),
	}
	// Timestamps that the gateway gave are today's; they are compared by that.
	recent := regexp.MustCompile(fmt.Sprintf(`CreateTime:%d\d{8}\b`, time.Now().UnixMilli()/1e8))
	for i := range got {
		if !strings.Contains(got[i], "CreateTime:"+millis) {
			got[i] = recent.ReplaceAllString(got[i], now)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what the console consumer read (-want +got):\n%s", diff)
	}
}

// Keyed records lie in the partitions that the Java console producer chooses for the same keys.
func TestKeysLieWhereJavasProducerPutsThem(t *testing.T) {
	cluster := startKafka(t, apachekafka.Options{})
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for _, topic := range []string{"by-java", "by-weir"} {
		if err := cluster.CreateTopic(ctx, topic, 7, 1, nil); err != nil {
			t.Fatal(err)
		}
	}
	w := serveKafka(t, cluster, "")
	keys := []string{"a", "é", "日本語", "🙂", " ", "0", strings.Repeat("k", 1000)}
	for i := range 400 {
		keys = append(keys, fmt.Sprintf("key-%d-%x", i, i*7919))
	}
	var java, weir strings.Builder
	for i, key := range keys {
		fmt.Fprintf(&java, "%s\t%d\n", key, i)
		fmt.Fprintf(&weir, `{"key":{"type":"STRING","data":%q},"value":{"type":"JSON","data":%d}}`, key, i)
	}
	if _, err := cluster.Tool(ctx, apachekafka.ConsoleProducer, strings.NewReader(java.String()), "--bootstrap-server", cluster.BootstrapServers()[0],
		"--topic", "by-java", "--reader-property", "parse.key=true", "--reader-property", "key.separator=\t"); err != nil {
		t.Fatal(err)
	}
	answer := curl(t, weir.String(), "--data-binary", "@-", "--header", "Content-Type: application/json", w.url+"/v3/clusters/"+w.clusterID(t)+"/topics/by-weir/records")
	if got := strings.Count(answer, `"error_code":200`); got != len(keys) {
		t.Fatalf("%d of %d records were written: %.500s", got, len(keys), answer)
	}
	partitions := func(topic string) map[string]string {
		of := map[string]string{}
		for _, line := range consume(t, cluster, topic, len(keys)) {
			fields := strings.Split(line, "\t")
			if len(fields) != 5 {
				t.Fatalf("%s: line %q", topic, line)
			}
			of[fields[3]] = fields[1]
		}
		return of
	}
	if diff := cmp.Diff(partitions("by-java"), partitions("by-weir")); diff != "" {
		t.Errorf("partitions of keys (-java +weir):\n%s", diff)
	}
}
