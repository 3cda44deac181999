package reader

import "sync"

// expansions remembers by how much a topic's records take more memory than they do in the log, since they are compressed there, and
// small ones weigh less than what is known about them. A broker is asked in bytes of the log; what is bounded is memory.
type expansions struct {
	mu     sync.Mutex
	topics map[string]float64
}

const (
	mostExpansions = 4096 // topics; beyond it all are learnt anew
	// firstLook is the most to ask for of a topic whose expansion is not known yet. A batch comes whatever its size.
	firstLook = 128 << 10
)

// of gives a topic's factor, at least 1.
func (e *expansions) of(topic string) (factor float64, known bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	factor, known = e.topics[topic]
	return max(1, factor), known
}

// note takes what an answer showed. It follows a growing factor at once and a shrinking one slowly, since asking for too much is what
// costs.
func (e *expansions) note(topic string, logged int, held int64) {
	if logged <= 0 || held <= 0 {
		return
	}
	measured := float64(held) / float64(logged)
	e.mu.Lock()
	defer e.mu.Unlock()
	before, known := e.topics[topic]
	switch {
	case !known && (e.topics == nil || len(e.topics) >= mostExpansions):
		e.topics = map[string]float64{}
	case known && measured < before:
		measured = 0.75*before + 0.25*measured
	}
	e.topics[topic] = measured
}
