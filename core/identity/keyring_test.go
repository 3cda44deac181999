package identity_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-gateway/weir/core/identity"
)

var (
	now    = time.Unix(1_800_000_000, 0)
	secret = []byte("0123456789abcdef0123456789abcdef")
)

func ring(t testing.TB, keys ...identity.Key) *identity.Keyring {
	t.Helper()
	k, err := identity.NewKeyring(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func statement() identity.Statement {
	return identity.Statement{Principal: identity.Principal{ID: "alice & <böb>"}, Audience: "weir-core", Facts: map[string]string{"base_url": "https://a.example:1"}}
}

// The header is a promise between processes of different builds, so one is written down. Its MAC was computed with openssl.
const golden = "v1.k1.eyJhdWQiOiJ3ZWlyLWNvcmUiLCJpYXQiOjE4MDAwMDAwMDAsImV4cCI6MTgwMDAwMDAzMCwic3ViIjp7ImlkIjoicGFydG5lci03In0sImZhY3RzIjp7InJlcXVlc3QiOiJHRVQgL3RvcGljcyJ9fQ.Tq10jU8zTM03MOazsc4grX_qQiUO-SUo2_MMdyGlq34"

func TestTheHeaderIsAlwaysTheSame(t *testing.T) {
	t.Parallel()
	k := ring(t, identity.Key{ID: "k1", Secret: secret})
	s := identity.Statement{Principal: identity.Principal{ID: "partner-7"}, Audience: "weir-core", Facts: map[string]string{"request": "GET /topics"}}
	got, err := k.Sign(s, now)
	if err != nil || got != golden {
		t.Errorf("got %s (%v), want %s", got, err, golden)
	}
	s.Issued = now
	read, key, err := k.Verify(golden, "weir-core", now)
	if diff := cmp.Diff(s, read); diff != "" || key != "k1" || err != nil {
		t.Errorf("key %q, %v (-want +got):\n%s", key, err, diff)
	}
}

func TestWhatIsSignedIsRead(t *testing.T) {
	t.Parallel()
	k := ring(t, identity.Key{ID: "A-z_9", Secret: secret})
	for _, age := range []time.Duration{-identity.Skew, 0, identity.Lifetime, identity.Lifetime + identity.Skew} {
		header, err := k.Sign(statement(), now)
		if err != nil {
			t.Fatal(err)
		}
		got, key, err := k.Verify(header, "weir-core", now.Add(age))
		want := statement()
		want.Issued = now
		if diff := cmp.Diff(want, got); diff != "" || key != "A-z_9" || err != nil {
			t.Errorf("after %s: key %q, %v (-want +got):\n%s", age, key, err, diff)
		}
	}
}

// Keys are exchanged without a moment in which a header is refused.
func TestKeysAreExchanged(t *testing.T) {
	t.Parallel()
	before, after := identity.Key{ID: "old", Secret: secret}, identity.Key{ID: "new", Secret: []byte(strings.Repeat("n", identity.MinSecret))}
	steps := []*identity.Keyring{ring(t, before), ring(t, before, after), ring(t, after, before), ring(t, after)}
	for i := range steps[1:] {
		for _, pair := range [][2]*identity.Keyring{{steps[i], steps[i+1]}, {steps[i+1], steps[i]}} {
			header, err := pair[0].Sign(statement(), now)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := pair[1].Verify(header, "weir-core", now); err != nil {
				t.Errorf("step %d: %v", i, err)
			}
		}
	}
	header, err := steps[0].Sign(statement(), now)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := steps[3].Verify(header, "weir-core", now); !errors.Is(err, identity.ErrRefused) {
		t.Errorf("a key that was taken away: %v", err)
	}
}

// forge signs a payload as a holder of the key who does not keep to the form.
func forge(payload string) string {
	return seal("v1.k1." + base64.RawURLEncoding.EncodeToString([]byte(payload)))
}

func seal(signed string) string {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

func TestWhatIsOutOfOrderIsRefused(t *testing.T) {
	t.Parallel()
	k := ring(t, identity.Key{ID: "k1", Secret: secret})
	whole := fmt.Sprintf(`{"aud":"weir-core","iat":%d,"exp":%d,"sub":{"id":"a"}}`, now.Unix(), now.Unix()+30)
	if _, _, err := k.Verify(forge(whole), "weir-core", now); err != nil {
		t.Fatalf("the pattern of all below: %v", err)
	}
	signed := forge(whole)
	payload := func(old, new string) string { return forge(strings.Replace(whole, old, new, 1)) }
	last, other := signed[:len(signed)-1], payload(`"a"`, `"b"`)
	for name, header := range map[string]string{
		"nothing":                     "",
		"three parts":                 strings.Join(strings.Split(signed, ".")[:3], "."),
		"five parts":                  signed + ".",
		"another version":             strings.Replace(signed, "v1.", "v2.", 1),
		"another version, sealed":     seal(strings.Replace(signed[:strings.LastIndex(signed, ".")], "v1.", "v2.", 1)),
		"an unknown key":              strings.Replace(signed, ".k1.", ".k2.", 1),
		"no key":                      strings.Replace(signed, ".k1.", "..", 1),
		"no signature":                signed[:strings.LastIndex(signed, ".")+1],
		"a short signature":           last,
		"a signature too long":        signed + "A",
		"a signature with a tail":     last + string(signed[len(signed)-1]+1), // the same bytes, another text
		"a line end in the payload":   seal("v1.k1." + base64.RawURLEncoding.EncodeToString([]byte(whole))[:8] + "\n" + base64.RawURLEncoding.EncodeToString([]byte(whole))[8:]),
		"a padded payload":            seal("v1.k1." + base64.URLEncoding.EncodeToString([]byte(whole+" "))),
		"a payload of another":        other[:strings.LastIndex(other, ".")] + signed[strings.LastIndex(signed, "."):],
		"a space around":              " " + signed,
		"too long":                    forge(strings.Replace(whole, `"a"`, `"`+strings.Repeat("a", identity.MaxLength)+`"`, 1)),
		"another audience":            payload("weir-core", "weir-peer"),
		"no audience":                 payload(`"aud":"weir-core",`, ""),
		"no principal":                payload(`,"sub":{"id":"a"}`, ""),
		"an empty principal":          payload(`"id":"a"`, `"id":""`),
		"a principal of null":         payload(`{"id":"a"}`, "null"),
		"a principal that is a text":  payload(`{"id":"a"}`, `"a"`),
		"two principals":              payload(`"sub"`, `"sub":{"id":"b"},"sub"`),
		"two ids":                     payload(`"id":"a"`, `"id":"b","id":"a"`),
		"two ids in two cases":        payload(`"id":"a"`, `"id":"b","ID":"a"`),
		"two ids, one spelt":          payload(`"id":"a"`, `"id":"b","i\u0064":"a"`),
		"upper case":                  payload(`"aud"`, `"AUD"`),
		"a field nobody knows":        payload(`"id":"a"`, `"id":"a","only":"reading"`),
		"a fact that is no text":      payload(`"sub"`, `"facts":{"a":1},"sub"`),
		"something after it":          forge(whole + "{}"),
		"a list":                      forge("[" + whole + "]"),
		"null":                        forge("null"),
		"an open object":              forge(whole[:len(whole)-1]),
		"not UTF-8":                   payload(`"a"`, "\"a\xff\""),
		"no time":                     payload(fmt.Sprintf(`"iat":%d,`, now.Unix()), ""),
		"a time that is no integer":   payload(`"iat":`, `"iat":0.5e1`),
		"a long life":                 payload(fmt.Sprint(now.Unix()+30), fmt.Sprint(now.Unix()+31)),
		"an end before its beginning": payload(fmt.Sprint(now.Unix()+30), fmt.Sprint(now.Unix()-1)),
		"another time altogether":     payload(fmt.Sprint(now.Unix()), "9223372036854775807"),
	} {
		if s, key, err := k.Verify(header, "weir-core", now); !errors.Is(err, identity.ErrRefused) || key != "" || !cmp.Equal(s, identity.Statement{}) {
			t.Errorf("%s: got %+v, key %q, %v", name, s, key, err)
		}
	}
	for _, age := range []time.Duration{-identity.Skew - time.Second, identity.Lifetime + identity.Skew + time.Second} {
		if _, _, err := k.Verify(signed, "weir-core", now.Add(age)); !errors.Is(err, identity.ErrRefused) {
			t.Errorf("after %s: %v", age, err)
		}
	}
}

// No bit of a header can be turned.
func TestEveryByteCounts(t *testing.T) {
	t.Parallel()
	k := ring(t, identity.Key{ID: "k1", Secret: secret})
	header, err := k.Sign(statement(), now)
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(header) {
		for bit := range 8 {
			turned := []byte(header)
			turned[i] ^= 1 << bit
			if _, _, err := k.Verify(string(turned), "weir-core", now); !errors.Is(err, identity.ErrRefused) {
				t.Fatalf("byte %d, bit %d: %v", i, bit, err)
			}
		}
	}
}

func TestWhatCannotBeSigned(t *testing.T) {
	t.Parallel()
	k := ring(t, identity.Key{ID: "k1", Secret: secret})
	for name, change := range map[string]func(*identity.Statement){
		"no principal":       func(s *identity.Statement) { s.Principal.ID = "" },
		"no audience":        func(s *identity.Statement) { s.Audience = "" },
		"not UTF-8":          func(s *identity.Statement) { s.Principal.ID = "\xff" },
		"a fact not UTF-8":   func(s *identity.Statement) { s.Facts["a"] = "\xff" },
		"an upper case fact": func(s *identity.Statement) { s.Facts["A"] = "" },
		"too much":           func(s *identity.Statement) { s.Facts["a"] = strings.Repeat("x", identity.MaxLength) },
	} {
		s := statement()
		s.Facts = maps.Clone(s.Facts)
		change(&s)
		if header, err := k.Sign(s, now); err == nil {
			t.Errorf("%s: %s", name, header)
		}
	}
}

func TestKeysThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	good := identity.Key{ID: "a", Secret: secret}
	for name, keys := range map[string][]identity.Key{
		"none":           nil,
		"no id":          {{Secret: secret}},
		"an id of dots":  {{ID: "a.b", Secret: secret}},
		"a long id":      {{ID: strings.Repeat("a", 33), Secret: secret}},
		"a short secret": {{ID: "a", Secret: secret[1:]}},
		"twice":          {good, good},
	} {
		if _, err := identity.NewKeyring(keys...); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Whatever comes, nothing panics; and what a holder of the key has not signed is refused, in any form.
func FuzzVerify(f *testing.F) {
	f.Add(golden)
	f.Add(forge(`{"aud":"weir-core","iat":1800000000,"exp":1800000030,"sub":{"id":"a"},"facts":{"a":"b"}}`))
	f.Add("v1.k1..")
	k := ring(f, identity.Key{ID: "k1", Secret: secret})
	f.Fuzz(func(t *testing.T, text string) {
		if s, _, err := k.Verify(text, "weir-core", now); err == nil {
			if again, err := k.Sign(s, now); err != nil {
				t.Errorf("%q was read but cannot be signed: %s %v", text, again, err)
			}
		}
		// A payload that its holder signed in any form: what is read from it is what is written back.
		s, _, err := k.Verify(forge(text), "weir-core", now)
		if err != nil {
			return
		}
		header, err := k.Sign(s, s.Issued)
		if err != nil {
			if len(text) > identity.MaxLength/2 {
				return // escapes may be shorter than what they are written back as
			}
			t.Fatalf("%q was read but cannot be signed: %v", text, err)
		}
		again, _, err := k.Verify(header, "weir-core", now)
		if diff := cmp.Diff(s, again); err != nil || diff != "" && len(s.Facts) > 0 {
			t.Errorf("%q: %v (-read +read again):\n%s", text, err, diff)
		}
	})
}
