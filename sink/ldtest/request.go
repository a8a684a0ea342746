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

// Request describes a request, whether it was accepted, rejected, or cut off. Each line of the
// journal is a Request without Header and Body.
type Request struct {
	Time      time.Time `json:"time"` // of arrival
	Method    string    `json:"method"`
	Path      string    `json:"path"`
	PayloadID string    `json:"id,omitempty"`  // as sent
	Hash      Hash      `json:"hash,omitzero"` // of the uncompressed body; zero if it was not or cannot be read
	Bytes     int       `json:"bytes"`         // length of the uncompressed body
	Events    int       `json:"events"`        // 0 if the body is rejected as a whole

	// Identities holds the results of Config.Identity for the events, in order.
	Identities []string `json:"identities,omitempty"`

	// Status is the status of the response, or 0 if the client receives no readable response.
	Status    int    `json:"status"`
	Rejection string `json:"rejection,omitempty"` // reason, if rejected for its content
	Fault     Fault  `json:"fault,omitzero"`

	// Accepted reports whether the request took effect. Duplicate means that it was accepted
	// without effect, because its payload ID had already been accepted.
	Accepted  bool `json:"accepted"`
	Duplicate bool `json:"duplicate,omitempty"`

	Violations []Violation `json:"violations,omitempty"`
	Drops      []Drop      `json:"drops,omitempty"` // empty for duplicates

	Header http.Header `json:"-"`
	Body   []byte      `json:"-"` // uncompressed
}

// Hash is the SHA-256 of a body. Its text form is hexadecimal.
type Hash [sha256.Size]byte

// MarshalText formats the hash as hexadecimal digits.
func (h Hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText parses hexadecimal digits.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(h)) {
		return fmt.Errorf("hash: must have %d hexadecimal digits, got %d", hex.EncodedLen(len(h)), len(text))
	}
	_, err := hex.Decode(h[:], text)
	return err
}

// ReadJournal yields the requests of a journal, in order, and stops at the first error. An
// incomplete last line is ignored, because no response was sent to its request.
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

// arrival is a request that is being served.
type arrival struct {
	Request
	poison func(event []byte) bool // may be nil
	limit  int

	schema string
	events [][]byte // of Body
	gone   bool     // the client disconnected before the fake decided
}

func (a *arrival) reject(status int, reason string) { a.Status, a.Rejection = status, reason }

func (a *arrival) addViolation(rule, detail string) {
	a.Violations = append(a.Violations, Violation{a.PayloadID, rule, detail})
}

func (a *arrival) setBody(body []byte) {
	a.Body, a.Bytes, a.Hash = body, len(body), sha256.Sum256(body)
}

// parseID parses a payload ID. Only the 36-character form of RFC 9562 is valid.
func parseID(s string) (id uuid.UUID, ok bool) {
	id, err := uuid.Parse(s)
	return id, err == nil && len(s) == 36
}

// journalLine formats the request as a line of the journal.
func (a *arrival) journalLine() []byte {
	line, err := json.Marshal(a.Request)
	if err != nil {
		panic(err) // every field can be encoded
	}
	return append(line, '\n')
}
