// Package v1 is the dialect of the REST Proxy's first API, which clients written before 2016 still speak – the npm client kafka-rest
// is one. It is thin: nearly everything is a v2 operation under an older media type, so the v2 routes are taught the types, and only
// two routes are its own: reading a topic with an instance (which subscribes it), and reading messages of a partition.
//
// Operations keep their v2 names, so that whatever is allowed, blocked or decided about them holds in both dialects.
package v1

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/format"
	"github.com/weir-gateway/weir/core/internal/kafka"
	"github.com/weir-gateway/weir/core/internal/rest"
	"github.com/weir-gateway/weir/core/internal/rest/v2"
)

const (
	v1JSON   rest.MediaType = "application/vnd.kafka.v1+json"
	v1Binary rest.MediaType = "application/vnd.kafka.binary.v1+json"
)

var api = &rest.API{Name: "v1", ErrorType: v1JSON}

// older gives the v1 name of a v2 media type.
func older(mediaType rest.MediaType) rest.MediaType {
	return rest.MediaType(strings.TrimSuffix(string(mediaType), ".v2+json") + ".v1+json")
}

// newer gives the v2 name of a v1 media type, and whether it is one. The type that names no format means binary where records are sent.
func newer(mediaType rest.MediaType) (rest.MediaType, bool) {
	name, found := strings.CutSuffix(string(mediaType), ".v1+json")
	return rest.MediaType(name + ".v2+json"), found
}

// Extend teaches v2's routes the dialect and adds its own.
func Extend(routes []*rest.Route) []*rest.Route {
	for _, route := range routes {
		extend(route)
	}
	return append(routes,
		readRoute("weir.v1.consumers.consume", "api.v2.consumers.consume", "/consumers/{group}/instances/{instance}/topics/{topic}", bindConsumeTopic),
		readRoute("weir.v1.partitions.messages", "weir.v2.partitions.read", "/topics/{topic}/partitions/{partition}/messages", bindMessages))
}

// readRoute is a route of the dialect's own. Its operations are v2's, so that whoever may not do that may not do this.
func readRoute(id, family, pattern string, bind bind) *rest.Route {
	ids := map[rest.MediaType]string{v1JSON: family + "-binary"}
	route := &rest.Route{ID: id, Method: http.MethodGet, Pattern: pattern, API: api, Action: rest.Read, Waits: true, Bind: translated(bind)}
	for _, name := range []string{"binary", "json"} {
		mediaType := rest.MediaType("application/vnd.kafka." + name + ".v1+json")
		ids[mediaType] = family + "-" + name
		route.Variants = append(route.Variants, ids[mediaType])
		route.Produces = append(route.Produces, mediaType)
	}
	route.Produces = append(route.Produces, v1JSON)
	route.IdentifyAnswer = func(answer rest.MediaType) string { return ids[answer] }
	return route
}

func extend(route *rest.Route) {
	produces := len(route.Variants) > 0 && len(route.Consumes) > 0
	route.Consumes, route.Produces = withOlder(route.Consumes), withOlder(route.Produces)
	if produces {
		route.Consumes = append(route.Consumes, v1JSON)
	}
	if identify := route.Identify; identify != nil {
		route.Identify = func(contentType rest.ContentType) string {
			contentType.Type = records(contentType.Type)
			return identify(contentType)
		}
	}
	if identify := route.IdentifyAnswer; identify != nil {
		route.IdentifyAnswer = func(answer rest.MediaType) string {
			if translated, found := newer(answer); found {
				answer = translated
			}
			return identify(answer)
		}
	}
	route.Bind = translated(route.Bind)
}

// withOlder adds the v1 names of media types. Routes share their lists, so it makes new ones.
func withOlder(mediaTypes []rest.MediaType) []rest.MediaType {
	both := make([]rest.MediaType, 0, 2*len(mediaTypes)+1)
	both = append(both, mediaTypes...)
	for _, mediaType := range mediaTypes {
		both = append(both, older(mediaType))
	}
	return both
}

// records is newer for the type of a body of records.
func records(mediaType rest.MediaType) rest.MediaType {
	if mediaType == v1JSON {
		mediaType = v1Binary
	}
	if translated, found := newer(mediaType); found {
		return translated
	}
	return mediaType
}

type bind = func(*rest.Request) (rest.Operation, rest.Serve, error)

// translated lets a v2 route believe that it serves v2, and puts the type that was asked for on its answer.
func translated(inner bind) bind {
	return func(r *rest.Request) (rest.Operation, rest.Serve, error) {
		asked := r.Answer
		answer, old := newer(asked)
		if _, sent := newer(r.ContentType.Type); sent {
			r.Older = true
			r.ContentType.Type = records(r.ContentType.Type)
		}
		if !old {
			return inner(r)
		}
		r.Older, r.Answer = true, answer
		operation, serve, err := inner(r)
		if err != nil {
			return operation, nil, err
		}
		return operation, func(ctx context.Context, w http.ResponseWriter, grant *rest.Grant) error {
			return serve(ctx, &retyped{ResponseWriter: w, from: answer, to: asked}, grant)
		}, nil
	}
}

// retyped writes an answer under its v1 type.
type retyped struct {
	http.ResponseWriter
	from, to rest.MediaType
	done     bool
}

func (w *retyped) WriteHeader(status int) {
	w.retype()
	w.ResponseWriter.WriteHeader(status)
}

func (w *retyped) Write(p []byte) (int, error) {
	w.retype()
	return w.ResponseWriter.Write(p)
}

func (w *retyped) retype() {
	if !w.done && w.Header().Get("Content-Type") == string(w.from) {
		w.Header().Set("Content-Type", string(w.to))
	}
	w.done = true
}

// Unwrap lets http.ResponseController reach the connection's own writer.
func (w *retyped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// bindConsumeTopic reads a topic with an instance. The first read subscribes it; an instance reads one topic.
func bindConsumeTopic(r *rest.Request) (rest.Operation, rest.Serve, error) {
	topic := r.PathValue("topic")
	if !kafka.ValidTopicName(topic) {
		return rest.Operation{}, nil, rest.UnknownTopic()
	}
	if !r.Offers("api.v2.consumers.subscribe") { // the first read subscribes
		return rest.Operation{}, nil, fault.New(fault.NotFound, "HTTP 404 Not Found")
	}
	operation, serve, err := v2.BindConsume(r)
	if err != nil {
		return operation, nil, err
	}
	operation.Resources = append(operation.Resources, rest.Resource{Type: "topic", Name: topic})
	return operation, func(ctx context.Context, w http.ResponseWriter, grant *rest.Grant) error {
		cluster, err := grant.Cluster()
		if err != nil {
			return err
		}
		if _, err := cluster.Topic(ctx, topic, v2.AnyTopic); err != nil {
			return err
		}
		instance, err := grant.Instance(cluster, r.PathValue("group"), r.PathValue("instance"))
		if err != nil {
			return err
		}
		switch subscribed := instance.Subscription(); {
		case len(subscribed) == 0:
			err = instance.Subscribe([]string{topic})
		case len(subscribed) > 1 || subscribed[0] != topic:
			err = fault.New(fault.IllegalState, "Illegal state: the consumer has already subscribed to another topic.")
		}
		if err != nil {
			return err
		}
		return serve(ctx, w, grant)
	}, nil
}

// mostMessages is the most messages of one answer.
const mostMessages = 10_000

// bindMessages reads count messages (1) of a partition from an offset, which must be given.
func bindMessages(r *rest.Request) (rest.Operation, rest.Serve, error) {
	query, err := r.Query()
	if err != nil {
		return rest.Operation{}, nil, err
	}
	count := int64(1)
	if text := query.Get("count"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 1 || n > mostMessages {
			return rest.Operation{}, nil, fault.Newf(fault.InvalidRequest, "Bad Request: count=%s is not a number from 1 to %d.", format.Excerpt([]byte(text)), mostMessages)
		}
		count = n
	}
	if query.Get("offset") == "" {
		return rest.Operation{}, nil, fault.New(fault.InvalidRequest, "Bad Request: offset is required.")
	}
	return v2.BindReadMessages(r, int(count))
}
