package config

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// complaint is a problem that does not know its place yet.
type complaint struct{ message, cure string }

// sizeUnits are the units of sizes, the longer spelling before the shorter one that it ends in.
var sizeUnits = [...]struct {
	name  string
	bytes int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
	{"B", 1},
}

const sizeCure = `write whole bytes, or a whole number with KB, MB, GB, TB (thousands) or KiB, MiB, GiB, TiB (1024s), as "64MiB"`

// setScalar gives field the value that text stands for. Bounds are not its business.
func setScalar(field reflect.Value, s setting, text string) *complaint {
	switch s.kind {
	case textKind, secretKind:
		field.SetString(text)
	case boolKind:
		switch text {
		case "true":
			field.SetBool(true)
		case "false":
			field.SetBool(false)
		default:
			return &complaint{"expected true or false, got " + shown(text), "write true or false"}
		}
	case numberKind:
		n, err := strconv.ParseInt(text, 10, 64)
		if errors.Is(err, strconv.ErrRange) {
			return &complaint{strings.Trim(shown(text), `"`) + " is too large", "write a smaller number"}
		}
		if err != nil {
			return &complaint{"expected a whole number, got " + shown(text), "write digits only"}
		}
		field.SetInt(n)
	case sizeKind:
		n, ok := parseSize(text)
		if !ok {
			return &complaint{"expected a size, got " + shown(text), sizeCure}
		}
		field.SetInt(n)
	case durationKind:
		d, wrong := parseDuration(text)
		if wrong != nil {
			return wrong
		}
		field.SetInt(int64(d))
	default:
		panic(fmt.Sprintf("config: %s is not a scalar", s.key))
	}
	return nil
}

// parseDuration reads a duration with units. A bare number is refused even when it is zero: which unit was meant is a guess.
func parseDuration(text string) (time.Duration, *complaint) {
	if isNumber(text) {
		return 0, &complaint{
			fmt.Sprintf("expected a duration, got %s without a unit", text),
			fmt.Sprintf("write the unit, as \"%ss\" or \"%sms\"", text, text),
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		cure := `write numbers with units, as "30s", "1m30s" or "250ms"`
		if days, ok := strings.CutSuffix(text, "d"); ok && isNumber(days) {
			cure = "the longest unit is the hour: write days as hours, as \"24h\""
		}
		return 0, &complaint{"expected a duration, got " + shown(text), cure}
	}
	return d, nil
}

func isNumber(text string) bool {
	if text == "" || strings.Trim(text, "0123456789.+-") != "" {
		return false
	}
	_, err := strconv.ParseFloat(text, 64)
	return err == nil
}

// parseSize reads whole bytes, or a whole number with a unit.
func parseSize(text string) (int64, bool) {
	number, unit := text, int64(1)
	for _, u := range sizeUnits {
		if head, ok := strings.CutSuffix(text, u.name); ok {
			number, unit = strings.TrimRight(head, " "), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n > math.MaxInt64/unit || n < math.MinInt64/unit {
		return 0, false
	}
	return n * unit, true
}

// scalarText is the value of field in the form that setScalar reads; Secrets are masked.
func scalarText(field reflect.Value, s setting) string {
	switch s.kind {
	case textKind:
		return field.String()
	case secretKind:
		return Secret(field.String()).mask()
	case boolKind:
		return strconv.FormatBool(field.Bool())
	case numberKind, sizeKind:
		return strconv.FormatInt(field.Int(), 10)
	case durationKind:
		return durationText(time.Duration(field.Int()))
	}
	panic(fmt.Sprintf("config: %s is not a scalar", s.key))
}

// durationText is d without the zero units that time.Duration.String adds: 2m, not 2m0s.
func durationText(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// sizeText says n bytes in the largest binary unit that divides it, for people.
func sizeText(n int64) string {
	for i := 3; i >= 0; i-- {
		if u := sizeUnits[i]; n != 0 && n%u.bytes == 0 {
			return fmt.Sprintf("%d (%d%s)", n, n/u.bytes, u.name)
		}
	}
	return strconv.FormatInt(n, 10)
}

// shown quotes a value for a message. A value with an @ may be a URL with a password in it, so it is left out.
func shown(text string) string {
	const most = 60
	switch {
	case strings.Contains(text, "@"):
		return "a text with an @ (not shown: it may hold a password)"
	case len(text) > most:
		cut := most
		for cut > 0 && !utf8.RuneStart(text[cut]) {
			cut--
		}
		return strconv.Quote(text[:cut]) + "…"
	}
	return strconv.Quote(text)
}
