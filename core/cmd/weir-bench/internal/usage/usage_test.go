//go:build linux

package usage

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	t.Parallel()
	line := "4242 (a (strange) name) S 17 4242 4242 0 -1 4194560 900 0 0 0 150 50 7 8 20 0 9 0 12345 1000000 500 " + strings.Repeat("0 ", 20)
	got, err := parseStat([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	if want := (stat{pid: 4242, parent: 17, cpu: 2 * time.Second}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, bad := range []string{"", "1 (x) S 1", "x (y) S 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "1 x S 1"} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q: got no error", bad)
		}
	}
}

func TestReadSeesThisProcessWork(t *testing.T) {
	t.Parallel()
	before, err := Read(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		for range 1_000_000 {
			_ = strings.Repeat("x", 1)
		}
		after, err := Read(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		used := after.Since(before)
		if used.Process >= 5*tick {
			// The two are read one after the other, and the process works on meanwhile.
			if (used.Generator-used.Process).Abs() > 20*tick || used.Ours <= 0 || used.Strangers < 0 {
				t.Errorf("used %+v: this process is the measured one, the generator and all of ours", used)
			}
			return
		}
	}
	t.Error("no CPU time was seen in ten seconds of work")
}

func TestReadOfNobody(t *testing.T) {
	t.Parallel()
	if _, err := Read(1 << 30); err == nil {
		t.Error("got no error")
	}
	if _, _, err := Memory(1 << 30); err == nil {
		t.Error("got no error")
	}
}

func TestMemory(t *testing.T) {
	t.Parallel()
	now, peak, err := Memory(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if now < 1<<20 || peak < now/2 {
		t.Errorf("got %d bytes now, %d at the peak", now, peak)
	}
}
