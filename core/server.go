package core

import (
	"log/slog"
	"net/http"

	"github.com/weir-gateway/weir/core/config"
)

// maxConcurrentStreams bounds the requests at once on one HTTP/2 connection.
const maxConcurrentStreams = 250

// NewServer gives the http.Server that a core needs in front: HTTP/1.1 and HTTP/2 (h2c without TLS), header bounds, and no
// read and write timeouts, because streams last and every request sets deadlines of its own. The caller adds TLS and serves.
func NewServer(settings config.Config, handler http.Handler, logger *slog.Logger) *http.Server {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: settings.Listen.HeaderTimeout,
		IdleTimeout:       settings.Listen.IdleTimeout,
		// net/http allows 4 KiB more than this before it answers 431 by itself; up to there the core answers, in the API's shape.
		MaxHeaderBytes:               settings.Limits.HeaderBytes + settings.Limits.URIBytes,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
		Protocols:                    new(http.Protocols),
		HTTP2:                        &http.HTTP2Config{MaxConcurrentStreams: maxConcurrentStreams},
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(settings.Listen.HTTP2)
	server.Protocols.SetUnencryptedHTTP2(settings.Listen.HTTP2)
	return server
}
