package identity

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
)

// The bounds of a header.
const (
	// MaxLength is the longest header, in bytes.
	MaxLength = 4096
	// Lifetime is how long a statement holds.
	Lifetime = 30 * time.Second
	// Skew is how far the clocks of the two sides may be apart.
	Skew = 5 * time.Second
	// MinSecret is the shortest secret, in bytes: as long as the MAC is.
	MinSecret = 32

	version     = "v1"
	longestID   = 32
	fieldMarker = "."
)

// ErrRefused is in every error of Verify. The text is for a log, not for whoever sent the header.
var ErrRefused = errors.New("identity: the statement is refused")

// Statement is what a header says.
type Statement struct {
	// Principal is who asks.
	Principal Principal
	// Audience is for whom the statement is meant. It must be what the verifier expects.
	Audience string
	// Issued is when it was signed, to the second. Sign sets it.
	Issued time.Time
	// Facts are what else is signed with it, for the two sides to agree upon. Names are lower case.
	Facts map[string]string
}

// Key is a secret that two sides share.
type Key struct {
	// ID names the key in headers: 1 to 32 letters, digits, - and _.
	ID string
	// Secret is at least MinSecret bytes.
	Secret []byte
}

// Keyring is the keys that are trusted. It is safe for concurrent use.
type Keyring struct {
	signing Key
	trusted map[string][]byte
}

// NewKeyring makes a keyring. The first key signs; all of them verify, so that a key can be exchanged: first all verifiers learn the
// new one, then all signers sign with it, then the old one is taken away. An error names the key that cannot be used.
func NewKeyring(keys ...Key) (*Keyring, error) {
	if len(keys) == 0 {
		return nil, errors.New("identity: a keyring needs a key")
	}
	k := &Keyring{signing: keys[0], trusted: make(map[string][]byte, len(keys))}
	for i, key := range keys {
		_, twice := k.trusted[key.ID]
		switch {
		case !validKeyID(key.ID):
			return nil, fmt.Errorf("identity: key %d: its id must be 1 to %d letters, digits, - and _", i, longestID)
		case twice:
			return nil, fmt.Errorf("identity: key %s is there twice", key.ID)
		case len(key.Secret) < MinSecret:
			return nil, fmt.Errorf("identity: the secret of key %s has %d bytes; it needs %d", key.ID, len(key.Secret), MinSecret)
		}
		k.trusted[key.ID] = append([]byte(nil), key.Secret...)
	}
	return k, nil
}

func validKeyID(id string) bool {
	if id == "" || len(id) > longestID {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

// encoding refuses trailing bits; decode refuses the line ends that it lets through.
var encoding = base64.RawURLEncoding.Strict()

// mac is the last part of a header for all before it.
func mac(secret []byte, signed string) string {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(signed))
	return encoding.EncodeToString(h.Sum(nil))
}

// Sign gives the header of a statement that begins now. An error says what of the statement cannot be carried.
func (k *Keyring) Sign(s Statement, now time.Time) (string, error) {
	if s.Principal.ID == "" || s.Audience == "" {
		return "", errors.New("identity: a statement needs a principal and an audience")
	}
	payload, err := encode(s, now)
	if err != nil {
		return "", err
	}
	signed := version + fieldMarker + k.signing.ID + fieldMarker + encoding.EncodeToString(payload)
	header := signed + fieldMarker + mac(k.trusted[k.signing.ID], signed)
	if len(header) > MaxLength {
		return "", fmt.Errorf("identity: the header would have %d bytes; at most %d are allowed", len(header), MaxLength)
	}
	return header, nil
}

// Verify gives what a header says to audience and the id of the key that signed it. Anything out of order is an error that wraps
// ErrRefused. Nothing is decoded before the MAC is known to be right.
func (k *Keyring) Verify(header, audience string, now time.Time) (s Statement, keyID string, err error) {
	refuse := func(why string) (Statement, string, error) {
		return Statement{}, "", fmt.Errorf("%w: %s", ErrRefused, why)
	}
	if len(header) > MaxLength {
		return refuse("the header is too long")
	}
	end := strings.LastIndex(header, fieldMarker)
	parts := strings.Split(header, fieldMarker)
	if len(parts) != 4 || parts[0] != version {
		return refuse("it does not have the form of " + version)
	}
	secret, known := k.trusted[parts[1]]
	if !known {
		return refuse("nobody here has its key")
	}
	if !hmac.Equal([]byte(mac(secret, header[:end])), []byte(parts[3])) {
		return refuse("the signature is wrong")
	}
	payload, err := encoding.DecodeString(parts[2])
	if err != nil || encoding.EncodeToString(payload) != parts[2] {
		return refuse("its payload is not base64url in the one canonical form")
	}
	s, expires, err := decode(payload)
	switch {
	case err != nil:
		return refuse(err.Error())
	case s.Audience != audience:
		return refuse("it is meant for another audience")
	case s.Principal.ID == "":
		return refuse("it names no principal")
	case expires.Before(s.Issued) || expires.Sub(s.Issued) > Lifetime:
		return refuse("its lifetime is not one that is allowed")
	case now.Before(s.Issued.Add(-Skew)):
		return refuse("it was issued in the future; the clocks of the two sides must agree")
	case now.After(expires.Add(Skew)):
		return refuse("it has expired; if it is new, the clocks of the two sides do not agree")
	}
	return s, parts[1], nil
}
