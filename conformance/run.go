package conformance

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options are how a run goes about its work.
type Options struct {
	// Cases are what to run. Nil: those of this package.
	Cases []*Case
	// Match picks cases by id, in which * stands for any text. Empty: all.
	Match string
	// Parallel is how many cases run at once. Zero: 16; most of their time is waiting.
	Parallel int
	// KeepTopics leaves the topics of the run in Kafka.
	KeepTopics bool
	// Observe is called with every answer to a request that was made through an HTTP client, by several goroutines at once. Nil:
	// nobody looks.
	Observe func(response *http.Response, body []byte)
	// Progress is called with each result as it comes, by one goroutine at a time. Nil: nobody is told.
	Progress func(CaseResult)
}

const defaultParallel = 16

// Run holds the target against the cases and reports every one of them. The error is for a run that could not be made; cases
// that fail are in the report.
func Run(ctx context.Context, target Target, env Env, options Options) (*Report, error) {
	r, err := newRun(ctx, target, env, &options)
	if err != nil {
		return nil, err
	}
	defer r.close(ctx)
	started := time.Now()
	results := make([]CaseResult, len(r.cases))
	one := func(i int) {
		results[i] = r.do(ctx, r.cases[i])
		r.progress(results[i])
	}
	var group sync.WaitGroup
	slots := make(chan struct{}, max(1, options.Parallel))
	for i, c := range r.cases {
		if c.hasFaults() {
			continue
		}
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			one(i)
		})
	}
	group.Wait()
	for i, c := range r.cases {
		if c.hasFaults() {
			one(i)
		}
	}
	return newReport(&r.target, results, started), ctx.Err()
}

// A suiteRun is one run of cases against one target.
type suiteRun struct {
	target  Target
	base    *url.URL
	env     Env
	cases   []*Case
	options *Options
	vars    vars
	prefix  string
	counter atomic.Int64

	progressing sync.Mutex

	mu     sync.Mutex
	topics []string // made, or named so that a case may have made them
}

func newRun(ctx context.Context, target Target, env Env, options *Options) (*suiteRun, error) {
	base, err := url.Parse(strings.TrimSuffix(target.BaseURL, "/"))
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("base URL %q: want http://host:port or https://host:port", target.BaseURL)
	}
	if target.Profile == "" {
		target.Profile = DefaultProfile
	}
	cases := options.Cases
	if cases == nil {
		if cases, err = Cases(); err != nil {
			return nil, err
		}
	}
	if options.Match != "" {
		cases = slices.DeleteFunc(slices.Clone(cases), func(c *Case) bool { return !MatchID(options.Match, c.ID) })
		if len(cases) == 0 {
			return nil, fmt.Errorf("no case matches %s", options.Match)
		}
	}
	if options.Parallel == 0 {
		options.Parallel = defaultParallel
	}
	target.Features = slices.Clone(target.Features)
	if env != nil {
		target.Features = append(target.Features, Topics, ReadBack, Kafka)
	} else if target.has(V3) && target.has(TopicAdmin) {
		target.Features = append(target.Features, Topics)
	}
	unique := make([]byte, 4)
	if _, err := rand.Read(unique); err != nil {
		return nil, err
	}
	r := &suiteRun{
		target: target, base: base, env: env, cases: cases, options: options, prefix: "conformance-" + hex.EncodeToString(unique) + "-",
	}
	r.vars = r.builtins(ctx)
	return r, nil
}

func (t *Target) has(f Feature) bool { return slices.Contains(t.Features, f) }

// builtins gives the values that every case may refer to. The cluster's id is asked of the target; where it gives none the
// cases that need it say so.
func (r *suiteRun) builtins(ctx context.Context) vars {
	v := vars{}
	v.set("host", r.base.Host)
	v.set("base", r.base.String())
	v.set("run", r.prefix)
	for name, value := range DefaultLimits() {
		if own, ok := r.target.Limits[name]; ok {
			value = own
		}
		v["limits."+name] = json.RawMessage(strconv.FormatInt(value, 10))
	}
	if r.target.ClusterID != "" {
		v.set("cluster", r.target.ClusterID)
		v.set("c", "/v3/clusters/"+r.target.ClusterID)
	}
	if !r.target.has(V3) || r.target.ClusterID != "" {
		return v
	}
	probe := &attempt{run: r, vars: v}
	defer probe.close()
	s := &step{Send: &request{Method: http.MethodGet, Path: octets("/v3/clusters")}, Want: &expectation{Status: http.StatusOK}, Capture: map[string]string{"cluster": "$.data[0].cluster_id"}}
	ctx, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	if problems := probe.send(ctx, s); len(problems) == 0 {
		v.set("c", "/v3/clusters/"+strings.Trim(string(v["cluster"]), `"`))
	}
	return v
}

// unsupported gives the reason why a case cannot be held against the target, or "".
func (r *suiteRun) unsupported(c *Case) string {
	if c.Profile != r.target.Profile {
		return "needs profile " + c.Profile
	}
	for _, need := range c.Needs {
		if !r.target.has(need) {
			return "needs " + string(need)
		}
	}
	for _, trait := range r.target.Traits {
		if reason, ok := c.skipOn[trait]; ok {
			return "not on " + trait + ": " + reason
		}
	}
	return ""
}

// do runs one case and weighs it against the known failures.
func (r *suiteRun) do(ctx context.Context, c *Case) CaseResult {
	result := CaseResult{ID: c.ID, Suite: c.Suite, Place: fmt.Sprintf("%s:%d", c.File, c.Line), Deviates: c.Deviates}
	if reason := r.unsupported(c); reason != "" {
		result.Outcome, result.Reason = NotSupported, reason
		return result
	}
	started := time.Now()
	a := &attempt{run: r, c: c, vars: r.vars.clone()}
	defer a.close()
	problems, err := a.do(ctx)
	result.DurationMS = time.Since(started).Milliseconds()
	if errors.Is(err, ErrNotSupported) {
		result.Outcome, result.Reason = NotSupported, err.Error()
		return result
	}
	if err != nil {
		problems = append(problems, err.Error())
	}
	known := slices.IndexFunc(r.target.Known, func(k KnownFailure) bool { return MatchID(k.Pattern, c.ID) })
	switch {
	case len(problems) == 0 && known < 0:
		result.Outcome = Passed
	case len(problems) == 0:
		result.Outcome, result.Reason = UnexpectedPass, "known to fail, but passes; take "+r.target.Known[known].Pattern+" out of the list"
	case known >= 0:
		result.Outcome, result.Reason = KnownFailing, r.target.Known[known].Reason
	default:
		result.Outcome = Failed
	}
	if len(problems) > 0 {
		result.Problems = problems
		result.Exchange = a.shown()
	}
	return result
}

func (r *suiteRun) progress(result CaseResult) {
	if r.options.Progress == nil {
		return
	}
	r.progressing.Lock()
	defer r.progressing.Unlock()
	r.options.Progress(result)
}

// close removes the topics of the run. What cannot be removed stays: its name says where it came from.
func (r *suiteRun) close(ctx context.Context) {
	if r.options.KeepTopics {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), defaultTimeout)
	defer cancel()
	deleter, ok := r.env.(TopicDeleter)
	a := &attempt{run: r, vars: r.vars}
	defer a.close()
	for _, topic := range r.topics {
		switch {
		case ok:
			_ = deleter.DeleteTopic(ctx, topic)
		case r.target.has(TopicAdmin) && r.vars["c"] != nil:
			path := strings.Trim(string(r.vars["c"]), `"`) + "/topics/" + topic
			_ = a.send(ctx, &step{Send: &request{Method: http.MethodDelete, Path: octets(path)}, Want: &expectation{Status: http.StatusNoContent}})
		}
	}
}
