package app

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/segment-to-launchdarkly/forwarder/consumer"
)

// recent keeps the latest logged warnings and errors for the status page. This [zapcore.Core] runs
// alongside the one that writes the log. It keeps an entry's message and the fields listed in
// shown, so the page cannot show any other fields.
type recent struct {
	kept   *kept
	fields []zapcore.Field // added by With
}

// kept is the storage that a [recent] shares with all cores derived from it by With.
type kept struct {
	mu       sync.Mutex // guards the fields below
	warnings []logEntry // latest first, at most recentKept
	refused  []logEntry // events rejected by LaunchDarkly; latest first, at most recentKept
}

const (
	recentKept   = 10  // entries kept per list
	messageBytes = 300 // maximum length of a message; errors of the Kafka client can be long
)

// shown lists the log fields to keep, in display order.
var shown = []string{"reason", "status", "topic", "partition", "offset", "next_offset", "attempt"}

// logEntry is a log entry, or several with the same message and details. It can also represent the
// calls that the mapping rejected for one reason.
type logEntry struct {
	Time           time.Time // time of the latest entry or call
	Times          int64     // number of entries or calls
	Level, Message string
	Details        string // the fields listed in shown
}

func newRecent() *recent { return &recent{kept: &kept{}} }

// Enabled implements [zapcore.Core].
func (r *recent) Enabled(l zapcore.Level) bool { return l >= zapcore.WarnLevel }

// With implements [zapcore.Core].
func (r *recent) With(fields []zapcore.Field) zapcore.Core {
	return &recent{kept: r.kept, fields: slices.Concat(r.fields, fields)}
}

// Check implements [zapcore.Core].
func (r *recent) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if r.Enabled(e.Level) {
		return ce.AddCore(e, r)
	}
	return ce
}

// Write implements [zapcore.Core]. It adds the entry to one of the lists. It ignores entries about
// calls rejected by the mapping, because the page takes these calls from [consumer.Status].
func (r *recent) Write(e zapcore.Entry, fields []zapcore.Field) error {
	known := zapcore.NewMapObjectEncoder()
	for _, f := range slices.Concat(r.fields, fields) {
		f.AddTo(known)
	}
	if _, ok := known.Fields["call"]; ok { // only entries about calls rejected by the mapping name a call
		return nil
	}
	var details []string
	for _, name := range shown {
		if value, ok := known.Fields[name]; ok {
			details = append(details, fmt.Sprintf("%s %v", name, value))
		}
	}
	entry := logEntry{e.Time, 1, e.Level.String(), e.Message, strings.Join(details, ", ")}
	if len(entry.Message) > messageBytes {
		entry.Message = strings.ToValidUTF8(entry.Message[:messageBytes], "") + "…"
	}
	list := &r.kept.warnings
	if _, ok := known.Fields["reason"]; ok { // only entries about events rejected by LaunchDarkly have a reason
		list = &r.kept.refused
	}

	r.kept.mu.Lock()
	defer r.kept.mu.Unlock()
	same := func(old logEntry) bool { return old.Message == entry.Message && old.Details == entry.Details }
	if i := slices.IndexFunc(*list, same); i >= 0 {
		entry.Times += (*list)[i].Times
		*list = slices.Delete(*list, i, i+1)
	}
	*list = slices.Insert(*list, 0, entry)
	*list = (*list)[:min(len(*list), recentKept)]
	return nil
}

// Sync implements [zapcore.Core].
func (r *recent) Sync() error { return nil }

// last returns copies of both lists.
func (r *recent) last() (warnings, refused []logEntry) {
	r.kept.mu.Lock()
	defer r.kept.mu.Unlock()
	return slices.Clone(r.kept.warnings), slices.Clone(r.kept.refused)
}

// undeliverable combines the calls rejected by the mapping with the events rejected by
// LaunchDarkly, latest first.
func undeliverable(rejects []consumer.RejectedCalls, refused []logEntry) []logEntry {
	all := slices.Clone(refused)
	for _, c := range rejects {
		all = append(all, logEntry{c.Time, c.Count, zapcore.WarnLevel.String(), "call rejected",
			fmt.Sprintf("reason %v, topic %s, partition %d, offset %d, call %d: %s",
				c.Reason, c.Topic, c.Partition, c.Offset, c.Call, c.Detail)})
	}
	slices.SortStableFunc(all, func(a, b logEntry) int { return b.Time.Compare(a.Time) })
	return all
}
