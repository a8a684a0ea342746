package ldtest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Fault says what happens to one request instead of the ordinary answer. The
// zero Fault is none: the request passes. In a script it stands for a request
// that goes well between two that do not.
//
// Without Taken a fault fails without effect. With Taken it fails after the
// request took effect; a request that would be refused anyway is then refused.
type Fault struct {
	Kind   Kind
	Taken  bool
	Status int // of Answer and Truncated; a 2xx needs Taken

	// RetryAfter is the Retry-After header as it is, sensible or not. RetryIn
	// makes it an HTTP date that far ahead. For Answer.
	RetryAfter string
	RetryIn    time.Duration

	// For is how long Slow waits, and after how long Hang closes the connection
	// (0: it waits until the client gives up).
	For time.Duration
}

// Kind is a way to fail.
type Kind string

const (
	// Answer answers with Status. A 3xx points at a place that answers 200 and
	// counts as a violation when a client goes there.
	Answer Kind = ""
	// Hang never answers.
	Hang Kind = "hang"
	// Slow waits, then takes and answers as usual (nothing is taken if the client
	// gave up meanwhile); with Taken, it takes, then waits, then answers.
	Slow Kind = "slow"
	// ResetUnread resets the connection before reading the body. Never Taken.
	ResetUnread Kind = "reset-unread"
	// Reset resets the connection after reading the body.
	Reset Kind = "reset"
	// CutOff closes the connection in the middle of the headers of a 202.
	CutOff Kind = "cut-off"
	// Truncated closes the connection in the middle of the answer's body; all the
	// headers arrive. Status 0 is 202 with Taken, otherwise 503.
	Truncated Kind = "truncated"
	// Garbage answers with something that is not HTTP.
	Garbage Kind = "garbage"
)

// Passing returns the faults that a client is to survive by sending the same
// request again, each without effect and after taking the request: 429 (plain,
// with seconds, with a date), 500, 502, 503, 504, and every other kind. Waits
// are short: Slow 300 ms, Hang 3 s.
func Passing() []Fault {
	var faults []Fault
	for _, taken := range []bool{false, true} {
		faults = append(faults,
			Fault{Taken: taken, Status: 429},
			Fault{Taken: taken, Status: 429, RetryAfter: "1"},
			Fault{Taken: taken, Status: 429, RetryIn: time.Second},
			Fault{Taken: taken, Status: 500},
			Fault{Taken: taken, Status: 502},
			Fault{Taken: taken, Status: 503},
			Fault{Taken: taken, Status: 503, RetryAfter: "1"},
			Fault{Taken: taken, Status: 504},
			Fault{Taken: taken, Kind: Hang, For: 3 * time.Second},
			Fault{Taken: taken, Kind: Slow, For: 300 * time.Millisecond},
			Fault{Taken: taken, Kind: Reset},
			Fault{Taken: taken, Kind: CutOff},
			Fault{Taken: taken, Kind: Truncated},
			Fault{Taken: taken, Kind: Garbage},
		)
	}
	return append(faults, Fault{Kind: ResetUnread})
}

// passes tells whether the request is answered as usual, at once or late.
func (f Fault) passes() bool { return f == Fault{} || f.Kind == Slow }

// status returns the status that the client reads; 0 where it reads none.
func (f Fault) status() int {
	switch {
	case f.Kind == Answer, f.Kind == Truncated && f.Status != 0:
		return f.Status
	case f.Kind == Truncated && f.Taken:
		return http.StatusAccepted
	case f.Kind == Truncated:
		return http.StatusServiceUnavailable
	default:
		return 0
	}
}

// validate refuses what no server does, and what has no meaning.
func (f Fault) validate() error {
	status := f.status()
	switch f.Kind {
	case Answer, Hang, Slow, ResetUnread, Reset, CutOff, Truncated, Garbage:
	default:
		return fmt.Errorf("fault %q: unknown kind", f)
	}
	switch {
	case f == Fault{}:
		return nil
	case (f.Kind == Answer || f.Kind == Truncated) && (status < 200 || status > 999):
		return fmt.Errorf("fault %q: status: want 200 to 999", f)
	case status >= 200 && status < 300 && !f.Taken:
		return fmt.Errorf("fault %q: says taken and does not take", f)
	case f.Kind == ResetUnread && f.Taken:
		return fmt.Errorf("fault %q: cannot take what is not read", f)
	case f.Kind == Slow && f.For <= 0:
		return fmt.Errorf("fault %q: for: want a duration above 0", f)
	case f.For != 0 && f.Kind != Slow && f.Kind != Hang:
		return fmt.Errorf("fault %q: only slow and hang wait", f)
	case (f.RetryAfter != "" || f.RetryIn != 0) && f.Kind != Answer:
		return fmt.Errorf("fault %q: only an answer has headers", f)
	case f.Status != 0 && f.Kind != Answer && f.Kind != Truncated:
		return fmt.Errorf("fault %q: no client reads that status", f)
	}
	return nil
}

// String returns the fault as [ParseFault] reads it.
func (f Fault) String() string {
	if f == (Fault{}) {
		return "pass"
	}
	var b strings.Builder
	b.WriteString(string(f.Kind))
	if f.Kind == Answer {
		b.WriteString(strconv.Itoa(f.Status))
	} else if f.Status != 0 {
		fmt.Fprintf(&b, ",status=%d", f.Status)
	}
	if f.Taken {
		b.WriteString(",taken")
	}
	if f.For != 0 {
		fmt.Fprintf(&b, ",for=%s", f.For)
	}
	if f.RetryIn != 0 {
		fmt.Fprintf(&b, ",retry-in=%s", f.RetryIn)
	}
	if f.RetryAfter != "" {
		fmt.Fprintf(&b, ",retry-after=%s", f.RetryAfter)
	}
	return b.String()
}

// ParseFault reads a fault: "pass", or a status or kind, then options:
// "503", "429,taken,retry-in=2s", "hang,for=10s", "truncated,status=400",
// "429,retry-after=Sun, 06 Nov 2033 08:49:37 GMT". retry-after stands last: it
// takes the rest as it is.
func ParseFault(s string) (Fault, error) {
	var f Fault
	options, retryAfter, _ := strings.Cut(s, ",retry-after=")
	f.RetryAfter = retryAfter
	for i, option := range strings.Split(options, ",") {
		name, value, _ := strings.Cut(option, "=")
		var err error
		switch {
		case i == 0 && option == "pass":
		case i == 0 && option != "" && option[0] >= '0' && option[0] <= '9':
			f.Status, err = strconv.Atoi(option)
		case i == 0 && option != "":
			f.Kind = Kind(option)
		case option == "taken":
			f.Taken = true
		case name == "status":
			f.Status, err = strconv.Atoi(value)
		case name == "for":
			f.For, err = time.ParseDuration(value)
		case name == "retry-in":
			f.RetryIn, err = time.ParseDuration(value)
		default:
			err = fmt.Errorf("unknown option %q", option)
		}
		if err != nil {
			return Fault{}, fmt.Errorf("fault %q: %w", s, err)
		}
	}
	return f, f.validate()
}

// MarshalText and UnmarshalText make the text form the JSON form.
func (f Fault) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

func (f *Fault) UnmarshalText(text []byte) (err error) {
	*f, err = ParseFault(string(text))
	return err
}
