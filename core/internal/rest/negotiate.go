package rest

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// MediaType is a media type in lower case, without parameters: "application/json".
type MediaType string

// Media types that all APIs know.
const (
	ApplicationJSON MediaType = "application/json"
	ProblemJSON     MediaType = "application/problem+json"
	KafkaV2JSON     MediaType = "application/vnd.kafka.v2+json"
)

// matches reports whether a range such as */* or application/* covers the type.
func (m MediaType) matches(mediaRange string) bool {
	if mediaRange == "*/*" || mediaRange == string(m) {
		return true
	}
	prefix, found := strings.CutSuffix(mediaRange, "/*")
	return found && strings.HasPrefix(string(m), prefix+"/")
}

// specificity orders ranges: an exact type before a type's wildcard before */*.
func specificity(mediaRange string) int {
	switch {
	case mediaRange == "*/*":
		return 0
	case strings.HasSuffix(mediaRange, "/*"):
		return 1
	default:
		return 2
	}
}

// maxAcceptRanges bounds the work that an Accept header can ask for; what follows is not looked at.
const maxAcceptRanges = 64

type acceptRange struct {
	mediaRange string
	q          float64
}

// parseAccept reads Accept headers. A range that cannot be read is left out; an unreadable q counts as 0.
func parseAccept(headers []string) []acceptRange {
	var ranges []acceptRange
	for _, header := range headers {
		for field := range strings.SplitSeq(header, ",") {
			if len(ranges) == maxAcceptRanges {
				return ranges
			}
			mediaRange, parameters, _ := strings.Cut(field, ";")
			mediaRange = strings.ToLower(strings.TrimSpace(mediaRange))
			if mediaRange == "*" { // as some old clients write it
				mediaRange = "*/*"
			}
			if !strings.Contains(mediaRange, "/") {
				continue
			}
			q := 1.0
			for parameter := range strings.SplitSeq(parameters, ";") {
				name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
				if strings.EqualFold(name, "q") {
					parsed, err := strconv.ParseFloat(value, 64)
					if err != nil || !(parsed >= 0 && parsed <= 1) {
						parsed = 0
					}
					q = parsed
					break
				}
			}
			ranges = append(ranges, acceptRange{mediaRange, q})
		}
	}
	return ranges
}

// negotiate picks the type to answer with: the one that the client weighs highest, the server's order breaking ties. For each
// type the client's most specific range counts (RFC 9110 §12.5.1). No Accept accepts anything; false: nothing fits.
func negotiate(headers []string, produces []MediaType) (MediaType, bool) {
	if len(headers) == 0 || len(headers) == 1 && headers[0] == "*/*" {
		return produces[0], true
	}
	if len(headers) == 1 {
		for _, produced := range produces {
			if headers[0] == string(produced) { // nearly always
				return produced, true
			}
		}
	}
	ranges := parseAccept(headers)
	if len(ranges) == 0 {
		return produces[0], allEmpty(headers)
	}
	var best MediaType
	bestQ := 0.0
	for _, produced := range produces {
		q, specific := 0.0, -1
		for _, r := range ranges {
			if produced.matches(r.mediaRange) && specificity(r.mediaRange) > specific {
				q, specific = r.q, specificity(r.mediaRange)
			}
		}
		if q > bestQ {
			best, bestQ = produced, q
		}
	}
	return best, bestQ > 0
}

func allEmpty(headers []string) bool {
	for _, header := range headers {
		if strings.TrimSpace(header) != "" {
			return false
		}
	}
	return true
}

// ContentType is a request's media type with the parameters that matter.
type ContentType struct {
	Type    MediaType
	Charset string
}

// contentType picks which of consumes the body is. An absent or wildcard type is the first. false: none of them.
func contentType(r *http.Request, consumes []MediaType) (ContentType, bool) {
	values := r.Header["Content-Type"]
	if len(consumes) == 0 || len(values) == 0 || len(values) == 1 && values[0] == "" {
		if len(consumes) == 0 {
			return ContentType{}, true
		}
		return ContentType{Type: consumes[0]}, true
	}
	if len(values) > 1 {
		return ContentType{}, false
	}
	for _, consumed := range consumes {
		if values[0] == string(consumed) { // nearly always
			return ContentType{Type: consumed}, true
		}
	}
	mediaType, parameters, err := mime.ParseMediaType(values[0])
	if err != nil {
		return ContentType{}, false
	}
	for _, consumed := range consumes {
		if mediaType == "*/*" || string(consumed) == mediaType {
			return ContentType{Type: consumed, Charset: parameters["charset"]}, true
		}
	}
	return ContentType{}, false
}

// errorTypeFromAccept is how an answer is typed that is given before negotiation (415): the first entry of Accept that is
// literally one of the two, else application/json.
func errorTypeFromAccept(r *http.Request) MediaType {
	for _, header := range r.Header["Accept"] {
		for field := range strings.SplitSeq(header, ",") {
			switch m := MediaType(strings.TrimSpace(field)); m {
			case ApplicationJSON, KafkaV2JSON:
				return m
			}
		}
	}
	return ApplicationJSON
}
