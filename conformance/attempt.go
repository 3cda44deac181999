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
	undo      func()       // ends the faults that are in place now; may be called again, never nil while the case runs
	own       *http.Client // a client of the attempt's own, so that a connection that a case spoils is nobody else's
}

// do makes the case's topics and faults, takes its steps, and reads back. The error is for what is not the target's doing.
func (a *attempt) do(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, a.c.timeout)
	defer cancel()
	a.vars.set("unique", fmt.Sprintf("%s%d", a.run.prefix, a.run.counter.Add(1)))
	if err := a.makeTopics(ctx); err != nil {
		return nil, err
	}
	a.undo = func() {}
	defer a.tidy(ctx) // when Kafka is itself again
	defer func() { a.undo() }()
	if a.c.faults != nil {
		faults, err := decodeFaults(a.vars, a.c.faults)
		if err != nil {
			return nil, err
		}
		if err := a.inject(ctx, faults); err != nil {
			return nil, err
		}
	}
	for i, text := range a.c.steps {
		s, err := decodeStep(a.vars, text)
		if err != nil {
			return nil, fmt.Errorf("step %d: %w", i+1, err)
		}
		if s.Faults != nil {
			if err := a.inject(ctx, *s.Faults); err != nil {
				return nil, err
			}
			continue
		}
		within := time.Duration(s.Within)
		if s.Gather != nil {
			within = 0 // it repeats the request itself
		}
		problems := eventually(ctx, within, func(ctx context.Context) []string { return a.step(ctx, s) })
		if len(problems) > 0 {
			if len(a.c.steps) > 1 {
				problems[0] = fmt.Sprintf("step %d: %s", i+1, problems[0])
			}
			return problems, nil
		}
	}
	a.undo()
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
	case s.Kafka != nil:
		return a.kafka(ctx, s.Kafka)
	case s.Pause > 0:
		return pause(ctx, time.Duration(s.Pause))
	case s.Gather != nil:
		return a.gather(ctx, s)
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

// inject puts faults in place of those that are there.
func (a *attempt) inject(ctx context.Context, faults []Fault) error {
	a.undo()
	var undos []func()
	a.undo = func() {
		for _, undo := range undos {
			undo()
		}
		undos = nil
	}
	for _, fault := range faults {
		undo, err := a.run.env.Inject(ctx, fault)
		if err != nil {
			return fmt.Errorf("inject %+v: %w", fault, err)
		}
		undos = append(undos, undo)
	}
	return nil
}

// tidy makes the requests of after, also when the case has failed or its time is over. What they answer is not looked at: what
// they remove may be gone, and what they cannot remove the target gives up by itself.
func (a *attempt) tidy(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTimeout)
	defer cancel()
	for _, text := range a.c.after {
		r, err := decodeRequest(a.vars, text)
		if err != nil || r == nil {
			continue
		}
		made, err := a.newRequest(ctx, r, http.NoBody, 0)
		if err != nil {
			continue
		}
		if response, err := a.client().Do(made); err == nil {
			response.Body.Close()
		}
	}
}

// tidyTimeout bounds all requests of after.
const tidyTimeout = 5 * time.Second

// pause waits, unless the context ends before.
func pause(ctx context.Context, d time.Duration) []string {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return []string{ctx.Err().Error()}
	}
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
