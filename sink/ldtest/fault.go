package ldtest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Fault describes how a single request fails. The zero Fault lets a request succeed, for example
// between two faults in a script.
//
// Without Accepted, the request fails without effect. With Accepted, a valid request takes effect
// and then fails, and an invalid request is rejected as usual.
type Fault struct {
	// Kind selects how the request fails. Empty means Respond.
	Kind Kind
	// Accepted makes the request take effect before it fails.
	Accepted bool
	// Status is the status code that Respond and Truncated send. A 2xx status requires Accepted.
	Status int

	// RetryAfter is the Retry-After header that Respond sends, verbatim even if malformed. RetryIn
	// sets this header to an HTTP date that far in the future.
	RetryAfter string
	RetryIn    time.Duration

	// For is the delay of Slow, and the time after which Hang closes the connection. If For is
	// zero, Hang waits until the client disconnects.
	For time.Duration
}

// Kind determines how a request with a [Fault] fails.
type Kind string

const (
	// Respond responds with Status. A 3xx status redirects to a path that responds with 200 and
	// records a violation.
	Respond Kind = ""
	// Hang never responds.
	Hang Kind = "hang"
	// Slow waits and then processes the request as usual, unless the client has disconnected. With
	// Accepted, it accepts the request, waits, and then responds.
	Slow Kind = "slow"
	// ResetUnread resets the connection before reading the body. It must not be combined with
	// Accepted.
	ResetUnread Kind = "reset-unread"
	// Reset resets the connection after reading the body.
	Reset Kind = "reset"
	// CutOff closes the connection in the middle of a 202 response's headers.
	CutOff Kind = "cut-off"
	// Truncated closes the connection in the middle of the response body, after all headers. Status
	// 0 means 202 with Accepted, and 503 otherwise.
	Truncated Kind = "truncated"
	// Garbage responds with bytes that are not HTTP.
	Garbage Kind = "garbage"
)

// TransientFaults returns the faults that a client must handle by resending the same request. These
// faults are 429 and 503 with and without Retry-After, 500, 502, 504, and every kind other than
// Respond. Each fault except ResetUnread occurs with and without Accepted. Slow waits for 300 ms,
// and Hang for 3 s.
func TransientFaults() []Fault {
	var faults []Fault
	for _, accepted := range []bool{false, true} {
		faults = append(faults,
			Fault{Accepted: accepted, Status: 429},
			Fault{Accepted: accepted, Status: 429, RetryAfter: "1"},
			Fault{Accepted: accepted, Status: 429, RetryIn: time.Second},
			Fault{Accepted: accepted, Status: 500},
			Fault{Accepted: accepted, Status: 502},
			Fault{Accepted: accepted, Status: 503},
			Fault{Accepted: accepted, Status: 503, RetryAfter: "1"},
			Fault{Accepted: accepted, Status: 504},
			Fault{Accepted: accepted, Kind: Hang, For: 3 * time.Second},
			Fault{Accepted: accepted, Kind: Slow, For: 300 * time.Millisecond},
			Fault{Accepted: accepted, Kind: Reset},
			Fault{Accepted: accepted, Kind: CutOff},
			Fault{Accepted: accepted, Kind: Truncated},
			Fault{Accepted: accepted, Kind: Garbage},
		)
	}
	return append(faults, Fault{Kind: ResetUnread})
}

// passes reports whether the request is processed as usual, with or without a delay.
func (f Fault) passes() bool { return f == Fault{} || f.Kind == Slow }

// status returns the status code that the client receives, or 0 if there is none.
func (f Fault) status() int {
	switch {
	case f.Kind == Respond, f.Kind == Truncated && f.Status != 0:
		return f.Status
	case f.Kind == Truncated && f.Accepted:
		return http.StatusAccepted
	case f.Kind == Truncated:
		return http.StatusServiceUnavailable
	default:
		return 0
	}
}

// validate returns an error if the fault's fields are invalid or contradict each other.
func (f Fault) validate() error {
	status := f.status()
	switch f.Kind {
	case Respond, Hang, Slow, ResetUnread, Reset, CutOff, Truncated, Garbage:
	default:
		return fmt.Errorf("fault %q: unknown kind", f)
	}
	switch {
	case f == Fault{}:
		return nil
	case (f.Kind == Respond || f.Kind == Truncated) && (status < 200 || status > 999):
		return fmt.Errorf("fault %q: status must be between 200 and 999", f)
	case status >= 200 && status < 300 && !f.Accepted:
		return fmt.Errorf("fault %q: status 2xx requires accepted", f)
	case f.Kind == ResetUnread && f.Accepted:
		return fmt.Errorf("fault %q: reset-unread cannot be combined with accepted", f)
	case f.Kind == Slow && f.For <= 0:
		return fmt.Errorf("fault %q: slow requires a positive duration", f)
	case f.For != 0 && f.Kind != Slow && f.Kind != Hang:
		return fmt.Errorf("fault %q: only slow and hang have a duration", f)
	case (f.RetryAfter != "" || f.RetryIn != 0) && f.Kind != Respond:
		return fmt.Errorf("fault %q: only a status response can have a Retry-After header", f)
	case f.Status != 0 && f.Kind != Respond && f.Kind != Truncated:
		return fmt.Errorf("fault %q: this kind has no status", f)
	}
	return nil
}

// String formats the fault in the syntax of [ParseFault].
func (f Fault) String() string {
	if f == (Fault{}) {
		return "pass"
	}
	var b strings.Builder
	b.WriteString(string(f.Kind))
	if f.Kind == Respond {
		b.WriteString(strconv.Itoa(f.Status))
	} else if f.Status != 0 {
		fmt.Fprintf(&b, ",status=%d", f.Status)
	}
	if f.Accepted {
		b.WriteString(",accepted")
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

// ParseFault parses a fault. The syntax is "pass", or a status or kind with options, such as "503",
// "429,accepted,retry-in=2s", "hang,for=10s", "truncated,status=400", or "429,retry-after=Sun, 06
// Nov 2033 08:49:37 GMT". The retry-after option must come last, because its value extends to the
// end of the text.
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
		case option == "accepted":
			f.Accepted = true
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

// MarshalText formats the fault like [Fault.String].
func (f Fault) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText parses the fault like [ParseFault].
func (f *Fault) UnmarshalText(text []byte) (err error) {
	*f, err = ParseFault(string(text))
	return err
}
