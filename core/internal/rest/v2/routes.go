// Package v2 is the data plane of the REST Proxy's v2 API: metadata and produce. Its answers are those that existing clients
// parse – field for field, null for null – and what is better than that is offered through Prefer only.
//
// routes.go is the index: each route names the file's function that binds and serves it. produce.go is the hot path.
package v2

import (
	"net/http"
	"strings"

	"github.com/weir-gateway/weir/core/internal/rest"
)

var api = &rest.API{Name: "v2", ErrorType: rest.KafkaV2JSON}

// v2JSON is what every route but produce takes and gives.
var v2JSON = []rest.MediaType{rest.KafkaV2JSON}

// embedded are the media types of produce, the one that stands for a missing Content-Type first.
var embedded = []rest.MediaType{
	"application/vnd.kafka.binary.v2+json", "application/vnd.kafka.json.v2+json", "application/vnd.kafka.avro.v2+json",
	"application/vnd.kafka.jsonschema.v2+json", "application/vnd.kafka.protobuf.v2+json",
}

// Routes gives the API's routes.
func Routes() []*rest.Route {
	describe := func(id, pattern string, bind func(*rest.Request) (rest.Operation, rest.Serve, error)) *rest.Route {
		return &rest.Route{ID: id, Method: http.MethodGet, Pattern: pattern, API: api, Action: rest.Describe, Produces: v2JSON, Bind: bind}
	}
	return []*rest.Route{
		describe("api.v2.root.get", "/{$}", bindRoot),
		{ID: "api.v2.root.post", Method: http.MethodPost, Pattern: "/{$}", API: api, Action: rest.Describe, Consumes: v2JSON, Produces: v2JSON, Bind: bindRootPost},
		describe("api.v2.brokers.list", "/brokers", bindBrokers),
		describe("api.v2.topics.list", "/topics", bindTopics),
		describe("api.v2.topics.get", "/topics/{topic}", bindTopic),
		describe("api.v2.partitions.list", "/topics/{topic}/partitions", bindPartitions),
		describe("api.v2.partitions.get", "/topics/{topic}/partitions/{partition}", bindPartition),
		describe("api.v2.partitions.get-offsets", "/topics/{topic}/partitions/{partition}/offsets", bindOffsets),
		produceRoute("api.v2.produce-to-topic", "/topics/{topic}", bindProduceToTopic),
		produceRoute("api.v2.produce-to-partition", "/topics/{topic}/partitions/{partition}", bindProduceToPartition),
	}
}

// produceRoute has one operation for each format, so that an operator can close, say, binary alone.
func produceRoute(family, pattern string, bind func(*rest.Request) (rest.Operation, rest.Serve, error)) *rest.Route {
	route := &rest.Route{ID: family, Method: http.MethodPost, Pattern: pattern, API: api, Action: rest.Write, Consumes: embedded, Produces: v2JSON, Bind: bind}
	ids := map[rest.MediaType]string{}
	for _, mediaType := range embedded {
		ids[mediaType] = family + "." + formatName(mediaType)
		route.Variants = append(route.Variants, ids[mediaType])
	}
	route.Identify = func(contentType rest.ContentType) string { return ids[contentType.Type] }
	return route
}

// formatName gives the format's name in operation ids, "json-schema" for application/vnd.kafka.jsonschema.v2+json.
func formatName(mediaType rest.MediaType) string {
	name := strings.TrimSuffix(strings.TrimPrefix(string(mediaType), "application/vnd.kafka."), ".v2+json")
	if name == "jsonschema" {
		return "json-schema"
	}
	return name
}
