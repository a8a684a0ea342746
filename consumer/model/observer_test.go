package model

import (
	"strings"
	"testing"
)

// The observer reports each step that violates a rule, and no others.
func TestObserverReportsOnlyViolations(t *testing.T) {
	commit := func(log int, offset int64, cuts ...int64) func(*Observer) error {
		return func(o *Observer) error { return o.Commit(Commit{Log: log, Offset: offset, Cuts: cuts}) }
	}
	request := func(id string, body uint64, log int, offsets ...int64) func(*Observer) error {
		return func(o *Observer) error {
			return o.Request(Request{Log: log, Offsets: offsets, ID: id, Body: body, Accepted: true})
		}
	}
	truncated := func(end int64) func(*Observer) error {
		return func(o *Observer) error { o.Truncated(0, end); return nil }
	}
	letter := func(o *Observer) error { o.DeadLetter(0, 3); return nil }
	reset := func(o *Observer) error { o.Reset(0); return nil }
	for _, tt := range []struct {
		name  string
		steps []func(*Observer) error
		want  string // prefix of the error of the last step
	}{
		{"delivered and committed", []func(*Observer) error{commit(0, 0, 4), request("a", 1, 0, 0, 2, 3),
			request("a", 1, 0, 0, 2, 3), commit(0, 4)}, ""},
		{"in halves", []func(*Observer) error{commit(0, 0, 4), request("a", 1, 0, 0), request("b", 2, 0, 2), letter,
			commit(0, 4)}, ""},
		{"offset goes back", []func(*Observer) error{commit(0, 2), commit(0, 1)}, "committed offset decreased"},
		{"reset", []func(*Observer) error{commit(0, 2), reset, commit(0, 1)}, ""},
		{"undelivered", []func(*Observer) error{commit(0, 0, 4), request("a", 1, 0, 0), commit(0, 3)}, "commit passes"},
		{"cut vanishes", []func(*Observer) error{commit(0, 0, 1, 4), commit(0, 0, 1)}, "recorded range changed"},
		{"cut inserted", []func(*Observer) error{commit(0, 0, 4), commit(0, 0, 2, 4)}, "recorded range changed"},
		{"range not recorded", []func(*Observer) error{commit(0, 0, 2), request("a", 1, 0, 0, 2)},
			"request for a range"},
		{"not a half", []func(*Observer) error{commit(0, 0, 4), request("a", 1, 0, 0, 2)}, "request for a range"},
		{"two bodies", []func(*Observer) error{commit(0, 0, 1), request("a", 1, 0, 0), request("a", 2, 0, 0)},
			"payload ID with two bodies"},
		{"two ranges", []func(*Observer) error{commit(0, 0, 1, 3), request("a", 1, 0, 0), request("a", 1, 0, 2)},
			"payload ID for two ranges"},
		{"event under two IDs", []func(*Observer) error{commit(0, 0, 1), request("a", 1, 0, 0), request("b", 1, 0, 0)},
			"event counted twice"},
		{"truncated", []func(*Observer) error{commit(0, 0, 4), request("a", 1, 0, 0, 2, 3), commit(0, 4), truncated(2),
			commit(1, 2, 4), request("b", 1, 1, 2, 3), commit(1, 4)}, ""},
		{"truncated and rewound too far",
			[]func(*Observer) error{commit(0, 0, 4), request("a", 1, 0, 0, 2, 3), commit(0, 4), truncated(2),
				commit(1, 1)}, "committed offset decreased"},
		{"truncated, then new records lost",
			[]func(*Observer) error{commit(0, 0, 4), request("a", 1, 0, 0, 2, 3), commit(0, 4), truncated(2),
				commit(1, 4)}, "commit passes"},
		{"recreated, then an ID reused", []func(*Observer) error{commit(0, 0, 1), request("a", 1, 0, 0), truncated(0),
			commit(1, 0, 1), request("a", 1, 1, 0)}, "payload ID for two ranges"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := NewObserver(func(_ int32, _ int, offset int64) bool { return offset != 1 })
			for i, step := range tt.steps {
				err := step(o)
				switch last := i == len(tt.steps)-1; {
				case err == nil && last && tt.want != "":
					t.Errorf("no error, want %q", tt.want)
				case err != nil && (!last || tt.want == "" || !strings.HasPrefix(err.Error(), tt.want)):
					t.Errorf("step %d: error %v, want %q", i, err, tt.want)
				}
			}
		})
	}
}
