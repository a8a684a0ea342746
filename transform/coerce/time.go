package coerce

import (
	"bytes"
	"slices"
)

// Time returns the time in raw, in whole Unix milliseconds. ok is false if raw is empty or
// unreadable. The supported formats are those that occur in practice:
//
//   - RFC 3339: a date, T or a space, a time of day with any number of fractional digits, and an
//     offset such as Z or +07:00
//   - variants with an offset such as +0700 or +07, with a space before a numeric offset, without
//     an offset (meaning UTC), without seconds, with a comma before the fraction, with a one-digit
//     month or day, or with " UTC" at the end, as in " +0000 UTC"
//   - a date alone, meaning midnight UTC, or a string of four digits, meaning the start of the year
//   - RFC 1123, in GMT, in UTC, or with a numeric offset
//   - a JSON number, or a string of any number of digits other than four; see epochMs
//
// Times before 1990 count as unreadable, because nearly all of them are unset or in another unit.
func (r *Reader) Time(raw []byte) (ms int64, ok bool) {
	switch {
	case len(raw) == 0:
		return 0, false
	case raw[0] == '"':
		s := raw[1 : len(raw)-1]
		if ms, ok = dateMs(s); !ok {
			ms, ok = r.rareMs(r.text(raw)) // the string may contain escapes
		}
	case isNumber(raw[0]):
		ms, ok = epochMs(raw)
	}
	return ms, ok && ms >= minMs
}

// minMs is the start of 1990.
const minMs = 631_152_000_000

// rareMs parses the decoded content of a string whose raw content dateMs cannot parse.
func (r *Reader) rareMs(s []byte) (ms int64, ok bool) {
	n := digits(s)
	if n > 0 && n == len(s) && n != len("2020") {
		return epochMs(s)
	}
	out := r.scratch[:0]
	switch {
	case n == len("2020") && n == len(s):
		out = append(append(out, s...), "-01-01"...)
	case n == 0:
		out = appendRFC1123(out, s)
	default:
		out = append(out, s...)
	}
	for _, i := range [...]int{len("2020-"), len("2020-06-")} {
		if len(out) > i && out[i-1] == '-' && digits(out[i:]) == 1 {
			out = slices.Insert(out, i, '0')
		}
	}
	out = bytes.TrimSuffix(out, []byte(" UTC"))
	i := bytes.LastIndexByte(out, ' ')
	if i > len("2020-06-19") && i+1 < len(out) && (out[i+1] == '+' || out[i+1] == '-') {
		out = slices.Delete(out, i, i+1)
	}
	r.scratch = out
	return dateMs(out)
}

const (
	weekdays = "SunMonTueWedThuFriSat"
	months   = "JanFebMarAprMayJunJulAugSepOctNovDec"
)

// appendRFC1123 appends a time such as "Fri, 19 Jun 2020 17:39:30 GMT" in the form
// "2020-06-19 17:39:30", followed by the offset if it is numeric. It appends nothing if s is not
// such a time.
func appendRFC1123(dst, s []byte) []byte {
	if len(s) < 5 || s[3] != ',' || s[4] != ' ' || indexOfName(weekdays, s) < 0 {
		return dst
	}
	day := digits(s[5:])
	rest := s[5+day:] // " Jun 2020 17:39:30 GMT"
	if day < 1 || day > 2 || len(rest) < 22 || rest[0] != ' ' || rest[4] != ' ' || rest[9] != ' ' || rest[18] != ' ' {
		return dst
	}
	month := indexOfName(months, rest[1:])
	clock, zone := rest[9:18], rest[18:]
	switch {
	case month < 0 || clock[3] != ':' || clock[6] != ':':
		return dst
	case string(zone) == " GMT", string(zone) == " UTC":
		zone = nil
	case len(zone) != len(" +0000"):
		return dst
	}
	dst = append(dst, rest[5:9]...)
	dst = append(dst, '-', byte('0'+(month+1)/10), byte('0'+(month+1)%10), '-')
	dst = append(dst, s[5:5+day]...)
	dst = append(dst, clock...)
	return append(dst, zone...)
}

// indexOfName returns the index of the name that s begins with, or -1 if there is none. names is a
// concatenation of three-letter names.
func indexOfName(names string, s []byte) int {
	for i := 0; i < len(names); i += 3 {
		if names[i:i+3] == string(s[:3]) {
			return i / 3
		}
	}
	return -1
}

// msFrom is the smallest number that counts as milliseconds. Smaller numbers count as seconds. Both
// the rule and the value (365.25 days) come from Segment's new-date library.
const msFrom = 31_557_600_000

// maxMs is the latest time that ECMAScript, and therefore Segment's own code, can represent.
const maxMs = 8_640_000_000_000_000

// epochMs parses a JSON number, or a string of digits, as Unix time in seconds or milliseconds.
func epochMs(s []byte) (ms int64, ok bool) {
	// n * 10^exp is the parsed number times 1,000. n has at most 19 digits, enough to hold maxMs *
	// 1,000. Digits that do not fit belong to a fraction or to a number that is too large.
	var n uint64
	exp, fraction := 3, false
	for i, c := range s {
		switch {
		case isDigit(c):
			if n < 1e18 {
				n = n*10 + uint64(c-'0')
				if fraction {
					exp--
				}
			} else if !fraction {
				exp++
			}
		case c == '.':
			fraction = true
		case c == '-':
			return 0, false
		default: // e or E
			exp += exponent(s[i+1:])
			return scale(n, exp)
		}
	}
	return scale(n, exp)
}

// scale converts n * 10^exp / 1,000, a time in seconds or milliseconds (see msFrom), to Unix
// milliseconds. ok is false if the time is after maxMs.
func scale(n uint64, exp int) (ms int64, ok bool) {
	for ; exp > 0 && n > 0; exp-- {
		if n > maxMs*1000/10 {
			return 0, false
		}
		n *= 10
	}
	for ; exp < 0 && n > 0; exp++ {
		n /= 10
	}
	if n >= msFrom*1000 {
		n /= 1000
	}
	return int64(n), n <= maxMs
}

// exponent parses the exponent of a JSON number. If the exponent is too large for any time, the
// result lacks some of its digits.
func exponent(s []byte) int {
	n, negative := 0, false
	for _, c := range s {
		switch {
		case c == '-':
			negative = true
		case c == '+':
		case n < 1_000_000:
			n = n*10 + int(c-'0')
		}
	}
	if negative {
		return -n
	}
	return n
}

// dateMs parses a date with or without a time of day. It does not accept leap seconds (:60) or
// 24:00.
func dateMs(s []byte) (ms int64, ok bool) {
	if len(s) < 10 || s[4] != '-' || s[7] != '-' {
		return 0, false
	}
	century, year, month, day := two(s), two(s[2:]), two(s[5:]), two(s[8:])
	if century < 0 || year < 0 {
		return 0, false
	}
	year += 100 * century
	if month < 1 || month > 12 || day < 1 || day > daysIn(year, month) {
		return 0, false
	}
	ms = int64(daysSince1970(year, month, day)) * 86_400_000
	if s = s[10:]; len(s) == 0 {
		return ms, true
	}

	if len(s) < 6 || s[0]|0x20 != 't' && s[0] != ' ' || s[3] != ':' {
		return 0, false
	}
	hour, minute := two(s[1:]), two(s[4:])
	if hour < 0 || hour > 23 || minute < 0 || minute > 59 {
		return 0, false
	}
	ms += int64(hour*60+minute) * 60_000
	if s = s[6:]; len(s) >= 3 && s[0] == ':' {
		second := two(s[1:])
		if second < 0 || second > 59 {
			return 0, false
		}
		ms += int64(second) * 1000
		if s = s[3:]; len(s) > 0 && (s[0] == '.' || s[0] == ',') {
			end, unit := 1, int64(100)
			for ; end < len(s) && isDigit(s[end]); end++ {
				ms += int64(s[end]-'0') * unit
				unit /= 10
			}
			if end == 1 {
				return 0, false
			}
			s = s[end:]
		}
	}

	offset, ok := offsetMinutes(s)
	return ms - int64(offset)*60_000, ok
}

// offsetMinutes parses the UTC offset after the time of day. An empty offset means UTC.
func offsetMinutes(s []byte) (minutes int, ok bool) {
	switch {
	case len(s) == 0, len(s) == 1 && s[0]|0x20 == 'z':
		return 0, true
	case len(s) == 6 && s[3] == ':':
		minutes = two(s[4:])
	case len(s) == 5:
		minutes = two(s[3:])
	case len(s) == 3:
	default:
		return 0, false
	}
	hours := two(s[1:])
	if hours < 0 || hours > 23 || minutes < 0 || minutes > 59 {
		return 0, false
	}
	minutes += hours * 60
	if s[0] == '-' {
		return -minutes, true
	}
	return minutes, s[0] == '+'
}

// digits returns the number of leading digits in s.
func digits(s []byte) (n int) {
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return n
}

// two parses the first two bytes of s as a number. It returns -1 if either is not a digit.
func two(s []byte) int {
	if !isDigit(s[0]) || !isDigit(s[1]) {
		return -1
	}
	return int(s[0]-'0')*10 + int(s[1]-'0')
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	default:
		return 31
	}
}

// daysSince1970 returns the number of days from 1970-01-01 to a date. Internally, years begin in
// March, so that a leap day is the last day of its year.
func daysSince1970(year, month, day int) int {
	month -= 3
	if month < 0 {
		month += 12
		year--
	}
	// (153*month+2)/5 is the number of days between the start of the year and the start of the
	// month. There are 719,468 days from 0000-03-01 to 1970-01-01.
	return 365*year + year/4 - year/100 + year/400 + (153*month+2)/5 + day - 1 - 719_468
}
