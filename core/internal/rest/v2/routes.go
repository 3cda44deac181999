// Package v2 is the data plane of the REST Proxy's v2 API: metadata, produce and consumer instances. Its answers are those that
// existing clients parse – field for field, null for null – and what is better than that has to be asked for.
//
// routes.go is the index: each route names the file's function that binds and serves it. produce.go and records.go are the hot paths.
package v2

import (
	"net/http"
	"slices"
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
	routes := []*rest.Route{
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
		readRoute("weir.v2.partitions", "read", "/topics/{topic}/partitions/{partition}/records", append(slices.Clone(embedded[:2]), rest.KafkaV2JSON), bindReadPartition),
	}
	return append(routes, consumerRoutes()...)
}

// consumerRoutes are those about consumer instances. They take and give the embedded types too, for clients that send the type of
// their records with everything.
func consumerRoutes() []*rest.Route {
	const group, instance = "/consumers/{group}", "/consumers/{group}/instances/{instance}"
	types := append(slices.Clone(v2JSON), embedded...)
	route := func(id, method, pattern string, action rest.Action, bind func(*rest.Request) (rest.Operation, rest.Serve, error)) *rest.Route {
		r := &rest.Route{ID: "api.v2.consumers." + id, Method: method, Pattern: pattern, API: api, Action: action, Produces: types, Bind: bind}
		if method == http.MethodPost || id == "get-committed-offsets" {
			r.Consumes = types
		}
		return r
	}
	return []*rest.Route{
		route("create", http.MethodPost, group, rest.Read, bindCreateInstance),
		route("delete", http.MethodDelete, instance, rest.Read, bindDeleteInstance),
		route("subscribe", http.MethodPost, instance+"/subscription", rest.Read, bindSubscribe),
		route("get-subscription", http.MethodGet, instance+"/subscription", rest.Describe, bindGetSubscription),
		route("unsubscribe", http.MethodDelete, instance+"/subscription", rest.Read, bindUnsubscribe),
		route("assign", http.MethodPost, instance+"/assignments", rest.Read, bindAssign),
		route("get-assignments", http.MethodGet, instance+"/assignments", rest.Describe, bindGetAssignments),
		readRoute("api.v2.consumers", "consume", instance+"/records", append(slices.Clone(embedded), rest.KafkaV2JSON), BindConsume),
		route("commit-offsets", http.MethodPost, instance+"/offsets", rest.Read, bindCommit),
		route("get-committed-offsets", http.MethodGet, instance+"/offsets", rest.Describe, bindCommitted),
		route("seek-to-offset", http.MethodPost, instance+"/positions", rest.Read, bindSeek),
		route("seek-to-beginning", http.MethodPost, instance+"/positions/beginning", rest.Read, bindSeekToBeginning),
		route("seek-to-end", http.MethodPost, instance+"/positions/end", rest.Read, bindSeekToEnd),
	}
}

// readRoute has one operation for each format that it can answer in.
func readRoute(family, verb, pattern string, types []rest.MediaType, bind func(*rest.Request) (rest.Operation, rest.Serve, error)) *rest.Route {
	route := &rest.Route{ID: family + "." + verb, Method: http.MethodGet, Pattern: pattern, API: api, Action: rest.Read, Produces: types, Waits: true, Bind: bind}
	ids := map[rest.MediaType]string{rest.KafkaV2JSON: family + "." + verb + "-binary"}
	for _, mediaType := range types {
		if mediaType != rest.KafkaV2JSON {
			ids[mediaType] = family + "." + verb + "-" + formatName(mediaType)
			route.Variants = append(route.Variants, ids[mediaType])
		}
	}
	route.IdentifyAnswer = func(answer rest.MediaType) string { return ids[answer] }
	return route
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
