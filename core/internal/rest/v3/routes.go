// Package v3 is the REST Proxy's v3 API: clusters, topics, producing records one by one on a stream or a few at once in a
// batch, and reading a partition from an offset. Every route is served under /v3 and under /kafka/v3, because clients of Confluent's server and cloud expect the
// second and clients of its standalone proxy the first.
//
// routes.go is the index; stream.go is the full-duplex record stream, record.go what a record looks like, envelope.go the
// shape that all resources share.
package v3

import (
	"net/http"

	"github.com/weir-gateway/weir/core/internal/rest"
)

var api = &rest.API{Name: "v3", ErrorType: rest.ApplicationJSON}

var jsonOnly = []rest.MediaType{rest.ApplicationJSON}

type bind = func(*rest.Request) (rest.Operation, rest.Serve, error)

// Routes gives the API's routes.
func Routes() []*rest.Route {
	route := func(id, method, pattern string, action rest.Action, b bind) *rest.Route {
		r := &rest.Route{ID: id, Method: method, Pattern: "/v3" + pattern, Aliases: []string{"/kafka/v3" + pattern}, API: api, Action: action, Produces: jsonOnly, Bind: b}
		if method == http.MethodPost {
			r.Consumes = jsonOnly
		}
		return r
	}
	records := route("api.v3.produce.produce-to-topic", http.MethodPost, "/clusters/{cluster}/topics/{topic}/records", rest.Write, bindRecords)
	records.Stream = true
	read := route("weir.v3.partitions.read", http.MethodGet, "/clusters/{cluster}/topics/{topic}/partitions/{partition}/records", rest.Read, bindReadPartition)
	read.Waits = true
	return []*rest.Route{
		route("api.v3.clusters.list", http.MethodGet, "/clusters", rest.Describe, bindListClusters),
		route("api.v3.clusters.get", http.MethodGet, "/clusters/{cluster}", rest.Describe, bindGetCluster),
		route("api.v3.topics.list", http.MethodGet, "/clusters/{cluster}/topics", rest.Describe, bindListTopics),
		route("api.v3.topics.create", http.MethodPost, "/clusters/{cluster}/topics", rest.Create, bindCreateTopic),
		route("api.v3.topics.get", http.MethodGet, "/clusters/{cluster}/topics/{topic}", rest.Describe, bindGetTopic),
		route("api.v3.topics.delete", http.MethodDelete, "/clusters/{cluster}/topics/{topic}", rest.Delete, bindDeleteTopic),
		records,
		read,
		route("api.v3.batch-produce.produce-to-topic", http.MethodPost, "/clusters/{cluster}/topics/{topic}/records:batch", rest.Write, bindBatch),
	}
}
