package app

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap/zapcore"
)

// recent keeps the last warnings and errors that were logged, for the status page. It
// is a [zapcore.Core] beside the one that writes the log. Of an entry it keeps the
// message and the fields named in shown, so that no other can appear.
type recent struct {
	kept   *kept
	fields []zapcore.Field // of With
}

type kept struct {
	mu       sync.Mutex  // guards the fields below
	troubles []happening // latest first, at most recentKept
	letters  []happening // the same; calls that can never be delivered
}

const (
	recentKept   = 10
	messageBytes = 300 // of a message, which may hold an error of the Kafka client
)

// shown are the fields that are kept, in the order in which they are shown.
var shown = []string{"reason", "status", "topic", "partition", "offset", "next_offset", "attempt"}

// happening is a log entry, or several that tell the same.
type happening struct {
	Time           time.Time // of the last
	Times          int
	Level, Message string
	Details        string // the fields in shown
}

func newRecent() *recent { return &recent{kept: &kept{}} }

// Enabled, With, Check, Write and Sync make it a core.
func (r *recent) Enabled(l zapcore.Level) bool { return l >= zapcore.WarnLevel }

func (r *recent) With(fields []zapcore.Field) zapcore.Core {
	return &recent{kept: r.kept, fields: slices.Concat(r.fields, fields)}
}

func (r *recent) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if r.Enabled(e.Level) {
		return ce.AddCore(e, r)
	}
	return ce
}

func (r *recent) Write(e zapcore.Entry, fields []zapcore.Field) error {
	known := zapcore.NewMapObjectEncoder()
	for _, f := range slices.Concat(r.fields, fields) {
		f.AddTo(known)
	}
	var details []string
	for _, name := range shown {
		if value, ok := known.Fields[name]; ok {
			details = append(details, fmt.Sprintf("%s %v", name, value))
		}
	}
	h := happening{e.Time, 1, e.Level.String(), e.Message, strings.Join(details, ", ")}
	if len(h.Message) > messageBytes {
		h.Message = strings.ToValidUTF8(h.Message[:messageBytes], "") + "…"
	}
	list := &r.kept.troubles
	if _, ok := known.Fields["reason"]; ok { // only what is logged of such calls has one
		list = &r.kept.letters
	}

	r.kept.mu.Lock()
	defer r.kept.mu.Unlock()
	same := func(old happening) bool { return old.Message == h.Message && old.Details == h.Details }
	if i := slices.IndexFunc(*list, same); i >= 0 {
		h.Times += (*list)[i].Times
		*list = slices.Delete(*list, i, i+1)
	}
	*list = slices.Insert(*list, 0, h)
	*list = (*list)[:min(len(*list), recentKept)]
	return nil
}

func (r *recent) Sync() error { return nil }

// last returns both lists.
func (r *recent) last() (troubles, letters []happening) {
	r.kept.mu.Lock()
	defer r.kept.mu.Unlock()
	return slices.Clone(r.kept.troubles), slices.Clone(r.kept.letters)
}
