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

	"github.com/segment-to-launchdarkly/forwarder/consumer"
	"github.com/segment-to-launchdarkly/forwarder/sink"
)

// The status page is one document without a second request: it can be saved as it is.
// Its style and script are allowed by their hashes.
var (
	//go:embed status.html
	statusHTML string
	//go:embed status.css
	statusStyle string
	//go:embed status.js
	statusScript string

	statusTemplate = template.Must(template.New("status").Funcs(template.FuncMap{
		"style":  func() template.CSS { return template.CSS(statusStyle) }, //nolint:gosec // our own file
		"script": func() template.JS { return template.JS(statusScript) },  //nolint:gosec // our own file
		"number": number, "brief": brief, "size": size, "short": short, "since": since, "status": statusText,
	}).Parse(statusHTML))

	contentPolicy = fmt.Sprintf("default-src 'none'; style-src %s; script-src %s; connect-src 'self'; img-src data:; "+
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'", hash(statusStyle), hash(statusScript))
)

// hash returns a source expression of the Content-Security-Policy.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// page is what the status page tells. Of configuration it holds only what is named
// here, of records only where they are.
type page struct {
	Version, Host, Group, Address string
	Topics                        []string
	DeadLetters                   string // topic, empty if there is none
	Now                           time.Time
	Uptime                        time.Duration

	State      state
	Partitions []partition              // stuck ones first, then by lag
	Total      consumer.PartitionStatus // of all; its Age is the oldest
	LastCommit time.Time                // zero before the first

	Counts counts // since the start
	Rates  rates  // in the last minute, or since the start

	Troubles, Letters []happening // latest first
}

// partition is a row of the table.
type partition struct {
	consumer.PartitionStatus
	Stuck time.Duration // Age, if the oldest batch should long be delivered, else 0
}

// statusPage returns the handler of the status page.
func (a *App) statusPage(ctx context.Context) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		read, sent := a.Status()
		total := countsOf(read, sent, a.budget)
		p := newPage(ctx.Err() != nil, read, sent.Halt, total, a.cfg.Batch.MaxAge)
		p.Version, p.Group, p.Topics, p.DeadLetters = Version(), a.cfg.Kafka.Group, a.cfg.Kafka.Topics, a.cfg.DeadLetters.Topic
		p.Host, _ = os.Hostname() // the name of the pod
		p.Address, p.Uptime = a.sink.Address(), p.Now.Sub(a.started)
		p.Rates = total.ratesSince(a.minute.ago(total))
		p.Troubles, p.Letters = a.recent.last()
		var body bytes.Buffer
		if err := statusTemplate.Execute(&body, p); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = body.WriteTo(w)
	})
}

// newPage returns the page with what is derived from the state of the parts. maxAge is
// how old a batch becomes before it is sealed.
func newPage(stopping bool, s consumer.Status, h sink.Halt, c counts, maxAge time.Duration) page {
	p := page{Now: time.Now(), Counts: c, LastCommit: s.LastCommit}
	long := maxAge + time.Minute
	for _, status := range s.Partitions {
		row := partition{PartitionStatus: status}
		if row.Age > long {
			row.Stuck = row.Age
		}
		p.Partitions = append(p.Partitions, row)
		p.Total.Lag += row.Lag
		p.Total.InFlight += row.InFlight
		p.Total.Age = max(p.Total.Age, row.Age)
	}
	slices.SortStableFunc(p.Partitions, func(a, b partition) int {
		return cmp.Or(cmp.Compare(b.Stuck, a.Stuck), cmp.Compare(b.behind(), a.behind()))
	})
	p.State = stateOf(stopping, s, h)
	if idle := min(p.Total.Age, time.Since(c.LastDelivery)); idle > long {
		p.State.Reasons = append(p.State.Reasons, fmt.Sprintf("nothing was delivered for %s, while %d batches wait", short(idle), p.Total.InFlight))
		if p.State.Tone == good {
			p.State.Tone, p.State.Word = bad, "not delivering"
		}
	}
	return p
}

// behind returns the lag, unless it is ordinary: then rows keep their places when the
// page refreshes.
func (p partition) behind() int64 {
	if p.Lag < 10_000 {
		return 0
	}
	return p.Lag
}

// tone is how grave a state is.
type tone string

const (
	good tone = "good"
	wait tone = "wait" // it passes by itself
	bad  tone = "bad"  // somebody must act
)

// state is the page's headline.
type state struct {
	Tone    tone
	Word    string
	Reasons []string
}

// stateOf returns the state. Its reasons are those of /readyz.
func stateOf(stopping bool, s consumer.Status, h sink.Halt) state {
	reasons := unready(stopping, s, h)
	switch {
	case stopping:
		return state{wait, "draining", reasons}
	case !h.Since.IsZero():
		return state{bad, "halted", reasons}
	case len(s.Problems) > 0:
		return state{bad, "in trouble", reasons}
	case !s.Joined:
		return state{wait, "joining", reasons}
	case len(s.Partitions) == 0:
		return state{wait, "standing by", []string{"no partition is assigned to this replica"}}
	default:
		return state{good, "running", nil}
	}
}
