package app

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
	"github.com/segment-to-launchdarkly/forwarder/consumer"
	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// The status page embeds its style and script, so a saved copy is complete. The content security
// policy allows both by their hashes.
var (
	//go:embed status.html
	statusHTML string
	//go:embed status.css
	statusStyle string
	//go:embed status.js
	statusScript string

	statusTemplate = template.Must(template.New("status").Funcs(template.FuncMap{
		"style":  func() template.CSS { return template.CSS(statusStyle) }, //nolint:gosec // an embedded file
		"script": func() template.JS { return template.JS(statusScript) },  //nolint:gosec // an embedded file
		"number": number, "brief": brief, "size": size, "short": short, "since": since, "status": statusText,
		"runbook": func() string { return runbook },
	}).Parse(statusHTML))

	contentPolicy = fmt.Sprintf("default-src 'none'; style-src %s; script-src %s; connect-src 'self'; img-src data:; "+
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'", hash(statusStyle), hash(statusScript))
)

// hash returns the source expression that allows text in a content security policy.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// page contains the data shown on the status page. It contains no record data other than positions,
// event names, and the field names of records that are not calls.
type page struct {
	Version, Host, Group, Address string
	Topics                        []string
	DeadLetters                   string // dead-letter topic; empty if there is none
	Now                           time.Time
	Uptime                        time.Duration

	State      state
	Partitions []partition              // stuck partitions first, then by lag
	Total      consumer.PartitionStatus // totals of all partitions; Age is the maximum, Oldest the minimum
	LastCommit time.Time                // zero before the first commit

	Counts counts // since the start
	Rates  rates  // over the last minute, or since the start if that is more recent

	Expected string    // requests per second expected for Rates
	Progress *Progress // nil unless the run ends on its own

	Charts []chart
	Names  []nameRow

	Warnings, Letters []logEntry // latest first

	EventList string // SHA-256 hash of segment.events.only_file; empty if it is not set
	Config    string // effective configuration as YAML, with secrets redacted
}

// partition is a row in the partition table.
type partition struct {
	consumer.PartitionStatus
	Stuck time.Duration // age of the oldest batch if it is overdue; otherwise 0
}

// statusPage returns the handler of the status page.
func (a *App) statusPage(ctx context.Context) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		read, sent := a.Status()
		total := countsOf(read, sent, a.budget)
		p := newPage(ctx.Err() != nil, read, sent, total, a.cfg.Batch.MaxAge)
		p.Version, p.Group, p.Topics = Version(), a.cfg.Kafka.Group, a.cfg.Kafka.Topics
		p.DeadLetters = a.cfg.DeadLetters.Topic
		p.Host, _ = os.Hostname() // the pod name in Kubernetes
		p.Address, p.Uptime = a.sink.Address(), p.Now.Sub(a.started)
		minuteAgo := a.history.minuteAgo(total)
		p.Rates = total.ratesSince(minuteAgo)
		p.Expected = formatRate(p.expectedRequests(a.cfg.Batch))
		p.Progress = a.progress.Load()
		p.reportNoEvents()
		p.Charts = charts(a.history.all())
		p.Names = nameRows(a.consumer.EventNames(shownNames), minuteAgo.Names, p.Rates)
		warnings, refused := a.recent.last()
		p.Warnings, p.Letters = warnings, undeliverable(read.Rejects, refused)
		p.EventList, p.Config = a.cfg.EventListHash(), a.config
		var body bytes.Buffer
		if err := statusTemplate.Execute(&body, p); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = body.WriteTo(w)
	})
}

// newPage returns a page in which only the fields derived from the arguments are set. maxAge is the
// age at which a batch is sealed.
func newPage(stopping bool, read consumer.Status, sent sink.Status, c counts, maxAge time.Duration) page {
	p := page{Now: time.Now(), Counts: c, LastCommit: read.LastCommit}
	overdue := maxAge + time.Minute
	for _, status := range read.Partitions {
		row := partition{PartitionStatus: status}
		if row.Age > overdue {
			row.Stuck = row.Age
		}
		p.Partitions = append(p.Partitions, row)
		p.Total.Lag += row.Lag
		p.Total.InFlight += row.InFlight
		p.Total.Age = max(p.Total.Age, row.Age)
		if !row.Oldest.IsZero() && (p.Total.Oldest.IsZero() || row.Oldest.Before(p.Total.Oldest)) {
			p.Total.Oldest = row.Oldest
		}
	}
	slices.SortStableFunc(p.Partitions, func(a, b partition) int {
		return cmp.Or(cmp.Compare(b.Stuck, a.Stuck), cmp.Compare(b.sortLag(), a.sortLag()))
	})
	p.State = stateOf(stopping, read, sent)
	if idle := min(p.Total.Age, time.Since(c.LastDelivery)); idle > overdue {
		p.State.Reasons = append(p.State.Reasons,
			fmt.Sprintf("no delivery for %s, with %d batches waiting", short(idle), p.Total.InFlight))
		if p.State.Tone == good {
			p.State.Tone, p.State.Word, p.State.Runbook = bad, "not delivering", "partitionstuck"
		}
	}
	return p
}

// expectedRequests returns the requests per second expected for the events of p.Rates, if they are
// spread evenly over the partitions.
func (p *page) expectedRequests(b config.Batch) float64 {
	partitions := float64(max(len(p.Partitions), 1))
	events := float64(p.Rates.outcome(transform.Event)) / max(p.Rates.Over.Seconds(), 1)
	return partitions * b.RequestRate(events/partitions)
}

// reportNoEvents sets the state to "no events" if the state is otherwise good, but the last minute
// had many calls and no events.
func (p *page) reportNoEvents() {
	calls, most := int64(0), call{}
	for c, n := range p.Rates.Calls {
		calls += n
		if n > p.Rates.Calls[most] || n == p.Rates.Calls[most] && c.Reason < most.Reason {
			most = c
		}
	}
	if p.State.Tone != good || calls < manyCalls || p.Rates.outcome(transform.Event) > 0 {
		return
	}
	p.State = state{wait, "no events", []string{fmt.Sprintf("none of the %s calls in the last minute became an event; "+
		"the most frequent reason is %s (%s)", number(calls), most.Reason, most.Outcome)}, "nothingmapped"}
}

// manyCalls is the minimum number of calls in the last minute for the state "no events".
const manyCalls = 100

// sortLag returns the lag, or 0 if it is below 10,000, so that rows do not change places on every
// refresh.
func (p partition) sortLag() int64 {
	if p.Lag < 10_000 {
		return 0
	}
	return p.Lag
}

// tone is the severity of a state.
type tone string

const (
	good tone = "good"
	wait tone = "wait" // transient
	bad  tone = "bad"  // an operator must act
)

// state is the headline of the status page.
type state struct {
	Tone    tone
	Word    string
	Reasons []string
	Runbook string // end of the anchor of a runbook section; empty if there is nothing to do
}

// runbook is the common prefix of the URLs of the runbook's sections. The anchor of a section is
// the name of an alert in lower case.
const runbook = "https://github.com/segment-to-launchdarkly/forwarder/blob/main/deploy/README.md#segmenttolaunchdarkly"

// stateOf returns the state. The reasons are those of /readyz, plus one for an outage of
// LaunchDarkly and one for a replica without partitions.
func stateOf(stopping bool, read consumer.Status, sent sink.Status) state {
	reasons := unready(stopping, read, sent)
	if o := sent.Outage; !o.Since.IsZero() && !o.Unreachable {
		reasons = append(reasons, outageText(o))
	}
	switch {
	case stopping:
		return state{wait, "draining", reasons, ""}
	case !sent.Halt.Since.IsZero():
		return state{bad, "halted", reasons, "halted"}
	case len(read.Problems) > 0 || sent.Outage.Unreachable:
		return state{bad, "needs attention", reasons, "problems"}
	case !read.Joined:
		return state{wait, "joining", reasons, "notjoined"}
	case !sent.Outage.Since.IsZero():
		return state{wait, "retrying", reasons, "retriessustained"}
	case len(read.Partitions) == 0:
		return state{
			wait, "standing by", []string{"no partition is assigned to this replica"}, "replicawithoutpartitions",
		}
	default:
		return state{good, "running", nil, ""}
	}
}
