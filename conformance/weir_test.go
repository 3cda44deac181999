package conformance_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weir-gateway/weir/conformance"
	"github.com/weir-gateway/weir/conformance/kafkaenv"
	"github.com/weir-gateway/weir/core"
	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/coretest"
)

// coreEnv is the embedded broker behind a core: kafkaenv for topics and records, the broker itself for faults.
type coreEnv struct {
	*kafkaenv.Env
	gateway *coretest.Gateway
}

const anyNode = -1

func (e coreEnv) Inject(_ context.Context, fault conformance.Fault) (func(), error) {
	if fault.Down {
		if err := e.gateway.Broker.Down(0); err != nil {
			return nil, err
		}
		return sync.OnceFunc(func() { e.gateway.Broker.Up(0) }), nil // there is a node 0, as Down has found
	}
	if fault.Hang {
		return e.gateway.Broker.Hang(fault.API, anyNode, 0), nil
	}
	code, err := errorCode(fault.Error)
	if err != nil {
		return nil, err
	}
	times := fault.Times
	if times == 0 {
		times = -1
	}
	stop := e.gateway.Broker.Fail(fault.API, anyNode, code, times)
	return sync.OnceFunc(func() { stop() }), nil
}

func errorCode(name string) (int16, error) {
	if name == "NOT_LEADER_OR_FOLLOWER" {
		name = kerr.NotLeaderForPartition.Message // as it was called before Kafka 2.6, and still is here
	}
	const last = 200
	for code := int16(-1); code < last; code++ {
		if err := kerr.TypedErrorForCode(code); err != nil && err.Message == name && err.Code == code {
			return code, nil
		}
	}
	return 0, fmt.Errorf("Kafka has no error %s", name)
}

// TestMain lets more cases run at once than there are processors: most of the time of a case that reads is waiting.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		flag.Set("test.parallel", strconv.Itoa(waiting*runtime.GOMAXPROCS(0))) // a flag of the testing package, and a number
	}
	os.Exit(m.Run())
}

// waiting is how many cases run at once for each processor.
const waiting = 4

// TestWeirInProcess holds a core on the embedded broker against the whole suite, under each of its profiles. Every case runs
// under one of them, or is declared not to be for this broker.
func TestWeirInProcess(t *testing.T) {
	t.Parallel()
	profiles, err := conformance.Profiles()
	if err != nil {
		t.Fatal(err)
	}
	known, err := conformance.KnownFailures("weir")
	if err != nil {
		t.Fatal(err)
	}
	cases, err := conformance.Cases()
	if err != nil {
		t.Fatal(err)
	}
	document := readOpenAPI(t)
	t.Cleanup(func() { document.report(t) })
	for _, profile := range profiles {
		t.Run(profile.Name, func(t *testing.T) {
			t.Parallel()
			own := slices.DeleteFunc(slices.Clone(cases), func(c *conformance.Case) bool { return c.Profile != profile.Name })
			if len(own) == 0 {
				t.Fatal("no case is for this profile")
			}
			for name, part := range parts(own) {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					report := runInProcess(t, profile, part, known, document.observe)
					t.Logf("%+v", report.Counts)
					for _, c := range report.Cases {
						if c.Outcome == conformance.NotSupported && !strings.HasPrefix(c.Reason, "not on kfake") {
							t.Errorf("%s is for a core in process, but was not run: %s", c.ID, c.Reason)
						}
					}
				})
			}
		})
	}
}

// brokersForFaults is how many brokers share the cases that inject faults, which have a broker to themselves.
const brokersForFaults = 4

// parts splits cases by the broker that they run on.
func parts(cases []*conformance.Case) map[string][]*conformance.Case {
	split := map[string][]*conformance.Case{}
	n := 0
	for _, c := range cases {
		name := "ordinary"
		if slices.Contains(c.Needs, conformance.Faults) {
			name = fmt.Sprintf("faults-%d", n%brokersForFaults)
			n++
		}
		split[name] = append(split[name], c)
	}
	return split
}

func runInProcess(t *testing.T, profile conformance.Profile, cases []*conformance.Case, known []conformance.KnownFailure, observe func(*http.Response, []byte)) *conformance.Report {
	t.Helper()
	target := conformance.Target{
		Name: "weir in process", Profile: profile.Name, Traits: []string{"kfake"}, Limits: profile.Limits,
		Features: []conformance.Feature{
			conformance.V1, conformance.V2, conformance.V3, conformance.H1, conformance.H2, conformance.Duplex, conformance.TopicAdmin, conformance.Raw,
			conformance.Limits, conformance.Weir, conformance.Faults,
		},
	}
	apply := func(settings *config.Config) {
		if err := yaml.Unmarshal(profile.Config, settings); err != nil {
			t.Fatal(err)
		}
	}
	var env conformance.Env
	if profile.Name == "no-broker" {
		target.BaseURL, target.ClusterID = startWithoutBroker(t, apply), "abc"
	} else {
		options := coretest.Options{Settings: apply}
		options.Broker.AutoCreateTopics = profile.Name == "auto-create"
		gateway := coretest.Start(t, options)
		target.BaseURL, target.ClusterID = gateway.URL, gateway.ClusterID
		kafka, err := kafkaenv.New(t.Context(), gateway.Broker.Addresses())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(kafka.Close)
		env = coreEnv{kafka, gateway}
	}
	for _, k := range known { // a pattern is for the profile whose cases it matches
		if slices.ContainsFunc(cases, func(c *conformance.Case) bool { return conformance.MatchID(k.Pattern, c.ID) }) {
			target.Known = append(target.Known, k)
		}
	}
	started := time.Now()
	report := conformance.RunTests(t, target, env, conformance.Options{Cases: cases, Observe: observe})
	t.Logf("%d cases in %s", report.Counts.Total, time.Since(started).Round(time.Millisecond))
	return report
}

// TestReadmeCasesPass holds the core against the file that README.md shows.
func TestReadmeCasesPass(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "```yaml\n")
	text, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("README.md shows no case file")
	}
	cases, err := conformance.Load(fstest.MapFS{"readme.yaml": {Data: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	report := runInProcess(t, conformance.Profile{Name: conformance.DefaultProfile, Config: []byte("{}")}, cases, nil, nil)
	if !report.OK || report.Counts.Passed != len(cases) {
		t.Errorf("got %+v", report.Counts)
	}
}

// startWithoutBroker starts a core whose only cluster does not answer. It never gets ready, and serves all the same.
func startWithoutBroker(t *testing.T, apply func(*config.Config)) string {
	t.Helper()
	settings := config.Default()
	cluster := config.DefaultCluster()
	apply(&settings)
	for i := range settings.Clusters {
		own := settings.Clusters[i]
		settings.Clusters[i] = cluster
		settings.Clusters[i].Name, settings.Clusters[i].BootstrapServers, settings.Clusters[i].AdminTimeout = own.Name, own.BootstrapServers, own.AdminTimeout
	}
	logger := slog.New(slog.DiscardHandler)
	gateway, err := core.New(t.Context(), settings, logger)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := core.NewServer(settings, gateway, logger)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := gateway.Close(ctx); err != nil {
			t.Logf("closing the gateway: %v", err)
		}
	})
	return "http://" + listener.Addr().String()
}
