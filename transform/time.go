package transform

// time parses a field's value as a time and returns it in whole Unix milliseconds. ok is false if
// the field is absent or unreadable. The supported formats are those that occur in practice:
//
//   - RFC 3339: a date, T or a space, a time of day with any number of fractional digits, and an
//     offset such as Z or +07:00
//   - variants with an offset such as +0700, without an offset (meaning UTC), or without seconds
//   - a date alone, meaning midnight UTC
//   - a JSON number, or a string of digits; see epochMs
//
// Times at or before the start of 1970 count as unreadable, because many programs write them for an
// unset time.
func (t *Transformer) time(raw []byte) (ms int64, ok bool) {
	switch {
	case len(raw) == 0:
		return 0, false
	case raw[0] == '"':
		s := raw[1 : len(raw)-1]
		if ms, ok = dateMs(s); !ok {
			if s = t.scan.Text(raw); len(s) > 0 && digits(s) == len(s) {
				ms, ok = epochMs(s)
			} else {
				ms, ok = dateMs(s) // the string may contain escapes
			}
		}
	case isNumber(raw[0]):
		ms, ok = epochMs(raw)
	}
	return ms, ok && ms > 0
}

// msFrom is the smallest number that counts as milliseconds. Smaller numbers count as seconds. Both
// the rule and the value (365.25 days) come from Segment's new-date library.
const msFrom = 31_557_600_000

// maxMs is the latest time that ECMAScript, and therefore Segment's own code, can represent.
const maxMs = 8_640_000_000_000_000

// epochMs parses a JSON number, or a string of digits, as Unix time in seconds or milliseconds.
func epochMs(s []byte) (ms int64, ok bool) {
	// n * 10^exp is the number times 1,000. n has at most 19 digits, which is enough for maxMs *
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

// exponent parses the exponent of a JSON number. It truncates an exponent that is too large for any
// time.
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
		if s = s[3:]; len(s) > 0 && s[0] == '.' {
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

func isDigit(c byte) bool { return c-'0' <= 9 }

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
