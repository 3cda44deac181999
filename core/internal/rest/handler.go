package rest

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"path"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/weir-gateway/weir/core/config"
	"github.com/weir-gateway/weir/core/identity"
	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/rawjson"
	"github.com/weir-gateway/weir/core/internal/record"
	"github.com/weir-gateway/weir/core/internal/telemetry"
)

// Handler is the chain. It is made once from the route table and is safe for concurrent use.
type Handler struct {
	settings *config.Config
	clusters []*Cluster
	logger   *slog.Logger
	access   *telemetry.AccessLog
	metrics  *telemetry.Metrics
	mux      *http.ServeMux
	links    links
	peers    Peers
	bodies   budget
	known    *rawjson.Known
	inFlight atomic.Int64
	draining context.Context
	drain    context.CancelFunc
	unrouted *telemetry.Operation // counts what reached no route
}

// Dependencies are what a Handler is built on.
type Dependencies struct {
	Clusters []*Cluster // the first is the default
	Routes   []*Route
	Logger   *slog.Logger
	Metrics  *telemetry.Metrics
	Peers    Peers // nil: the gateway is alone
}

// NewHandler builds the chain over the route table.
func NewHandler(settings *config.Config, d Dependencies) *Handler {
	h := &Handler{settings: settings, clusters: d.Clusters, logger: d.Logger, access: telemetry.NewAccessLog(d.Logger), metrics: d.Metrics, mux: http.NewServeMux(), links: newLinks(settings.API), peers: d.Peers,
		unrouted: d.Metrics.Operation("none")}
	h.draining, h.drain = context.WithCancel(context.Background())
	h.bodies.max = settings.Limits.BufferedBytes
	if h.bodies.max == 0 {
		h.bodies.max = config.DefaultBuffer()
	}
	h.known = rawjson.NewKnown(rawjson.Limits{Depth: settings.JSON.Depth, NumberLength: settings.JSON.NumberLength}, knownTexts)
	access := access{allow: settings.API.Allowlist, block: settings.API.Blocklist}
	endpoints := map[string]*endpoint{}
	for _, route := range d.Routes {
		for _, pattern := range append([]string{route.Pattern}, route.Aliases...) {
			e := endpoints[pattern]
			if e == nil {
				e = &endpoint{handler: h, api: route.API, routes: map[string]*served{}, blocked: map[string]bool{}}
				endpoints[pattern] = e
				h.mux.Handle(pattern, e)
			}
			e.add(route, access, d.Metrics)
		}
	}
	h.mux.Handle("/", &endpoint{handler: h, api: &API{Name: "none", ErrorType: ApplicationJSON}})
	d.Metrics.Gauge("weir_in_flight_requests", "Requests being served.", nil, func() float64 { return float64(h.inFlight.Load()) })
	d.Metrics.Gauge("weir_request_buffer_bytes", "Bytes of request bodies held.", nil, func() float64 { return float64(h.bodies.used.Load()) })
	d.Metrics.Gauge("weir_request_buffer_limit_bytes", "Bytes of request bodies that may be held.", nil, func() float64 { return float64(h.bodies.max) })
	return h
}

// knownTexts is how many of the texts that were read last are known to be JSON: a megabyte of memory.
const knownTexts = 1 << 17

// Drain ends what lasts: streams stop reading and finish what they have read, and every further request is its connection's
// last.
func (h *Handler) Drain() { h.drain() }

// Wait waits until no request is being served, or until ctx ends. http.Server.Shutdown does not count a stream that took its
// connection over to end it in order.
func (h *Handler) Wait(ctx context.Context) error {
	tick := time.NewTicker(waitTick)
	defer tick.Stop()
	for h.inFlight.Load() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d requests were still being served: %w", h.inFlight.Load(), ctx.Err())
		}
	}
	return nil
}

// waitTick is how often Wait looks.
const waitTick = 2 * time.Millisecond

// endpoint is one path of the table with the routes of its methods.
type endpoint struct {
	handler *Handler
	api     *API
	routes  map[string]*served // by method; a method that is blocked has none
	blocked map[string]bool
	allow   string
}

// served is a route with its counters.
type served struct {
	*Route
	access  access
	metrics map[string]*telemetry.Operation // by operation id
}

func (e *endpoint) add(route *Route, access access, metrics *telemetry.Metrics) {
	s := &served{Route: route, access: access, metrics: map[string]*telemetry.Operation{}}
	offered := false
	for _, id := range route.Operations() {
		s.metrics[id] = metrics.Operation(id)
		offered = offered || access.offers(id)
	}
	if offered {
		e.routes[route.Method] = s
	} else {
		e.blocked[route.Method] = true
	}
	methods := []string{http.MethodOptions}
	for method := range e.routes {
		methods = append(methods, method)
		if method == http.MethodGet && !e.routes[method].Waits {
			methods = append(methods, http.MethodHead)
		}
	}
	slices.Sort(methods)
	e.allow = strings.Join(methods, ", ")
}

// exchange is the state of one request in the chain.
type exchange struct {
	responseWriter
	tally   tally
	request Request
	started time.Time
	counted *telemetry.Operation
	id      string // operation id, for the log
	answer  MediaType
	failure *fault.Error
}

// ServeHTTP takes a client's request through the chain.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.serve(w, r, nil) }

// serve takes a request through the chain: a client's, or with a call one that a peer passed on.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, call *Call) {
	x := &exchange{started: time.Now(), answer: ApplicationJSON, id: "none"}
	x.ResponseWriter = w
	x.answerWithin = h.settings.Limits.WriteTimeout
	x.tally.metrics = h.metrics
	x.request = Request{Request: r, ID: requestID(r), Principal: identity.Anonymous, Settings: h.settings, bodies: &h.bodies, known: h.known, draining: h.draining, metrics: h.metrics, control: http.NewResponseController(w), passing: passing{peers: h.peers}}
	if call != nil {
		x.request.ID, x.request.Principal, x.request.BaseURL, x.request.from = call.RequestID, call.Principal, call.BaseURL, call.From
		x.request.Request = r.WithContext(r.Context())
		x.request.RemoteAddr = call.RemoteAddr
		r = x.request.Request
	}
	w.Header()["Weir-Request-Id"] = []string{x.request.ID}
	if h.draining.Err() != nil && r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
	inFlight := h.inFlight.Add(1)
	defer h.finish(x)
	if refused := h.refuse(r, inFlight); refused != nil {
		x.fail(refused)
		return
	}
	if target := cleanTarget(r); target != nil {
		h.mux.ServeHTTP(x, target)
		return
	}
	x.fail(notFound())
}

// refuse applies the bounds that need nothing but the header.
func (h *Handler) refuse(r *http.Request, inFlight int64) *fault.Error {
	limits := &h.settings.Limits
	switch {
	case inFlight > int64(limits.InFlight):
		h.metrics.Refused("in_flight")
		return fault.New(fault.Overloaded, "The gateway serves as many requests as it may. Try again later.")
	case len(r.RequestURI) > limits.URIBytes:
		h.metrics.Refused("uri_bytes")
		return fault.Newf(fault.URITooLong, "The request target is longer than %d bytes.", limits.URIBytes)
	}
	count, size := 0, 0
	for name, values := range r.Header {
		count += len(values)
		for _, value := range values {
			size += len(name) + len(value) + len(": \r\n")
		}
	}
	if count > limits.HeaderCount || size > limits.HeaderBytes {
		h.metrics.Refused("header")
		return fault.Newf(fault.HeaderTooLarge, "The request has more than %d header fields or more than %d bytes of them.", limits.HeaderCount, limits.HeaderBytes)
	}
	return nil
}

// cleanTarget gives the request to route: nil for a path that means something else to whoever cleans it (//, /./, /../, in
// any spelling), since policy and router must see the same path and a redirect would make clients send a POST elsewhere. One
// trailing slash is taken off.
func cleanTarget(r *http.Request) *http.Request {
	p := r.URL.Path
	if p == "" || p[0] != '/' {
		return nil
	}
	trimmed := p
	if len(p) > 1 {
		trimmed = strings.TrimSuffix(p, "/")
	}
	escaped := r.URL.EscapedPath()
	if path.Clean(p) != trimmed || strings.Contains(escaped, "//") {
		return nil
	}
	if trimmed == p {
		return r
	}
	if !strings.HasSuffix(escaped, "/") { // the slash is part of a name, spelled %2F
		return nil
	}
	target, u := *r, *r.URL
	u.Path = trimmed
	u.RawPath = strings.TrimSuffix(u.RawPath, "/")
	target.URL = &u
	return &target
}

// ServeHTTP chooses the method's route and takes the request to it.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := w.(*exchange) // the Handler's own writer: nothing stands between the chain and the mux
	x.request.Request = r
	x.answer = e.api.ErrorType
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	route := e.routes[method]
	if route != nil && route.Waits && r.Method == http.MethodHead {
		route = nil
	}
	if route == nil {
		switch {
		case len(e.routes) == 0 && len(e.blocked) == 0, e.blocked[method] && method == http.MethodGet:
			x.fail(notFound())
		case r.Method == http.MethodOptions:
			w.Header().Set("Allow", e.allow)
			w.Header().Set("Content-Length", "0")
			w.WriteHeader(http.StatusOK)
		default:
			w.Header().Set("Allow", e.allow)
			x.fail(fault.New(fault.MethodNotAllowed, "HTTP 405 Method Not Allowed"))
		}
		return
	}
	if err := e.handler.run(x, route); err != nil {
		x.fail(fault.From(err))
	}
}

// run is the part of the chain that knows the route. Policy is asked nowhere else, and Grants are made nowhere else.
func (h *Handler) run(x *exchange, route *served) error {
	r := &x.request
	x.id = route.ID
	x.counted = route.metrics[route.ID]
	if x.counted == nil { // a route with variants: until the variant is known, its first
		x.counted = route.metrics[route.Variants[0]]
	}
	if r.from == "" {
		r.BaseURL = h.links.base(r.Request)
	}
	if !route.Stream {
		r.deadline = x.started.Add(h.settings.Limits.RequestTimeout)
		if route.Waits {
			r.deadline = r.deadline.Add(h.settings.Consume.MaxRequestTimeout)
		}
	}
	var lost error // why the instance cannot be asked, said in a type that the client takes
	if r.PathValue("instance") != "" {
		passed, err := h.toOwner(x, route.Waits)
		if passed {
			return nil
		}
		lost = err
	}
	var ok bool
	if r.ContentType, ok = contentType(r.Request, route.Consumes); !ok {
		x.answer = errorTypeFromAccept(r.Request)
		return fault.New(fault.UnsupportedMediaType, "HTTP 415 Unsupported Media Type")
	}
	if route.Identify != nil {
		if err := x.identify(route, route.Identify(r.ContentType)); err != nil {
			return err
		}
	}
	if encoding := r.Header["Content-Encoding"]; len(encoding) > 0 && len(route.Consumes) > 0 && !strings.EqualFold(encoding[0], "identity") {
		return fault.New(fault.UnsupportedMediaType, "HTTP 415 Unsupported Media Type: a body with a Content-Encoding is not read here. Send it as it is.")
	}
	if r.Answer, ok = negotiate(r.Header["Accept"], route.Produces); !ok {
		return fault.New(fault.NotAcceptable, "HTTP 406 Not Acceptable")
	}
	x.answer = r.Answer
	if route.IdentifyAnswer != nil {
		if err := x.identify(route, route.IdentifyAnswer(r.Answer)); err != nil {
			return err
		}
	}
	if len(r.Header["Prefer"]) > 0 {
		r.Prefer = parsePreferences(r.Request)
	}
	if lost != nil {
		return lost
	}
	ctx := r.Context()
	if !route.Stream {
		if len(route.Consumes) > 0 {
			r.boundBody(h.settings.Limits.BodyTimeout)
		} else {
			r.boundBody(abandonTime) // nobody will read it
		}
		until := &deadline{Context: ctx, at: r.deadline}
		defer until.stop()
		ctx = until
	}
	operation, serve, err := route.Bind(r)
	if err != nil {
		return err
	}
	if passed, err := h.toPlace(x); passed || err != nil {
		return err
	}
	operation.ID, operation.Action = x.id, route.Action
	grant, err := h.decide(ctx, x, operation)
	if err != nil {
		return err
	}
	return serve(ctx, x, grant)
}

// identify settles which of a route's variants the request is, and refuses one that is not offered.
func (x *exchange) identify(route *served, id string) error {
	x.id = id
	if x.counted = route.metrics[id]; x.counted == nil {
		return fault.Newf(fault.Internal, "operation %s is not in the table", id)
	}
	if route.access.offers(id) {
		return nil
	}
	if route.Method == http.MethodGet {
		return notFound()
	}
	x.Header().Set("Allow", "OPTIONS")
	return fault.New(fault.MethodNotAllowed, "HTTP 405 Method Not Allowed")
}

// decide is where policy and quota say whether the operation may run. Everyone may do everything until they are there.
//
//nolint:unparam // the error is what policy and quota will say
func (h *Handler) decide(_ context.Context, x *exchange, operation Operation) (*Grant, error) {
	return &Grant{principal: x.request.Principal, operation: operation, clusters: h.clusters, limits: &h.settings.Limits, tally: &x.tally}, nil
}

// fail answers with a fault if nothing has been answered yet. After that the answer's own end is all that can tell.
func (x *exchange) fail(f *fault.Error) {
	x.failure = f
	if x.status == 0 {
		x.request.boundBody(abandonTime)
		if x.request.Request.Body != nil && x.request.ContentLength != 0 && x.request.ProtoMajor == 1 && unread(f) {
			x.Header().Set("Connection", "close") // the body was not read and will not be
		}
		writeError(x, x.answer, f)
		if x.request.Request.Context().Err() != nil { // nobody is there to read it: no failure of the gateway's
			x.status = statusClientGone
		}
	}
}

// statusClientGone is what is counted and logged of a request whose client left before it was answered, after nginx's custom.
const statusClientGone = 499

// unread reports whether a fault was found before the body was read, when reading it only to throw it away would be the
// very work that the bound is there to save.
func unread(f *fault.Error) bool {
	switch f.Code {
	case fault.BodyTooLarge, fault.Overloaded, fault.URITooLong, fault.HeaderTooLarge, fault.RequestTimeout, fault.Unavailable:
		return true
	default:
		return false
	}
}

// finish is every request's end: a panic becomes a 500 for that request only, the log and the metrics are told, and what the
// request held is given back.
func (h *Handler) finish(x *exchange) {
	caught := recover()
	abort := caught == any(http.ErrAbortHandler)
	if caught != nil && !abort {
		h.logger.Error("panic", "request_id", x.request.ID, "operation", x.id, "panic", caught, "stack", string(debug.Stack()))
		if x.status == 0 {
			x.fail(fault.New(fault.Internal, "Internal Server Error"))
		} else {
			abort = true // the answer has begun: cut it, so that nobody takes it for a whole one
			x.failure = fault.New(fault.Internal, "Internal Server Error")
		}
	}
	h.inFlight.Add(-1)
	if x.request.reserved > 0 {
		h.bodies.give(x.request.reserved)
	}
	duration := time.Since(x.started)
	if x.counted == nil {
		x.counted = h.unrouted
	}
	x.counted.Done(x.status, duration)
	h.logAccess(x, duration)
	if abort {
		panic(http.ErrAbortHandler)
	}
}

// logAccess writes the request's line. Everything in it that a client wrote is escaped by the log's format.
func (h *Handler) logAccess(x *exchange, duration time.Duration) {
	level := slog.LevelInfo
	if x.failure != nil && x.failure.Code == fault.Internal {
		level = slog.LevelError
	} else if !h.settings.Log.Access {
		return
	}
	if !h.access.Enabled(level) {
		return
	}
	r := &x.request
	line := telemetry.Access{Level: level, RequestID: r.ID, Operation: x.id, Method: r.Method, Path: r.URL.Path, Status: x.status, Bytes: x.bytes,
		Duration: duration, Remote: r.RemoteAddr, Principal: r.Principal.ID, From: r.from, To: r.to}
	line.Failed = x.tally.records[record.NotPersisted].Load() + x.tally.unread.Load()
	line.Unknown = x.tally.records[record.Unknown].Load()
	line.Records = x.tally.records[record.Persisted].Load() + line.Failed + line.Unknown + x.tally.given.Load()
	if f := x.failure; f != nil {
		line.Error = f.Code.String()
		if x.status >= http.StatusInternalServerError { // the texts of a client's own faults quote what it sent
			line.Error += ": " + f.Error()
		}
	}
	h.access.Write(&line)
}

// longestRequestID bounds an id that a client brings along.
const longestRequestID = 64

// requestID takes over a client's id if it is harmless, else makes one.
func requestID(r *http.Request) string {
	if values := r.Header["Weir-Request-Id"]; len(values) == 1 && ValidID(values[0], longestRequestID) {
		return values[0]
	}
	made := make([]byte, 0, 26) // two numbers of 13 digits
	made = strconv.AppendUint(made, rand.Uint64()|1<<63, 36)
	return string(strconv.AppendUint(made, rand.Uint64()|1<<63, 36))
}
