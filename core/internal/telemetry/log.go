package telemetry

import (
	"io"
	"log/slog"

	"github.com/weir-gateway/weir/core/config"
)

// NewLogger makes the log that the configuration asks for.
func NewLogger(settings config.Log, to io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(settings.Level)); err != nil {
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: level}
	if settings.Format == "text" {
		return slog.New(slog.NewTextHandler(to, options))
	}
	one := &serial{to: to}
	return slog.New(jsonHandler{slog.NewJSONHandler(one, options), one})
}
