package rawjson

import (
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// ErrTooLarge is a value of a stream that is longer than the reader's limit.
var ErrTooLarge = errors.New("a JSON value is larger than allowed")

// Reader reads concatenated JSON values from a stream, each bounded in size.
type Reader struct {
	decoder *jsontext.Decoder
	source  capped
	max     int
	limits  Limits
}

// readAhead is how far the decoder may read beyond the values that it has given out.
const readAhead = 64 << 10

// NewReader reads values of at most max bytes from source. It holds at most max plus 64 KiB.
func NewReader(source io.Reader, max int, limits Limits) *Reader {
	r := &Reader{max: max, limits: limits}
	r.source = capped{source: source}
	r.decoder = jsontext.NewDecoder(&r.source, decoding)
	return r
}

// Next gives the next value, checked, valid until the next call; it does not wait for what follows the value. The error is
// io.EOF at the clean end, ErrTooLarge, a *SyntaxError, or the source's own error: after any of them the stream is over. A
// *LimitError comes with the value, and the stream goes on.
func (r *Reader) Next() ([]byte, error) {
	r.source.allowance = r.max + readAhead
	value, err := r.decoder.ReadValue()
	if err != nil {
		if errors.Is(err, ErrTooLarge) {
			return nil, ErrTooLarge
		}
		if errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		if r.source.failed != nil {
			return nil, r.source.failed
		}
		return nil, syntaxError(err)
	}
	if len(value) > r.max {
		return nil, ErrTooLarge
	}
	return value, CheckLimits(value, r.limits)
}

// capped lets a bounded number of bytes through for each value and remembers why its source failed.
type capped struct {
	source    io.Reader
	allowance int
	failed    error
}

func (c *capped) Read(p []byte) (int, error) {
	if c.allowance <= 0 {
		return 0, ErrTooLarge
	}
	n, err := c.source.Read(p[:min(len(p), c.allowance)])
	c.allowance -= n
	if err != nil && err != io.EOF {
		c.failed = err
	}
	return n, err
}
