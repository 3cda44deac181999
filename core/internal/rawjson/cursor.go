package rawjson

import "iter"

// Cursor reads one JSON text from its beginning to its end and checks what it passes: for text of which the outer layers are
// to be understood and the values inside only to be taken. Nothing is passed twice, and for a body of many records passing
// over it is nearly all of the cost of reading it.
//
// The cursor stands before a value, at first the whole text. Kind looks at that value; Members, Elements and Value take it.
// Text that is not JSON, or beyond the limits, ends all loops and makes every value nil. Only when End has given no error may
// anything that was read be relied on.
type Cursor struct {
	text   []byte
	at     int
	depth  int
	limits Limits
	failed bool
}

// NewCursor puts a cursor before a text. The text belongs to the cursor: values are parts of it, and white space in it is
// moved.
func NewCursor(text []byte, limits Limits) *Cursor {
	return &Cursor{text: text, at: skipAny(text, 0), limits: limits}
}

// Kind gives the kind of the value that the cursor stands before; 0 when there is none.
func (c *Cursor) Kind() byte {
	if c.failed {
		return 0
	}
	return Kind(c.text[c.at:])
}

// Offset gives how many bytes of the text lie before the cursor.
func (c *Cursor) Offset() int { return c.at }

// Members takes an object: it gives each member's name, unquoted, and the cursor then stands before the member's value. A value
// that the loop does not take is passed over. A name may come twice.
func (c *Cursor) Members() iter.Seq[[]byte] {
	return func(yield func(name []byte) bool) {
		c.container('{', '}', func() bool {
			value, _ := scanName(c.text, c.at, false)
			if value < 0 {
				c.failed = true
				return false
			}
			name := Unquote(c.text[c.at:stringEnd(c.text, c.at)])
			c.at = value
			return c.take(func() bool { return yield(name) })
		})
	}
}

// Elements takes an array: it gives the index of each element, and the cursor then stands before that element. One that the
// loop does not take is passed over.
func (c *Cursor) Elements() iter.Seq[int] {
	return func(yield func(index int) bool) {
		index := -1
		c.container('[', ']', func() bool {
			index++
			return c.take(func() bool { return yield(index) })
		})
	}
}

// container takes the brackets and commas of a container that the cursor stands before; of any other value it takes nothing.
// item takes what stands between them, and says false to stop.
func (c *Cursor) container(opener, closer byte, item func() bool) {
	if c.failed || c.next() != opener {
		return
	}
	if c.depth >= c.limits.Depth {
		c.failed = true
		return
	}
	c.depth++
	c.at = skipAny(c.text, c.at+1)
	for more := c.next() != closer; more; {
		if !item() {
			return
		}
		c.at = skipAny(c.text, c.at)
		switch c.next() {
		case ',':
			c.at = skipAny(c.text, c.at+1)
		case closer:
			more = false
		default:
			c.failed = true
			return
		}
	}
	c.at++
	c.depth--
}

// take has a loop's body take a value, and passes over it if the body did not. false: the loop is over.
func (c *Cursor) take(body func() bool) bool {
	before := c.at
	if !body() {
		return false
	}
	if c.at == before {
		c.Value()
	}
	return !c.failed
}

// next gives the next byte; 0 at the end.
func (c *Cursor) next() byte {
	if c.at < len(c.text) {
		return c.text[c.at]
	}
	return 0
}

// Value takes the value as it is, but without white space between its tokens. nil: there was none.
func (c *Cursor) Value() []byte {
	if c.failed {
		return nil
	}
	start := c.at
	end, spaced, ok := scan(c.text, start, Limits{Depth: c.limits.Depth - c.depth, NumberLength: c.limits.NumberLength})
	if !ok {
		c.failed = true
		return nil
	}
	c.at = end
	value := c.text[start:end:end]
	if !spaced {
		return value
	}
	value = Compact(value)
	for i := start + len(value); i < end; i++ {
		c.text[i] = ' ' // the text remains the JSON that it was, for whoever looks at it again
	}
	return value
}

// End says whether the text is one JSON value within the limits: nil, a *SyntaxError or a *LimitError. It costs next to nothing
// when everything was taken. When a loop was left early it looks at the whole text, so that what is wrong with the text can
// be told before what is wrong with its content.
func (c *Cursor) End() error {
	if !c.failed && c.depth == 0 && c.at > 0 && skipAny(c.text, c.at) == len(c.text) {
		return nil
	}
	if err := explain(c.text, c.limits); err != nil || !c.failed {
		return err
	}
	return &SyntaxError{Offset: int64(c.at), Reason: "unexpected text"}
}
