package rawjson

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

func TestKnown(t *testing.T) {
	t.Parallel()
	limits := Limits{Depth: 10, NumberLength: 20}
	long := `{"a":"` + strings.Repeat("x", 2*leastKnown) + `"}`
	for _, texts := range []int{0, 1, 64} {
		k := NewKnown(limits, texts)
		for range 3 {
			for _, text := range []string{`1`, long, long + " ", `[` + long + `]`} {
				if err := k.Check([]byte(text)); err != nil {
					t.Errorf("%d: %.20s: %v", texts, text, err)
				}
			}
			for _, text := range []string{``, `{`, long[:len(long)-1], long + `,`, strings.Repeat("[", 20) + long + strings.Repeat("]", 20), strings.Replace(long, "x", "\xff", 1)} {
				if err := k.Check([]byte(text)); err == nil {
					t.Errorf("%d: %.20s: taken for JSON", texts, text)
				}
			}
		}
	}
}

// Whatever was checked before, and by whom, the verdict is Check's.
func TestKnownIsOfOneMindWithCheck(t *testing.T) {
	t.Parallel()
	limits := Limits{Depth: 10, NumberLength: 20}
	k := NewKnown(limits, 16)
	var running sync.WaitGroup
	for worker := range 4 {
		running.Go(func() {
			for i := range 5000 {
				text := fmt.Appendf(nil, `{"n":%d,"p":"%s"}`, (i*7+worker)%50, strings.Repeat("y", leastKnown))
				if i%3 == 0 {
					text[len(text)-1] = ']'
				}
				if got, want := k.Check(text) == nil, Check(text, limits) == nil; got != want {
					t.Errorf("%s: %t, want %t", text, got, want)
					return
				}
			}
		})
	}
	running.Wait()
}

func BenchmarkKnown(b *testing.B) {
	text := []byte(`{"a":"` + strings.Repeat(`some words and \"quotes\", `, 38) + `"}`)
	for name, texts := range map[string]int{"each time": 0, "known": 1024} {
		b.Run(name, func(b *testing.B) {
			k := NewKnown(Limits{Depth: 10, NumberLength: 20}, texts)
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if err := k.Check(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
