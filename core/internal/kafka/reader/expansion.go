package reader

import "sync"

// expansions remembers by how much a topic's records take more memory than they do in the log, since they are compressed there, and
// small ones weigh less than what is known about them. A broker is asked in bytes of the log; what is bounded is memory.
type expansions struct {
	mu     sync.Mutex
	topics map[string]expansion
}

// expansion is what is known of a topic.
type expansion struct {
	factor float64 // at least 1
	batch  int64   // bytes of memory that its batches take, of the large ones: less does not come, whatever is asked
}

const (
	mostExpansions = 4096 // topics; beyond it all are learnt anew
	// firstLook is the most to ask for of a topic whose expansion is not known yet. A batch comes whatever its size.
	firstLook = 128 << 10
)

// of gives what is known of a topic.
func (e *expansions) of(topic string) (known expansion, found bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	known, found = e.topics[topic]
	known.factor = max(1, known.factor)
	return known, found
}

// note takes what a whole answer showed: how many bytes it was, how many it became in memory, and the largest of its batches there. It
// follows what grows at once and what shrinks slowly, since asking for too much is what costs.
func (e *expansions) note(topic string, logged int, memory, batch int64) {
	if logged <= 0 || memory <= 0 {
		return
	}
	measured := expansion{factor: float64(memory) / float64(logged), batch: batch}
	e.mu.Lock()
	defer e.mu.Unlock()
	before, known := e.topics[topic]
	switch {
	case !known && (e.topics == nil || len(e.topics) >= mostExpansions):
		e.topics = map[string]expansion{}
	case known:
		if measured.factor < before.factor {
			measured.factor = 0.75*before.factor + 0.25*measured.factor
		}
		if batch < before.batch {
			measured.batch = before.batch - (before.batch-batch)/4
		}
	}
	e.topics[topic] = measured
}
