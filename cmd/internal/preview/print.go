package preview

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// WriteJSON writes the summary as a JSON object.
func (s *Summary) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(s.report())
}

// Write writes the summary as text.
func (s *Summary) Write(w io.Writer) error {
	r := s.report()
	var b strings.Builder
	row := func(name, format string, a ...any) {
		fmt.Fprintf(&b, "%-12s%s\n", name, fmt.Sprintf(format, a...))
	}
	row("Records", "%s (median %s, p99 %s)", Number(r.Records), size(r.MedianBytes), size(r.P99Bytes))
	row("Calls", "%s", Number(r.Calls))
	for _, o := range r.Outcomes {
		row("", "%8s  %5.1f%%  %s", Number(o.Calls), 100*o.Share, strings.TrimSpace(o.Outcome+" "+o.Reason))
	}
	if len(r.Names) > 0 {
		columns := "%8s  %5s  %[4]s"
		if s.Metrics != nil {
			columns = "%8s  %5s  %-6s  %s"
		}
		row("Events", columns, "number", "value", "metric", "name")
		for _, n := range r.Names {
			row("", columns, Number(n.Events), fmt.Sprintf("%.0f%%", 100*n.WithMetricValue),
				map[bool]string{true: "yes", false: "no"}[s.Metrics[n.Name]], Cut(Printable(n.Name), 60))
		}
		if r.OtherNames > 0 {
			row("", "%s more names", Number(r.OtherNames))
		}
		row("Event time", "%s to %s", r.OldestEvent.Format(time.RFC3339), r.NewestEvent.Format(time.RFC3339))
	}
	if r.NoMetricValue > 0 {
		row("No value", "%8s  events without a metric value, although a field in launchdarkly.metric_value is present",
			Number(r.NoMetricValue))
	}
	if r.RecordTime > 0 {
		row("No time", "%8s  events use the record's timestamp, because the call contains no valid time",
			Number(r.RecordTime))
	}
	if r.SegmentCalls > 0 {
		row("IDs", "userId in %.0f%% of the Segment calls, anonymousId in %.0f%%, both in %.0f%%",
			100*share(r.UserID, r.SegmentCalls), 100*share(r.AnonymousID, r.SegmentCalls),
			100*share(r.BothIDs, r.SegmentCalls))
	}
	for i, p := range r.Projects {
		if i == shownNames {
			row("", "%s more sources", Number(len(r.Projects)-shownNames))
			break
		}
		row([]string{"Sources", ""}[min(i, 1)], "%8s  projectId %s", Number(p.Calls), Cut(Printable(p.ProjectID), 60))
	}
	for i, f := range r.Foreign {
		if i == shownNames {
			row("", "%s more formats", Number(len(r.Foreign)-shownNames))
			break
		}
		row([]string{"No calls", ""}[min(i, 1)], "%8s  %s", Number(f.Calls), f.describe())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// describe describes records that are not Segment calls and, if known, how to read them.
func (f foreignReport) describe() string {
	var parts []string
	if f.Format != "" {
		parts = append(parts, "looks like "+f.Format)
	}
	if f.Unwrap != "" {
		parts = append(parts, "contains Segment calls; set segment.unwrap: ["+Cut(Printable(f.Unwrap), 60)+"]")
	}
	names := make([]string, len(f.Names))
	for i, name := range f.Names {
		names[i] = Cut(Printable(name), 40)
	}
	if len(names) == 0 {
		names = []string{"(none)"}
	}
	return strings.Join(append(parts, "has the top-level names "+strings.Join(names, ", ")), "; ")
}

// Obstacle describes the most frequent reason why calls are not events. It returns "" if all calls
// are events.
func (s *Summary) Obstacle() string {
	reason := transform.None
	for other := range transform.Reasons {
		if other != transform.None && s.Calls[other] > s.Calls[reason] || reason == transform.None {
			reason = other
		}
	}
	if s.Calls[reason] == 0 {
		return ""
	}
	text := fmt.Sprintf("The most frequent reason is %s: %s.", reason, reason.Help())
	if foreign := s.report().Foreign; reason == transform.NotACall && len(foreign) > 0 {
		text += " A typical record " + foreign[0].describe() + "."
	}
	return text
}

// Describe returns the outcome of a call that is not an event, and the reason for it.
func Describe(call transform.Call) string {
	text := call.Reason.Outcome().String() + ", " + call.Reason.String() + ": " + call.Reason.Help()
	if call.Detail != "" {
		text += " (" + call.Detail + ")"
	}
	return text
}

// Number formats n with thousands separators.
func Number[T int | int64](n T) string {
	s := strconv.FormatInt(int64(n), 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func size(bytes int) string {
	if bytes < 1000 {
		return fmt.Sprintf("%d B", bytes)
	}
	return fmt.Sprintf("%.1f KB", float64(bytes)/1000)
}

// Printable replaces the nonprintable characters in text, which could control the terminal.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '\ufffd'
		}
		return r
	}, text)
}

// Cut shortens text to the given number of columns.
func Cut(text string, columns int) string {
	runes := []rune(text)
	if len(runes) <= columns {
		return text
	}
	return string(runes[:max(columns-1, 0)]) + "…"
}
