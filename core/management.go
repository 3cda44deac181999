package core

import (
	"net/http"
	"sync/atomic"

	"github.com/go-json-experiment/json"
)

// state is whether the gateway wants requests.
type state struct{ draining atomic.Bool }

func (s *state) drain() { s.draining.Store(true) }

// Check is one thing that must be right for the gateway to be of use.
type Check struct {
	Name   string `json:"name"`
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitempty"`
}

// Readiness is whether the gateway can serve, and if not, why.
type Readiness struct {
	Ready  bool    `json:"ready"`
	Checks []Check `json:"checks"`
}

// Ready says whether the gateway can serve: it is not shutting down, and every cluster has answered. It asks nobody; the
// clusters' own connections keep their state current.
func (c *Core) Ready() Readiness {
	draining := c.state.draining.Load()
	readiness := Readiness{Ready: !draining}
	shutdown := Check{Name: "accepting", Ready: !draining}
	if draining {
		shutdown.Reason = "the gateway is shutting down"
	}
	readiness.Checks = append(readiness.Checks, shutdown)
	for _, part := range c.clusters {
		check := Check{Name: "cluster " + part.name, Ready: true}
		if err := part.ready(); err != nil {
			check.Ready, check.Reason = false, err.Error()
			readiness.Ready = false
		}
		readiness.Checks = append(readiness.Checks, check)
	}
	return readiness
}

// Management serves operators: /livez (the process answers), /readyz (200 or 503, with the reasons as JSON), /metrics
// (Prometheus). It belongs on a listener that clients cannot reach.
func (c *Core) Management() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Write([]byte("ok\n")) //nolint:errcheck // the prober has gone
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		readiness := c.Ready()
		body, err := json.Marshal(readiness)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if !readiness.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		w.Write(append(body, '\n')) //nolint:errcheck // the prober has gone
	})
	mux.Handle("GET /metrics", c.metrics.Handler())
	return mux
}
