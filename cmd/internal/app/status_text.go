package app

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink"
)

// These functions format numbers and times for the status page template.

// number formats an integer with digit groups: 1,234,567.
func number(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// brief formats an integer in a short form, such as "999,999", "12.3 M", or "1.2 B".
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

// formatRate formats a rate per second.
func formatRate(perSecond float64) string {
	if 0 < perSecond && perSecond < 100 {
		return fmt.Sprintf("%.1f", perSecond)
	}
	return brief(int64(perSecond))
}

// percent formats part/whole. It returns a dash if whole is 0.
func percent(part, whole int64) string {
	if whole == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f%%", 100*float64(part)/float64(whole))
}

// size formats a number of bytes as KiB or MiB.
func size(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%d KiB", (n+1023)>>10)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

// short formats a duration in its two largest units.
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

// since formats the time elapsed since t.
func since(t time.Time) string { return short(max(time.Since(t), 0)) }

// statusText describes a response from LaunchDarkly. code is a value of the code label in metrics:
// a status code or "error".
func statusText(code string) string {
	if n, err := strconv.Atoi(code); err == nil {
		return code + " " + http.StatusText(n)
	}
	return "no valid response"
}

// outageText describes an outage of LaunchDarkly.
func outageText(o sink.Outage) string {
	next := "next attempt now"
	if wait := time.Until(o.Next); wait > 0 {
		next = "next attempt in " + short(wait)
	}
	text := fmt.Sprintf("requests to LaunchDarkly failing since %s (%s failed in a row, %s): %s",
		o.Since.UTC().Format(time.RFC3339), number(int64(o.Attempts)), next, o.Cause)
	if o.Advice != "" {
		text += ". " + o.Advice
	}
	return text
}
