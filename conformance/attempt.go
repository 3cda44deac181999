package conformance

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// An attempt is one case being run.
type attempt struct {
	run       *suiteRun
	c         *Case
	vars      vars
	exchanges []*exchange
	own       *http.Client // a client of the attempt's own, so that a connection that a case spoils is nobody else's
}

// do makes the case's topics and faults, takes its steps, and reads back. The error is for what is not the target's doing.
func (a *attempt) do(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, a.c.timeout)
	defer cancel()
	if err := a.makeTopics(ctx); err != nil {
		return nil, err
	}
	undo, err := a.injectFaults(ctx)
	defer undo()
	if err != nil {
		return nil, err
	}
	for i, text := range a.c.steps {
		s, err := decodeStep(a.vars, text)
		if err != nil {
			return nil, fmt.Errorf("step %d: %w", i+1, err)
		}
		problems := eventually(ctx, time.Duration(s.Within), func(ctx context.Context) []string { return a.step(ctx, s) })
		if len(problems) > 0 {
			if len(a.c.steps) > 1 {
				problems[0] = fmt.Sprintf("step %d: %s", i+1, problems[0])
			}
			return problems, nil
		}
	}
	undo()
	if a.c.kafkaHas == nil {
		return nil, nil
	}
	wanted, err := decodeWantedRecords(a.vars, a.c.kafkaHas)
	if err != nil {
		return nil, err
	}
	return a.holds(ctx, wanted), nil
}

func (a *attempt) step(ctx context.Context, s *step) []string {
	switch {
	case s.Stream != nil:
		return a.stream(ctx, s)
	case s.Raw != nil:
		return a.raw(ctx, s)
	default:
		return a.send(ctx, s)
	}
}

// makeTopics gives every topic of the case a name that is unique to it, and makes those that shall exist.
func (a *attempt) makeTopics(ctx context.Context) error {
	for _, alias := range sortedKeys(a.c.topics) {
		name := fmt.Sprintf("%s%d-%s", a.run.prefix, a.run.counter.Add(1), strings.ReplaceAll(alias, "_", "-"))
		a.vars.set(alias, name)
		a.run.mu.Lock()
		a.run.topics = append(a.run.topics, name)
		a.run.mu.Unlock()
		spec := a.c.topics[alias]
		if spec == nil {
			continue
		}
		if err := a.makeTopic(ctx, name, spec); err != nil {
			return fmt.Errorf("make topic %s: %w", name, err)
		}
	}
	return nil
}

func (a *attempt) makeTopic(ctx context.Context, name string, spec *topicSpec) error {
	if a.run.env != nil {
		return a.run.env.MakeTopic(ctx, name, spec.Partitions, spec.Configs)
	}
	configs := ""
	for _, key := range sortedKeys(spec.Configs) {
		configs += fmt.Sprintf(`,{"name":%s,"value":%s}`, quoteJSON(key), quoteJSON(spec.Configs[key]))
	}
	body := fmt.Sprintf(`{"topic_name":%s,"partitions_count":%d,"configs":[%s]}`, quoteJSON(name), spec.Partitions, strings.TrimPrefix(configs, ","))
	path := strings.Trim(string(a.run.vars["c"]), `"`) + "/topics"
	made := &step{
		Send: &request{Method: http.MethodPost, Path: octets(path), Type: "v3", JSON: []byte(body)},
		Want: &expectation{Status: http.StatusCreated},
	}
	if problems := a.send(ctx, made); len(problems) > 0 {
		return fmt.Errorf("through the target: %s", strings.Join(problems, "; "))
	}
	return nil
}

// injectFaults puts the case's faults in place. The undo that it returns may be called more than once, and is never nil.
func (a *attempt) injectFaults(ctx context.Context) (undo func(), err error) {
	var undos []func()
	undo = func() {
		for _, u := range undos {
			u()
		}
		undos = nil
	}
	if a.c.faults == nil {
		return undo, nil
	}
	faults, err := decodeFaults(a.vars, a.c.faults)
	if err != nil {
		return undo, err
	}
	for _, fault := range faults {
		u, err := a.run.env.Inject(ctx, fault)
		if err != nil {
			return undo, fmt.Errorf("inject %s: %w", fault.API, err)
		}
		undos = append(undos, u)
	}
	return undo, nil
}

// client gives the client for the case's version of HTTP.
func (a *attempt) client() *http.Client {
	http2 := a.c != nil && a.c.http2
	switch {
	case http2 && a.run.target.Client2 != nil:
		return a.run.target.Client2
	case !http2 && a.run.target.Client != nil:
		return a.run.target.Client
	}
	if a.own == nil {
		a.own = newClient(http2)
	}
	return a.own
}

func (a *attempt) close() {
	if a.own != nil {
		a.own.CloseIdleConnections()
	}
}

// shown gives the exchanges of a case that failed: the last one whole, those before it as far as they go.
func (a *attempt) shown() string {
	const most = 4
	var b strings.Builder
	for _, e := range a.exchanges[max(0, len(a.exchanges)-most):] {
		b.WriteString(e.String())
	}
	return b.String()
}
