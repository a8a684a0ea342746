package verify

import (
	"bytes"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/app"
	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/preview"
)

// Report contains everything that the verify command prints.
type Report struct {
	Replicas   []app.Delivered      // empty if the deliveries come from Prometheus
	Compared   []time.Time          // hours, in order
	Requested  []time.Time          // hours, in order, including those compared
	Incomplete map[time.Time]string // reasons why deliveries are missing from requested hours
	Rows       []Row
}

// Write writes the report as text.
func (r *Report) Write(w io.Writer) error {
	var b bytes.Buffer
	for _, replica := range r.Replicas {
		fmt.Fprintf(&b, "Replica %s started at %s\n", replica.Replica, replica.Since.Format(time.RFC3339))
	}
	compared := map[time.Time]bool{}
	for _, hour := range r.Compared {
		compared[hour] = true
	}
	describe := func(hour time.Time) string {
		switch reason := r.Incomplete[hour]; {
		case reason == "":
			return "compared"
		case compared[hour]:
			return "compared although incomplete: " + reason
		default:
			return "not compared: " + reason
		}
	}
	for i := 0; i < len(r.Requested); {
		start, text := i, describe(r.Requested[i])
		for i < len(r.Requested) && describe(r.Requested[i]) == text {
			i++
		}
		fmt.Fprintf(&b, "Hours %s to %s %s\n", r.Requested[start].Format(time.RFC3339),
			r.Requested[i-1].Add(time.Hour).Format(time.RFC3339), text)
	}
	if len(r.Compared) > 0 {
		b.WriteString("\n")
		writeRows(&b, r.Rows)
		b.WriteString("\n" + notes)
	}
	if len(r.Replicas) > 0 {
		b.WriteString(replicaNotes)
	}
	_, err := w.Write(b.Bytes())
	return err
}

const (
	notes = "A key differs if its totals differ by more than 0.5% of the delivered events plus ten events.\n" +
		"LaunchDarkly's API is in beta, and its documentation does not fully define which events count.\n" +
		"Other senders of the same key, such as SDKs, raise the count.\n"
	replicaNotes = "Deliveries of replicas that have stopped are missing. " +
		"They are only in their log entries \"events delivered\".\n"
)

// writeRows writes a table with one line per event key.
func writeRows(b *bytes.Buffer, rows []Row) {
	if len(rows) == 0 {
		b.WriteString("No events were delivered or counted.\n")
		return
	}
	keys, width := make([]string, len(rows)), len("event key")
	for i, r := range rows {
		keys[i] = preview.Cut(preview.Printable(r.Key), 60)
		width = max(width, utf8.RuneCountInString(keys[i]))
	}
	const columns = "%13s  %13s  %13s  %-*s  %s\n"
	fmt.Fprintf(b, columns, "delivered", "counted", "difference", width, "event key", "verdict")
	for i, r := range rows {
		fmt.Fprintf(b, columns, preview.Number(r.Delivered), preview.Number(r.Counted),
			preview.Number(r.Counted-r.Delivered), width, keys[i], r.Verdict)
	}
}
