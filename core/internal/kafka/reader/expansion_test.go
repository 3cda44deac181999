package reader

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-gateway/weir/core/internal/embedded"
	"github.com/weir-gateway/weir/core/internal/record"
)

// What is bounded is memory, not the log: a topic whose records take forty times their place in the log is asked for a fortieth.
func TestCompressedTopicsTakeNoMoreMemoryThanWasAsked(t *testing.T) {
	t.Parallel()
	const partitions, batches, batch, size = 4, 20, 64, 1024
	r := newRig(t, embedded.Options{Topics: []embedded.Topic{{Name: "a", Partitions: partitions}}}, consumeSettings())
	p := newProducer(t, r.broker.Addresses(), kgo.ProducerBatchCompression(kgo.ZstdCompression()))
	var positions []record.Position
	for partition := range int32(partitions) {
		all := values("a", partition, batches*batch, size)
		for i := 0; i < len(all); i += batch {
			produce(t, p, all[i:i+batch]...)
		}
		positions = append(positions, position("a", partition, 0))
	}
	const asked = 512 << 10
	got := 0
	for call := 0; got < partitions*batches*batch; call++ {
		results, release, err := r.reader.Fetch(t.Context(), positions, Options{MaxBytes: asked})
		if err != nil {
			t.Fatal(err)
		}
		held := r.reader.Buffered()
		release()
		for i := range results {
			got += len(results[i].Records)
			positions[i].Offset = results[i].End
		}
		if most := int64(asked + 2*batch*(size+200)); call > 0 && held > most { // one batch comes whatever its size, and one by itself
			t.Errorf("call %d holds %d bytes, want at most %d", call, held, most)
		}
		if call > partitions*batches*batch {
			t.Fatalf("%d records after %d calls", got, call)
		}
	}
	if e, known := r.reader.expansions.of("a"); !known || e.factor < 5 || e.batch < batch*size {
		t.Errorf("%+v, known %t", e, known)
	}
}

func TestExpansionsAreBounded(t *testing.T) {
	t.Parallel()
	var e expansions
	for i := range 3 * mostExpansions {
		e.note(fmt.Sprint(i), 1, 2, 2)
	}
	if len(e.topics) > mostExpansions {
		t.Errorf("%d topics are remembered", len(e.topics))
	}
	e.note("a", 100, 1000, 800)
	e.note("a", 100, 100, 400) // falls slowly
	if known, _ := e.of("a"); known.factor < 7 || known.factor > 8 || known.batch != 700 {
		t.Errorf("%+v", known)
	}
	e.note("a", 100, 4000, 900)
	if known, _ := e.of("a"); known.factor != 40 || known.batch != 900 {
		t.Errorf("%+v", known)
	}
	e.note("a", 0, 0, 0)
	if none, known := e.of("b"); none.factor != 1 || known {
		t.Errorf("%+v of a topic that was never read", none)
	}
}
