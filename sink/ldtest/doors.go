package ldtest

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

const (
	schemaHeader    = "X-LaunchDarkly-Event-Schema"
	payloadIDHeader = "X-LaunchDarkly-Payload-ID"

	redirectPath = "/redirected" // where the 3xx faults point to
	readBytes    = 16 << 20      // a body beyond this is not read to its end
)

// door is a resource of the fake.
type door int

const (
	nowhere      door = iota
	clientSide        // /events/bulk/{client-side ID}
	metricImport      // /v2/event-data-import/{project}/{environment}
	goals             // /sdk/goals/{client-side ID}
	redirected        // redirectPath
)

// route finds the door of a path, and the names in it. Paths are matched as they
// are: neither cleaned nor redirected.
func route(path string) (door, []string) {
	parts := strings.Split(path, "/")[1:]
	switch {
	case path == redirectPath:
		return redirected, nil
	case slices.Contains(parts, ""):
		return nowhere, nil
	case len(parts) == 3 && parts[0] == "events" && parts[1] == "bulk":
		return clientSide, parts[2:]
	case len(parts) == 4 && parts[0] == "v2" && parts[1] == "event-data-import":
		return metricImport, parts[2:]
	case len(parts) == 3 && parts[0] == "sdk" && parts[1] == "goals":
		return goals, parts[2:]
	}
	return nowhere, nil
}

// knows tells whether a client-side ID exists.
func (s *Server) knows(clientSideID string) bool {
	return slices.ContainsFunc(s.cfg.Environments, func(e Environment) bool {
		return e.ClientSideID == clientSideID
	})
}

// The company and the version of a metric importer are free text; LaunchDarkly's
// page gives the form only.
var userAgent = regexp.MustCompile(`^MetricImport-[^\s/]+-int/\S+$`)

// refusal returns why a request is refused whatever its body is; 0 if it is not.
func (s *Server) refusal(r *http.Request, to door, names []string) (status int, reason string) {
	encoding := r.Header.Get("Content-Encoding")
	switch {
	case encoding != "" && encoding != "gzip":
		return http.StatusBadRequest, "unknown Content-Encoding"
	case to == clientSide && !s.knows(names[0]):
		return http.StatusNotFound, "unknown client-side ID"
	case to == clientSide:
		return 0, ""
	case !slices.ContainsFunc(s.cfg.Environments, func(e Environment) bool {
		return e.Project == names[0] && e.Key == names[1] && e.Token == r.Header.Get("Authorization") && e.Token != ""
	}):
		return http.StatusUnauthorized, "the token has no access to the environment"
	case r.ContentLength < 0:
		return http.StatusLengthRequired, "no Content-Length"
	case r.Header.Get(schemaHeader) != "4":
		return http.StatusNotAcceptable, schemaHeader + " is not 4"
	case !userAgent.MatchString(r.Header.Get("User-Agent")):
		return http.StatusBadRequest, "User-Agent is not MetricImport-COMPANY-int/VERSION"
	}
	return 0, ""
}

// checkHeaders notes what a correct client never sends, and is not refused for.
func (a *arrival) checkHeaders(r *http.Request) {
	if a.PayloadID == "" {
		a.violate(NoPayloadID, "")
	} else if _, ok := parseID(a.PayloadID); !ok {
		a.violate(NotUUID, a.PayloadID)
	}
	if a.schema = r.Header.Get(schemaHeader); a.schema == "" {
		a.violate(NoSchema, "")
		a.schema = "4" // absent means the latest
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		a.violate(ContentType, r.Header.Get("Content-Type"))
	}
}

var (
	errCutShort = errors.New("the body was cut short")
	errTooLarge = errors.New("the body is too large")
)

// read reads the body and notes what is in it. The error says why it is refused.
func (a *arrival) read(r *http.Request) error {
	raw, err := io.ReadAll(io.LimitReader(r.Body, readBytes+1))
	switch {
	case err != nil:
		return errCutShort
	case len(raw) > readBytes:
		return errTooLarge
	}
	if r.Header.Get("Content-Encoding") == "gzip" {
		if raw, err = gunzip(raw); err != nil {
			return err
		}
	}
	a.setBody(raw)
	if a.events, err = parse(raw); err != nil {
		return err
	}
	if len(a.events) == 0 {
		a.violate(NoEvents, "")
	}
	return nil
}

func gunzip(raw []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, errors.New("the body is not gzip")
	}
	body, err := io.ReadAll(io.LimitReader(z, readBytes+1))
	switch {
	case err != nil:
		return nil, errors.New("the gzip is broken")
	case len(body) > readBytes:
		return nil, errTooLarge
	}
	return body, nil
}
