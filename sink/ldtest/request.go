package ldtest

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"time"

	"github.com/google/uuid"
)

// Request describes a received request, whether it was accepted, rejected, or cut off. Each journal
// line is a Request without Header and Body.
type Request struct {
	Time      time.Time `json:"time"` // time of arrival
	Method    string    `json:"method"`
	Path      string    `json:"path"`
	PayloadID string    `json:"id,omitempty"`  // verbatim
	Hash      Hash      `json:"hash,omitzero"` // hash of the uncompressed body; zero if the body was unread or unreadable
	Bytes     int       `json:"bytes"`         // length of the uncompressed body
	Events    int       `json:"events"`        // 0 if the body is invalid

	// Identities contains the result of Config.Identity for each event, in order.
	Identities []string `json:"identities,omitempty"`

	// Status is the response status, or 0 if the client receives no readable response.
	Status    int    `json:"status"`
	Rejection string `json:"rejection,omitempty"` // reason if the fake rejected the request
	Fault     Fault  `json:"fault,omitzero"`

	// Accepted reports whether the request was accepted. Duplicate reports whether an accepted
	// request had no effect, because its payload ID had already been accepted.
	Accepted  bool `json:"accepted"`
	Duplicate bool `json:"duplicate,omitempty"`

	Violations []Violation `json:"violations,omitempty"`
	Drops      []Drop      `json:"drops,omitempty"` // empty for duplicates

	Header http.Header `json:"-"`
	Body   []byte      `json:"-"` // uncompressed
}

// Hash is the SHA-256 hash of a body. Its text form is hexadecimal.
type Hash [sha256.Size]byte

// MarshalText formats the hash as hexadecimal digits.
func (h Hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText parses a hash from hexadecimal digits.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(h)) {
		return fmt.Errorf("hash: must have %d hexadecimal digits, got %d", hex.EncodedLen(len(h)), len(text))
	}
	_, err := hex.Decode(h[:], text)
	return err
}

// ReadJournal yields the requests in a journal, in order, and stops at the first error. It ignores
// an incomplete last line, because that request received no response.
func ReadJournal(r io.Reader) iter.Seq2[Request, error] {
	return func(yield func(Request, error) bool) {
		lines := bufio.NewReaderSize(r, 1<<20)
		for n := 1; ; n++ {
			line, err := lines.ReadBytes('\n')
			if errors.Is(err, io.EOF) {
				return
			}
			var req Request
			if err == nil {
				err = json.Unmarshal(line, &req)
			}
			if err != nil {
				yield(Request{}, fmt.Errorf("parse journal line %d: %w", n, err))
				return
			}
			if !yield(req, nil) {
				return
			}
		}
	}
}

// arrival is the state of a request being served.
type arrival struct {
	Request
	poison func(event []byte) bool // may be nil
	limit  int

	schema string
	events [][]byte // the events in Body
	gone   bool     // the client disconnected before the fake chose a response
}

func (a *arrival) reject(status int, reason string) { a.Status, a.Rejection = status, reason }

func (a *arrival) addViolation(rule, detail string) {
	a.Violations = append(a.Violations, Violation{a.PayloadID, rule, detail})
}

// processed yields the events that are not dropped.
func (a *arrival) processed() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		drops := a.Drops
		for i, event := range a.events {
			if len(drops) > 0 && drops[0].Index == i {
				drops = drops[1:]
			} else if !yield(event) {
				return
			}
		}
	}
}

func (a *arrival) setBody(body []byte) {
	a.Body, a.Bytes, a.Hash = body, len(body), sha256.Sum256(body)
}

// parseID parses a payload ID. Only the 36-character form of RFC 9562 is valid.
func parseID(s string) (id uuid.UUID, ok bool) {
	id, err := uuid.Parse(s)
	return id, err == nil && len(s) == 36
}

// journalLine formats the request as a journal line.
func (a *arrival) journalLine() []byte {
	line, err := json.Marshal(a.Request)
	if err != nil {
		panic(err) // unreachable: every field can be encoded
	}
	return append(line, '\n')
}
