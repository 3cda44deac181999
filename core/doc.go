// Package core is Weir as a library: one gateway between HTTP and Kafka. New builds it from a configuration; the result is an
// http.Handler for clients, another for operators, and a few methods that order its start and its end. It owns no globals, so
// several cores can live in one process.
//
// The core does not listen by itself. The weir command does that, and so do the gateway plugins, each in its own way; what
// reaches ServeHTTP takes the same road through package rest wherever it came from.
//
// This package is wiring only. What a request does is in core/internal/rest; what Kafka does is in core/internal/kafka.
package core
