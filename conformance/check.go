package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
)

// builtins are the names that a run gives a value to.
func builtins() []string {
	names := []string{"cluster", "c", "host", "base", "run", "unique"}
	for limit := range DefaultLimits() {
		names = append(names, "limits."+limit)
	}
	return names
}

// checkCase finds what the schema cannot: names that nothing defines, matchers that are none, steps that expect nothing. It adds
// the features that the case's own parts imply to its needs.
func checkCase(c *Case, profiles []Profile, raw *bool) error {
	for _, need := range c.Needs {
		if !slices.Contains(features, need) {
			return fmt.Errorf("no feature is called %s", need)
		}
	}
	if !slices.ContainsFunc(profiles, func(p Profile) bool { return p.Name == c.Profile }) {
		return fmt.Errorf("no profile is called %s", c.Profile)
	}
	samples := vars{}
	for _, name := range builtins() {
		samples.set(name, "sample")
	}
	for limit, value := range DefaultLimits() {
		samples["limits."+limit] = json.RawMessage(strconv.FormatInt(min(value, 4096), 10))
	}
	for name, spec := range c.topics {
		samples.set(name, "sample")
		if spec != nil {
			c.need(Topics)
		}
	}
	for i, text := range c.steps {
		s, err := decodeStep(samples, text)
		if err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
		if err := s.check(c); err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
		*raw = *raw || s.Raw != nil
		c.stepFaults = c.stepFaults || s.Faults != nil
		for name := range s.Capture {
			samples.set(name, "1")
		}
	}
	for _, text := range c.after {
		if _, err := decodeRequest(samples, text); err != nil {
			return fmt.Errorf("after: %w", err)
		}
	}
	if c.faults != nil {
		c.need(Faults)
		if _, err := decodeFaults(samples, c.faults); err != nil {
			return fmt.Errorf("faults: %w", err)
		}
	}
	if c.kafkaHas != nil {
		c.need(ReadBack)
		if _, err := decodeWantedRecords(samples, c.kafkaHas); err != nil {
			return fmt.Errorf("kafka_has: %w", err)
		}
	}
	return nil
}

func (c *Case) need(f Feature) {
	if !slices.Contains(c.Needs, f) {
		c.Needs = append(slices.Clone(c.Needs), f)
	}
}

func decodeStep(values vars, text json.RawMessage) (*step, error) {
	expanded, err := values.expand(text, false)
	if err != nil {
		return nil, err
	}
	var s step
	if err := decodeStrict(expanded, &s); err != nil {
		return nil, err
	}
	if s.Gather != nil {
		s.Gather.step = text
	}
	return &s, nil
}

// decodeRequest reads a request of after. It is nil when it names what the case did not come to capture.
func decodeRequest(values vars, text json.RawMessage) (*request, error) {
	expanded, err := values.expand(text, true)
	if err != nil {
		return nil, err
	}
	if anyReference.Match(expanded) {
		return nil, nil
	}
	var r request
	err = decodeStrict(expanded, &r)
	return &r, err
}

func decodeFaults(values vars, text json.RawMessage) ([]Fault, error) {
	expanded, err := values.expand(text, false)
	if err != nil {
		return nil, err
	}
	var faults []Fault
	err = decodeStrict(expanded, &faults)
	return faults, err
}

func decodeWantedRecords(values vars, text json.RawMessage) ([]wantedRecords, error) {
	expanded, err := values.expand(text, false)
	if err != nil {
		return nil, err
	}
	var wanted []wantedRecords
	if err := decodeStrict(expanded, &wanted); err != nil {
		return nil, err
	}
	for _, w := range wanted {
		for _, r := range w.Records {
			for _, side := range []json.RawMessage{r.Key, r.Value} {
				var o octets
				if side == nil {
					continue
				}
				if err := json.Unmarshal(side, &o); err != nil {
					return nil, err
				}
			}
		}
	}
	return wanted, nil
}

// check finds what is wrong with a step in itself.
func (s *step) check(c *Case) error {
	var wants []*expectation
	switch {
	case s.Send != nil && s.Want != nil:
		wants = append(wants, s.Want)
		if s.Gather != nil {
			if err := s.Gather.check(s); err != nil {
				return fmt.Errorf("gather: %w", err)
			}
		}
	case s.Kafka != nil:
		c.need(Kafka)
		return s.Kafka.check()
	case s.Faults != nil:
		c.need(Faults)
		return nil
	case s.Pause > 0:
		return nil
	case s.Stream != nil:
		bodyless := s.Stream.bodyless()
		if !bodyless {
			c.need(Duplex)
		}
		expects := false
		for _, item := range s.Script {
			if bodyless && (item.Write != nil || item.Close) {
				return errors.New("a GET has no body to write or close")
			}
			expects = expects || item.Head != nil || item.Received > 0 || item.Receipt != nil || item.End != nil || item.Meanwhile != nil
			if item.Meanwhile != nil {
				if err := item.Meanwhile.check(c); err != nil {
					return fmt.Errorf("meanwhile: %w", err)
				}
				if item.Meanwhile.Gather != nil || item.Meanwhile.Faults != nil {
					return errors.New("meanwhile: gather and faults are for steps of a case")
				}
			}
			if item.Head != nil {
				wants = append(wants, item.Head)
			}
			if item.Receipt != nil {
				wants = append(wants, &expectation{Status: http.StatusOK, JSON: item.Receipt})
			}
		}
		if !expects {
			return errors.New("the script expects nothing: add head, receipt, meanwhile or end")
		}
	case s.Raw != nil:
		c.need(Raw)
		if len(s.Responses) == 0 && !s.Closed {
			return errors.New("raw bytes that expect nothing: add responses or closed")
		}
		for i := range s.Responses {
			wants = append(wants, &s.Responses[i])
		}
	default:
		return errors.New("a step has send and want, stream and script, raw and responses, or one of kafka, faults and pause")
	}
	for _, a := range s.Also {
		if a.Want == nil && len(a.Responses) == 0 && !a.Closed {
			return fmt.Errorf("the alternative %q expects nothing", a.Reason)
		}
		if a.Want != nil {
			wants = append(wants, a.Want)
		}
	}
	for trait, d := range s.On {
		if d.Want == nil && d.Responses == nil {
			return fmt.Errorf("on: %s expects nothing: add want or responses, or skip to the case's own on", trait)
		}
		if d.Want != nil {
			wants = append(wants, d.Want)
		}
		for i := range d.Responses {
			wants = append(wants, &d.Responses[i])
		}
	}
	for _, want := range wants {
		if err := want.check(); err != nil {
			return err
		}
	}
	return nil
}

func (want *expectation) check() error {
	if want.Status == 0 {
		return errors.New("an expectation has no status")
	}
	for _, value := range []json.RawMessage{want.JSON, want.Receipts} {
		if value == nil {
			continue
		}
		if err := checkMatchers(value); err != nil {
			return err
		}
	}
	for _, matchers := range []map[string]string{want.Headers, want.Trailers} {
		for value := range maps.Values(matchers) {
			if err := checkMatcher(value); err != nil {
				return err
			}
		}
	}
	if want.Matches != "" {
		return checkMatcher(matchRegexp + want.Matches + ">")
	}
	return nil
}
