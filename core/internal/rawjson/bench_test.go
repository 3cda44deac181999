package rawjson

import (
	"fmt"
	"strings"
	"testing"
)

// order is a JSON text of about a kilobyte with what makes the work: nesting, short strings, escapes, numbers.
func order(i int) string {
	item := `{"sku":"W-%06d","quantity":%d,"price":%d.95,"note":"size \/ colour: %d\\7","tags":["a%d","b%d"]},`
	var items strings.Builder
	for j := range 8 {
		fmt.Fprintf(&items, item, i*31+j, j, i+j, j, j, i)
	}
	return fmt.Sprintf(`{"id":"ord-%08d","express":true,"coupon":null,"customer":{"id":%d,"name":"Zo\u00eb \"Z.\" Müller","geo":[52.517037,13.388860]},"items":[%s],"total":%d.50}`,
		i, i*7919, strings.TrimSuffix(items.String(), ","), i)
}

func body(records int) []byte {
	values := make([]string, records)
	for i := range values {
		values[i] = `{"value":` + order(i) + `}`
	}
	return []byte(`{"records":[` + strings.Join(values, ",") + `]}`)
}

func BenchmarkCheck(b *testing.B) {
	for _, records := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(records), func(b *testing.B) {
			text := body(records)
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if err := Check(text, Limits{Depth: 1000, NumberLength: 1000}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkWalk is what the v2 API does with a body that was checked.
func BenchmarkWalk(b *testing.B) {
	text := body(100)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		for _, array := range Members(text) {
			for element := range Elements(array) {
				for _, value := range Members(element) {
					Compact(value)
				}
			}
		}
	}
}

// BenchmarkCursor is what the v2 API does with a body: checking and taking at once.
func BenchmarkCursor(b *testing.B) {
	text := body(100)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		c := NewCursor(text, Limits{Depth: 1000, NumberLength: 1000})
		for range c.Members() {
			for range c.Elements() {
				for range c.Members() {
					c.Value()
				}
			}
		}
		if err := c.End(); err != nil {
			b.Fatal(err)
		}
	}
}
