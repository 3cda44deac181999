package rest

import (
	"context"
	"net/http"
	"strconv"
)

// OpenAPIRoute serves the API's own description.
func OpenAPIRoute(document []byte) *Route {
	return &Route{
		ID: "weir.openapi.get", Method: http.MethodGet, Pattern: "/openapi.yaml", API: &API{Name: "weir", ErrorType: ApplicationJSON}, Action: Describe,
		Produces: []MediaType{"application/yaml", "text/yaml", "text/plain"},
		Bind: func(r *Request) (Operation, Serve, error) {
			return Operation{}, func(_ context.Context, w http.ResponseWriter, _ *Grant) error {
				w.Header().Set("Content-Type", string(r.Answer))
				w.Header().Set("Content-Length", strconv.Itoa(len(document)))
				w.Write(document) //nolint:errcheck // the client has gone; the access log shows it
				return nil
			}, nil
		},
	}
}
