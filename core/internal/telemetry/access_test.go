package telemetry

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-gateway/weir/core/config"
)

// An access line written past slog says what slog would have said.
func TestAccessLineIsTheOneOfSlog(t *testing.T) {
	t.Parallel()
	full := Access{Level: slog.LevelError, RequestID: "id", Operation: "api.v2", Method: "POST", Path: "/topics/\"a\\\n\x00é\xff<&>\u2028\x7f", Status: 500, Bytes: 12,
		Duration: 1234567 * time.Microsecond, Remote: "127.0.0.1:1", Principal: "p", Records: 3, Failed: 2, Unknown: 1, Error: "no: \"x\""}
	for name, access := range map[string]Access{
		"nothing":    {},
		"everything": full,
		"short":      {RequestID: "id", Method: "GET", Path: "/", Status: 200, Duration: 5_050 * time.Microsecond},
		"whole":      {Duration: 3 * time.Millisecond},
		"less":       {Duration: 7 * time.Microsecond},
	} {
		var ours, slogs bytes.Buffer
		NewAccessLog(NewLogger(config.Log{Level: "info", Format: "json"}, &ours)).Write(&access)
		NewAccessLog(slog.New(slog.NewJSONHandler(&slogs, nil))).Write(&access)
		if diff := cmp.Diff(fields(t, slogs.Bytes()), fields(t, ours.Bytes())); diff != "" {
			t.Errorf("%s (-slog +ours):\n%s", name, diff)
		}
	}
}

// fields reads a line, which must be one, in order and without its time.
func fields(t *testing.T, line []byte) (read []any) {
	t.Helper()
	if bytes.Count(line, []byte("\n")) != 1 || line[len(line)-1] != '\n' {
		t.Fatalf("not one line: %q", line)
	}
	decoder := json.NewDecoder(bytes.NewReader(line))
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		read = append(read, token)
	}
	if _, err := time.Parse(time.RFC3339Nano, read[2].(string)); read[1] != "time" || err != nil {
		t.Errorf("%q begins with %v %v", line, read[1], read[2])
	}
	return read[3:]
}

func TestAccessLogFollowsItsLogger(t *testing.T) {
	t.Parallel()
	var text, more bytes.Buffer
	log := NewAccessLog(NewLogger(config.Log{Level: "warn", Format: "text"}, &text))
	if log.Enabled(slog.LevelInfo) || !log.Enabled(slog.LevelError) {
		t.Error("the logger's level does not hold")
	}
	log.Write(&Access{Level: slog.LevelError, Status: 500})
	if !bytes.Contains(text.Bytes(), []byte("level=ERROR msg=request")) {
		t.Errorf("text: %q", text.Bytes())
	}
	NewAccessLog(NewLogger(config.Log{Level: "info", Format: "json"}, &more).With("instance", "a")).Write(&Access{})
	if !bytes.Contains(more.Bytes(), []byte(`"instance":"a"`)) {
		t.Errorf("the logger's own attributes are lost: %q", more.Bytes())
	}
}

func BenchmarkAccessLog(b *testing.B) {
	access := Access{RequestID: "3w5e11264sgsf3w5e11264sgsf", Operation: "api.v2.produce-to-topic.json", Method: "POST", Path: "/topics/orders", Status: 200, Bytes: 107,
		Duration: 5311 * time.Microsecond, Remote: "127.0.0.1:54321", Principal: "anonymous", Records: 1}
	for name, logger := range map[string]*slog.Logger{
		"ours": NewLogger(config.Log{Level: "info", Format: "json"}, io.Discard),
		"slog": slog.New(slog.NewJSONHandler(io.Discard, nil)),
	} {
		b.Run(name, func(b *testing.B) {
			log := NewAccessLog(logger)
			b.ReportAllocs()
			for b.Loop() {
				log.Write(&access)
			}
		})
	}
}
