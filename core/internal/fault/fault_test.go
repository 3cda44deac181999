package fault

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestFrom(t *testing.T) {
	t.Parallel()
	inner := New(UnknownTopic, "no such topic")
	for _, c := range []struct {
		err  error
		want Code
	}{
		{inner, UnknownTopic},
		{fmt.Errorf("describe: %w", inner), UnknownTopic},
		{errors.Join(errors.New("a"), inner), UnknownTopic},
		{context.DeadlineExceeded, Unavailable},
		{fmt.Errorf("read: %w", context.Canceled), Unavailable},
		{errors.New("a surprise with a secret in it"), Internal},
	} {
		got := From(c.err)
		if got.Code != c.want || !errors.Is(got, c.err) && got.Code != UnknownTopic {
			t.Errorf("%v: got %v", c.err, got)
		}
	}
	if From(nil) != nil {
		t.Error("no error has a fault")
	}
	if got := From(errors.New("a surprise with a secret in it")).Message; got != "Internal Server Error" {
		t.Errorf("a client is told %q", got)
	}
}

func TestEveryCodeHasItsOwnName(t *testing.T) {
	t.Parallel()
	seen := map[string]Code{}
	for _, code := range Codes() {
		if earlier, found := seen[code.String()]; found || code.String() == "" {
			t.Errorf("codes %d and %d are both called %q", earlier, code, code)
		}
		seen[code.String()] = code
	}
}
