package app

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// What the status page writes numbers and times with.

// number writes an integer with its digits in groups of three.
func number(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// brief writes an integer in the space of a tile.
func brief(n int64) string {
	switch {
	case n < 1e6:
		return number(n)
	case n < 1e9:
		return fmt.Sprintf("%.1f M", float64(n)/1e6)
	default:
		return fmt.Sprintf("%.1f B", float64(n)/1e9)
	}
}

// size writes a number of bytes.
func size(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%d KiB", (n+1023)>>10)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

// short writes a duration by its two largest units.
func short(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Hour:
		return d.Truncate(time.Second).String()
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	}
}

// since writes how long ago a time was.
func since(t time.Time) string { return short(max(time.Since(t), 0)) }

// statusText names LaunchDarkly's answer.
func statusText(code string) string {
	if n, err := strconv.Atoi(code); err == nil {
		return code + " " + http.StatusText(n)
	}
	return "no readable answer"
}
