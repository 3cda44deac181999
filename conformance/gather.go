package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// gathering repeats a step that reads records until so many have come, in however many answers. Readers of a log may cut it where
// they like; what must hold is that nothing is missing, nothing comes twice, and the order of each partition is kept.
type gathering struct {
	// Count is how many records there must be in the end; one more is a failure.
	Count int `json:"count"`
	// JSON is what they must be, as one array ordered by topic and partition, and in a partition by their delivery.
	JSON json.RawMessage `json:"json"`

	step json.RawMessage // the step as it is written: its request may name what the answers before it had
}

// gathered is what is looked at in a record.
type gathered struct {
	Topic     string `json:"topic"`
	Partition *int32 `json:"partition"`
	Offset    *int64 `json:"offset"`
	text      json.RawMessage
}

func (g *gathering) check(s *step) error {
	switch {
	case g.Count < 1:
		return errors.New("count wants a positive number")
	case s.Within == 0:
		return errors.New("within says how long it may take")
	case s.Send.JSON != nil || s.Send.Body != nil:
		return errors.New("a request that reads records has no body")
	case g.JSON != nil:
		return checkMatchers(g.JSON)
	}
	return nil
}

// gather makes the request until its answers hold so many records, and holds each answer against the step's expectation and all
// records against what is wanted of them.
func (a *attempt) gather(ctx context.Context, s *step) []string {
	wanted := s.Gather
	deadline := time.Now().Add(time.Duration(s.Within))
	var all []gathered
	for len(all) < wanted.Count {
		if problems := a.send(ctx, s); len(problems) > 0 {
			problems[0] = fmt.Sprintf("after %d records: %s", len(all), problems[0])
			return problems
		}
		more, err := recordsOf(a.exchanges[len(a.exchanges)-1].received)
		if err != nil {
			return []string{err.Error()}
		}
		all = append(all, more...)
		if len(all) < wanted.Count && !time.Now().Before(deadline) {
			return []string{fmt.Sprintf("want %d records within %s, got %d: %s", wanted.Count, time.Duration(s.Within), len(all), showGathered(all))}
		}
		next, err := decodeStep(a.vars, wanted.step)
		if err != nil {
			return []string{err.Error()}
		}
		s = next
	}
	slices.SortStableFunc(all, func(x, y gathered) int {
		if byTopic := strings.Compare(x.Topic, y.Topic); byTopic != 0 {
			return byTopic
		}
		return int(*x.Partition) - int(*y.Partition)
	})
	return wanted.problems(all)
}

func recordsOf(body []byte) ([]gathered, error) {
	var texts []json.RawMessage
	if err := json.Unmarshal(body, &texts); err != nil {
		return nil, fmt.Errorf("an answer that is no array of records: %w", err)
	}
	records := make([]gathered, len(texts))
	for i, text := range texts {
		if err := json.Unmarshal(text, &records[i]); err != nil || records[i].Partition == nil || records[i].Offset == nil {
			return nil, fmt.Errorf("an element that is no record with topic, partition and offset: %s", trim(string(text), 300))
		}
		records[i].text = text
	}
	return records, nil
}

// problems finds records that are missing, out of order or there twice, and those that differ.
func (g *gathering) problems(all []gathered) []string {
	var problems []string
	if len(all) != g.Count {
		problems = append(problems, fmt.Sprintf("want %d records, got %d: %s", g.Count, len(all), showGathered(all)))
	}
	for i := 1; i < len(all); i++ {
		before, this := &all[i-1], &all[i]
		if this.Topic == before.Topic && *this.Partition == *before.Partition && *this.Offset <= *before.Offset {
			problems = append(problems, fmt.Sprintf("%s-%d: offset %d came after offset %d", this.Topic, *this.Partition, *this.Offset, *before.Offset))
		}
	}
	if g.JSON == nil || len(problems) > 0 {
		return problems
	}
	texts := make([]json.RawMessage, len(all))
	for i := range all {
		texts[i] = all[i].text
	}
	list, err := marshal(texts)
	if err != nil {
		return []string{err.Error()}
	}
	return matchJSON(g.JSON, list)
}

func showGathered(all []gathered) string {
	var b strings.Builder
	for i := range all {
		fmt.Fprintf(&b, " %s-%d@%d", all[i].Topic, *all[i].Partition, *all[i].Offset)
	}
	return trim(b.String(), 400)
}
