// Package api holds the OpenAPI document of Weir's HTTP API and hands it to the gateway, which serves it at /openapi.yaml.
// The document is written by hand; a test holds that its operations are those of the route table, in both directions. It lies
// here, beside the other documents, because people read it too.
package api

import _ "embed"

// Document is openapi.yaml.
//
//go:embed openapi.yaml
var Document []byte
