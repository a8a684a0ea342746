// Package coercetest is a simple implementation of package coerce, for tests. It is based on the
// standard library.
package coercetest

import (
	"encoding/json"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// jsSpace lists the characters that ECMAScript ignores around a number.
const jsSpace = "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a" +
	"\u2028\u2029\u202f\u205f\u3000\ufeff"

var decimal = regexp.MustCompile(`^([-+]?)(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$`)

// Number returns the finite number in value, or "" if there is none.
func Number(value json.RawMessage) string {
	number := string(value)
	switch kind(value) {
	case '0':
	case '"':
		number = strings.Trim(text(value), jsSpace)
	default:
		return ""
	}
	parts := decimal.FindStringSubmatch(number)
	if parts == nil {
		return ""
	}
	whole, fraction, _ := strings.Cut(parts[2], ".")
	if whole = strings.TrimLeft(whole, "0"); whole == "" {
		whole = "0"
	}
	if fraction != "" {
		fraction = "." + fraction
	}
	number = strings.TrimPrefix(parts[1], "+") + whole + fraction + parts[3]
	if f, _ := strconv.ParseFloat(number, 64); math.IsInf(f, 0) {
		return ""
	}
	return number
}

const clock = `([01]\d|2[0-3]):[0-5]\d(:[0-5]\d([.,]\d+)?)?`

var dateShape = regexp.MustCompile(`^(\d{4}-\d{1,2}-\d{1,2})([Tt ](` + clock + `)` +
	`([Zz]| ?[-+]([01]\d|2[0-3])(:?[0-5]\d)?)?)?( UTC)?$`)

var rfc1123Shape = regexp.MustCompile(`^(Sun|Mon|Tue|Wed|Thu|Fri|Sat), \d\d? ` +
	`(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} ([01]\d|2[0-3])(:[0-5]\d){2} ` +
	`(GMT|UTC|[-+]([01]\d|2[0-3])[0-5]\d)$`)

// Time returns the time in value, in Unix milliseconds, or 0 if value is not a readable time.
func Time(value json.RawMessage) int64 {
	if ms := anyTime(value); ms >= 631_152_000_000 { // 1990
		return ms
	}
	return 0
}

func anyTime(value json.RawMessage) int64 {
	number := string(value)
	switch kind(value) {
	case '"':
		number = text(value)
		if regexp.MustCompile(`^\d{4}$`).MatchString(number) {
			return parseDate(number+"-1-1", "", "")
		}
		if parts := dateShape.FindStringSubmatch(number); parts != nil {
			return parseDate(parts[1], parts[3], strings.TrimSpace(parts[7]))
		}
		if rfc1123Shape.MatchString(number) {
			for _, zone := range []string{"GMT", "UTC", "-0700"} {
				if at, err := time.Parse("Mon, 2 Jan 2006 15:04:05 "+zone, number); err == nil {
					return at.UnixMilli()
				}
			}
		}
		if !regexp.MustCompile(`^[0-9]+$`).MatchString(number) {
			return 0
		}
	case '0':
	default:
		return 0
	}
	if i := strings.IndexAny(number, "eE"); i >= 0 { // big.Rat would expand a huge exponent
		if exponent, err := strconv.Atoi(number[i+1:]); err != nil || max(exponent, -exponent) > 10_000 {
			return 0
		}
	}
	n, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0
	}
	if n.Cmp(big.NewRat(31_557_600_000, 1)) < 0 {
		n.Mul(n, big.NewRat(1000, 1))
	}
	ms := new(big.Int).Quo(n.Num(), n.Denom())
	if ms.Sign() <= 0 || ms.Cmp(big.NewInt(8_640_000_000_000_000)) > 0 {
		return 0
	}
	return ms.Int64()
}

func parseDate(date, clock, offset string) int64 {
	layout, value := "2006-1-2", date
	if clock != "" {
		layout, value = layout+" 15:04", value+" "+clock
		if strings.Count(clock, ":") == 2 {
			layout += ":05"
		}
	}
	for _, zone := range []string{"", "Z07", "Z0700", "Z07:00"} {
		if at, err := time.Parse(layout+zone, value+strings.ToUpper(offset)); err == nil {
			return at.UnixMilli()
		}
	}
	return 0 // the month does not have that day
}

// kind returns '"' for a string, '0' for a number, and 0 for anything else.
func kind(value json.RawMessage) byte {
	switch {
	case len(value) > 0 && value[0] == '"':
		return '"'
	case len(value) > 0 && strings.IndexByte("-0123456789", value[0]) >= 0:
		return '0'
	}
	return 0
}

func text(value json.RawMessage) (s string) {
	if err := json.Unmarshal(value, &s); err != nil {
		panic(err)
	}
	return s
}
