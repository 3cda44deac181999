package producer

import (
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestMurmur2 holds the partitioner to what Kafka's Java client gave for the same keys.
func TestMurmur2(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/murmur2.txt")
	if err != nil {
		t.Fatal(err)
	}
	vectors := 0
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		var text string
		var hash, of1, of8, of17, of1000 int32
		if _, err := fmt.Sscan(line, &text, &hash, &of1, &of8, &of17, &of1000); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		key, err := hex.DecodeString(strings.Trim(text, "-"))
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		vectors++
		if got := murmur2(key); got != hash {
			t.Errorf("murmur2(%s) = %d, want %d", text, got, hash)
		}
		for partitions, want := range map[int]int32{1: of1, 8: of8, 17: of17, 1000: of1000} {
			if got := partitionForKey(key, partitions); got != want {
				t.Errorf("partition of %s among %d = %d, want %d", text, partitions, got, want)
			}
		}
	}
	if vectors < 19 {
		t.Errorf("only %d vectors", vectors)
	}
}
