package rest

import (
	"context"
	"net/http"
)

// Action is what an operation does to its resource, for policy.
type Action string

// The actions.
const (
	Read     Action = "read"     // records out of a topic
	Write    Action = "write"    // records into a topic
	Describe Action = "describe" // metadata
	Create   Action = "create"
	Delete   Action = "delete"
)

// Resource is one thing that an operation touches. Type is "cluster", "topic" or "group".
type Resource struct{ Type, Name string }

// Operation is what policy decides about: exactly what will run, made from the same parsed request that the handler uses.
type Operation struct {
	ID        string // Confluent's name of the operation, or weir.…
	Action    Action
	Cluster   string // the cluster id of the path; empty: the default cluster
	Resources []Resource
	Records   int // of a request whose records are known before it is served
}

// Serve does the work of a request that was bound, using nothing of Kafka but what grant gives. Before its first write to w
// it may return any error; after that, only one that the stream itself cannot carry.
type Serve func(ctx context.Context, w http.ResponseWriter, grant *Grant) error

// Route is one operation of one API.
type Route struct {
	// ID is the operation's id. Identify may refine it by the body's type (v2 produce has one for each format); it then gives an id
	// that is in Variants.
	ID       string
	Variants []string
	Identify func(ContentType) string
	// IdentifyAnswer is Identify for routes whose variants are told apart by the answer's type (v2's reading of records).
	IdentifyAnswer func(MediaType) string
	Method         string
	// Pattern is an http.ServeMux path pattern without a method. One with {group} and {instance} is about a consumer instance: a request
	// whose instance is on another node is passed on before anything else is looked at, and policy and quota are asked where it is served.
	// PathValue("instance") is then the instance's name, without the hint that links carry.
	Pattern string
	// Aliases are further patterns under which the same route is served.
	Aliases []string
	API     *API
	Action  Action
	// Consumes are the request media types; none: the body's type is not looked at. An absent Content-Type is the first.
	Consumes []MediaType
	// Produces are the answer's media types, the preferred first.
	Produces []MediaType
	// Stream routes are not bounded in time or in bytes by the chain; they bound themselves.
	Stream bool
	// Waits routes may wait for records: consume.max_request_timeout comes on top of the chain's bound in time. HEAD is not served on
	// them, since a read moves positions.
	Waits bool
	Bind  func(*Request) (Operation, Serve, error)
}

// Operations gives every operation id that the route serves.
func (r *Route) Operations() []string {
	if len(r.Variants) > 0 {
		return r.Variants
	}
	return []string{r.ID}
}

// API is what the routes of one API share.
type API struct {
	// Name is v1, v2, v3 or weir; none for what reaches no route.
	Name string
	// ErrorType is the media type of errors for which nothing was negotiated.
	ErrorType MediaType
}
