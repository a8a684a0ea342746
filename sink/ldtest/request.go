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

// Request is what the fake knows of one request, whether taken, refused or cut
// off. It is one line of the journal, without header and body.
type Request struct {
	Time      time.Time `json:"time"` // of arrival
	Method    string    `json:"method"`
	Path      string    `json:"path"`
	PayloadID string    `json:"id,omitempty"`  // as sent
	Hash      Hash      `json:"hash,omitzero"` // of the uncompressed body; zero if it was not read or cannot be
	Bytes     int       `json:"bytes"`         // of the uncompressed body
	Events    int       `json:"events"`        // 0 if the body is refused as a whole

	// Identities are the events' names by Config.Identity, in order.
	Identities []string `json:"identities,omitempty"`

	// Status is what the client is told; 0 if it gets no readable answer.
	Status  int    `json:"status"`
	Refusal string `json:"refusal,omitempty"` // the reason, where the fake itself refuses
	Fault   Fault  `json:"fault,omitzero"`

	// Taken tells whether the request took effect. Duplicate: it took none in
	// fact, because one under its payload ID had been taken before.
	Taken     bool `json:"taken"`
	Duplicate bool `json:"duplicate,omitempty"`

	Violations []Violation `json:"violations,omitempty"`
	Drops      []Drop      `json:"drops,omitempty"` // none for a Duplicate

	Header http.Header `json:"-"`
	Body   []byte      `json:"-"` // uncompressed
}

// Hash is the SHA-256 of a body; hexadecimal as text.
type Hash [sha256.Size]byte

func (h Hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(h)) {
		return fmt.Errorf("hash: want %d hexadecimal digits, got %d", hex.EncodedLen(len(h)), len(text))
	}
	_, err := hex.Decode(h[:], text)
	return err
}

// ReadJournal yields the requests of a journal, in order, and ends with the first
// error. The last line is left out if it has no end yet: its request was not
// answered.
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
				yield(Request{}, fmt.Errorf("journal line %d: %w", n, err))
				return
			}
			if !yield(req, nil) {
				return
			}
		}
	}
}

// arrival is a request on its way through the fake.
type arrival struct {
	Request
	poison func(event []byte) bool // may be nil
	limit  int

	schema string
	events [][]byte // of Body
	gone   bool     // the client left before the fake decided
}

func (a *arrival) refuse(status int, reason string) { a.Status, a.Refusal = status, reason }

func (a *arrival) violate(rule, detail string) {
	a.Violations = append(a.Violations, Violation{a.PayloadID, rule, detail})
}

func (a *arrival) setBody(body []byte) {
	a.Body, a.Bytes, a.Hash = body, len(body), sha256.Sum256(body)
}

// parseID reads a payload ID. Only the 36 characters of RFC 9562 are one.
func parseID(s string) (id uuid.UUID, ok bool) {
	id, err := uuid.Parse(s)
	return id, err == nil && len(s) == 36
}

// journalLine returns the request as it stands in the journal.
func (a *arrival) journalLine() []byte {
	line, err := json.Marshal(a.Request)
	if err != nil {
		panic(err) // every field can be encoded
	}
	return append(line, '\n')
}
