package v2

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/weir-gateway/weir/core/internal/fault"
	"github.com/weir-gateway/weir/core/internal/format"
	"github.com/weir-gateway/weir/core/internal/kafka/consumer"
	"github.com/weir-gateway/weir/core/internal/rawjson"
	"github.com/weir-gateway/weir/core/internal/rest"
)

// onInstance is a route about the path's instance.
func onInstance(r *rest.Request, resources []rest.Resource, serve func(context.Context, http.ResponseWriter, *rest.Grant, *consumer.Instance) error) (rest.Operation, rest.Serve, error) {
	group, name := r.PathValue("group"), r.PathValue("instance")
	if !rest.ValidName(group) || !rest.ValidName(name) {
		return rest.Operation{}, nil, rest.InstanceNotFound()
	}
	resources = append([]rest.Resource{{Type: "group", Name: group}}, resources...)
	return rest.Operation{Resources: resources}, func(ctx context.Context, w http.ResponseWriter, grant *rest.Grant) error {
		cluster, err := grant.Cluster()
		if err != nil {
			return err
		}
		instance, err := grant.Instance(cluster, group, name)
		if err != nil {
			return err
		}
		return serve(ctx, w, grant, instance)
	}, nil
}

// newInstance is the body of a creation. Values are text because the REST Proxy takes "true" for true and "1" for 1, and clients
// write both.
type newInstance struct {
	Name            *string        `json:"name"`
	ID              *string        `json:"id"` // of old; it wins over name
	Format          *string        `json:"format"`
	AutoOffsetReset *string        `json:"auto.offset.reset"`
	AutoCommit      jsontext.Value `json:"auto.commit.enable"`
	MinBytes        jsontext.Value `json:"fetch.min.bytes"`
	MinBytesOld     jsontext.Value `json:"responseMinBytes"`
	Timeout         jsontext.Value `json:"consumer.request.timeout.ms"`
	TimeoutOld      jsontext.Value `json:"requestWaitMs"`
	IsolationLevel  *string        `json:"isolation.level"` // Weir's own
}

type instanceBody struct {
	InstanceID string `json:"instance_id"`
	BaseURI    string `json:"base_uri"`
}

func bindCreateInstance(r *rest.Request) (rest.Operation, rest.Serve, error) {
	group := r.PathValue("group")
	if !rest.ValidName(group) {
		return rest.Operation{}, nil, rest.InvalidName("group")
	}
	var body newInstance
	if _, err := r.Decode(&body); err != nil {
		return rest.Operation{}, nil, err
	}
	options, err := body.options(r)
	if err != nil {
		return rest.Operation{}, nil, err
	}
	name, chosen := "", first(body.ID, body.Name)
	if chosen != nil {
		if !rest.ValidName(*chosen) {
			return rest.Operation{}, nil, rest.InvalidName("name")
		}
		if name, err = r.PlaceInstance(group, *chosen); err != nil {
			return rest.Operation{}, nil, err
		}
	}
	return rest.Operation{Resources: []rest.Resource{{Type: "group", Name: group}}}, func(ctx context.Context, w http.ResponseWriter, grant *rest.Grant) error {
		cluster, err := grant.Cluster()
		if err != nil {
			return err
		}
		if chosen == nil {
			name = generatedName(r.Node())
		}
		if _, err := grant.CreateInstance(cluster, group, name, options); err != nil {
			return err
		}
		body := instanceBody{InstanceID: name, BaseURI: r.BaseURL + "/consumers/" + group + "/instances/" + r.Hinted(group, name)}
		if chosen == nil {
			body.InstanceID = r.Hinted(group, name)
		} else {
			r.ClaimInstance(ctx, group, name)
		}
		return writeBody(w, r, body)
	}, nil
}

// generatedName is the name of an instance whose client chose none.
func generatedName(node string) string {
	if node != "" {
		node += "-"
	}
	return "rest-consumer-" + node + rest.UUID()
}

// Bounds of fetch.min.bytes, those of the REST Proxy.
const (
	leastMinBytes = -1
	mostMinBytes  = 10_000_000
)

// options checks what an instance is made with. The settings that may be given are these and no others: what reaches Kafka's
// client is never a client's text.
func (b *newInstance) options(r *rest.Request) (consumer.Options, error) {
	defaults := &r.Settings.Consume
	o := consumer.Options{Format: "binary", AutoOffsetReset: defaults.AutoOffsetReset, AutoCommit: true, MinBytes: defaults.FetchMinBytes,
		Timeout: defaults.RequestTimeout, Committed: defaults.IsolationLevel == "read_committed"}
	if b.Format != nil {
		switch o.Format = strings.ToLower(*b.Format); o.Format {
		case "binary", "json":
		case "avro", "jsonschema", "protobuf":
			return o, fault.New(fault.InvalidPayload, "Payload error. Schema Registry must be configured when using schemas.")
		default:
			return o, fault.New(fault.Unprocessable, "Invalid format type.")
		}
	}
	if b.AutoOffsetReset != nil {
		switch o.AutoOffsetReset = *b.AutoOffsetReset; {
		case o.AutoOffsetReset == "latest", o.AutoOffsetReset == "earliest", o.AutoOffsetReset == "none":
		case r.Older && o.AutoOffsetReset == "smallest":
			o.AutoOffsetReset = "earliest"
		case r.Older && o.AutoOffsetReset == "largest":
			o.AutoOffsetReset = "latest"
		default:
			return o, invalidConfig("auto.offset.reset", *b.AutoOffsetReset, "latest, earliest or none")
		}
	}
	if b.IsolationLevel != nil {
		switch *b.IsolationLevel {
		case "read_committed", "read_uncommitted":
			o.Committed = *b.IsolationLevel == "read_committed"
		default:
			return o, invalidConfig("isolation.level", *b.IsolationLevel, "read_committed or read_uncommitted")
		}
	}
	if text, given := scalar(b.AutoCommit); given {
		switch strings.ToLower(text) {
		case "true", "false":
			o.AutoCommit = strings.EqualFold(text, "true")
		default:
			return o, invalidConfig("auto.commit.enable", text, "true or false")
		}
	}
	if text, given := scalar(firstValue(b.MinBytes, b.MinBytesOld)); given {
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return o, fault.Newf(fault.MalformedJSON, "fetch.min.bytes %s is not an integer.", excerpt(text))
		}
		if n < leastMinBytes || n > mostMinBytes {
			return o, fault.Newf(fault.ConsumerConfigRange, "Invalid consumer configuration. It does not abide by the constraints: fetch.min.bytes must be from %d to %d (was %d)", leastMinBytes, mostMinBytes, n)
		}
		o.MinBytes = int(n)
	}
	if text, given := scalar(firstValue(b.Timeout, b.TimeoutOld)); given {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return o, fault.Newf(fault.MalformedJSON, "consumer.request.timeout.ms %s is not an integer.", excerpt(text))
		}
		if most := defaults.MaxRequestTimeout.Milliseconds(); n < 0 || n > most {
			return o, invalidConfig("consumer.request.timeout.ms", text, fmt.Sprintf("from 0 to %d", most))
		}
		o.Timeout = time.Duration(n) * time.Millisecond
	}
	return o, nil
}

func invalidConfig(name, value, choices string) error {
	return fault.Newf(fault.InvalidConsumerConfig, "Invalid consumer configuration: Invalid value %s for configuration %s: must be %s", excerpt(value), name, choices)
}

func excerpt(text string) string { return format.Excerpt([]byte(text)) }

// first gives the first that is there.
func first(values ...*string) *string {
	for _, value := range values {
		if value != nil {
			return value
		}
	}
	return nil
}

func firstValue(values ...jsontext.Value) jsontext.Value {
	for _, value := range values {
		if value != nil {
			return value
		}
	}
	return nil
}

// scalar gives the text of a string, number or boolean; false for null and for what is not there. An object or array gives its JSON
// text, which no setting takes.
func scalar(value jsontext.Value) (text string, given bool) {
	switch {
	case value == nil || rawjson.IsNull(value):
		return "", false
	case rawjson.Kind(value) == '"':
		return string(rawjson.Unquote(value)), true
	default:
		return string(value), true
	}
}

func bindDeleteInstance(r *rest.Request) (rest.Operation, rest.Serve, error) {
	group, name := r.PathValue("group"), r.PathValue("instance")
	if !rest.ValidName(group) || !rest.ValidName(name) {
		return rest.Operation{}, nil, rest.InstanceNotFound()
	}
	return rest.Operation{Resources: []rest.Resource{{Type: "group", Name: group}}}, func(ctx context.Context, w http.ResponseWriter, grant *rest.Grant) error {
		cluster, err := grant.Cluster()
		if err != nil {
			return err
		}
		if err := grant.DeleteInstance(ctx, cluster, group, name); err != nil {
			return err
		}
		r.ReleaseInstance(ctx, group, name)
		rest.NoContent(w)
		return nil
	}, nil
}
