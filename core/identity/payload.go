package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"
)

// payload is a Statement as it is signed.
type payload struct {
	Audience  string            `json:"aud"`
	Issued    int64             `json:"iat"` // seconds since 1970
	Expires   int64             `json:"exp"`
	Principal Principal         `json:"sub"`
	Facts     map[string]string `json:"facts,omitempty"`
}

// encode writes a statement. What JSON would change on the way is refused, so that both sides read the same.
func encode(s Statement, now time.Time) ([]byte, error) {
	texts := []string{s.Audience, s.Principal.ID}
	for name, value := range s.Facts {
		if !lower(name) {
			return nil, fmt.Errorf("identity: the fact %q has a name that is not in lower case", name)
		}
		texts = append(texts, name, value)
	}
	for _, text := range texts {
		if !utf8.ValidString(text) {
			return nil, errors.New("identity: a text in the statement is not UTF-8")
		}
	}
	issued := now.Unix()
	return json.Marshal(payload{Audience: s.Audience, Issued: issued, Expires: issued + int64(Lifetime/time.Second), Principal: s.Principal, Facts: s.Facts})
}

// decode reads a payload: one JSON value and nothing after it, every name known, in lower case and given once.
func decode(text []byte) (s Statement, expires time.Time, err error) {
	if err := checkNames(text); err != nil {
		return Statement{}, time.Time{}, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	var p payload
	if err := decoder.Decode(&p); err != nil {
		return Statement{}, time.Time{}, errors.New("its payload is not a statement")
	}
	return Statement{Principal: p.Principal, Audience: p.Audience, Issued: time.Unix(p.Issued, 0), Facts: p.Facts}, time.Unix(p.Expires, 0), nil
}

// checkNames refuses what encoding/json lets through: a name that is given twice or in another case, text that is not UTF-8, and
// anything after the value.
func checkNames(text []byte) error {
	if !utf8.Valid(text) {
		return errors.New("its payload is not UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	var objects []map[string]bool // names of each open object; nil for an array
	var name bool                 // a name comes next, or the end of the object
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) && len(objects) == 0 {
			return nil
		}
		if err != nil {
			return errors.New("its payload is not JSON")
		}
		innermost := len(objects) - 1
		switch token := token.(type) {
		case json.Delim:
			switch token {
			case '{':
				objects = append(objects, map[string]bool{})
			case '[':
				objects = append(objects, nil)
			default:
				objects = objects[:innermost]
			}
			name = len(objects) > 0 && objects[len(objects)-1] != nil
			if len(objects) == 0 && decoder.More() {
				return errors.New("something follows its payload")
			}
			continue
		case string:
			if name {
				if objects[innermost][token] || !lower(token) {
					return errors.New("its payload has a name twice or not in lower case")
				}
				objects[innermost][token] = true
				name = false
				continue
			}
		}
		if len(objects) == 0 {
			return errors.New("its payload is not an object")
		}
		name = objects[innermost] != nil
	}
}

func lower(name string) bool {
	for i := range len(name) {
		if c := name[i]; !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '_') {
			return false
		}
	}
	return name != ""
}
