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

	redirectPath = "/redirected" // target of 3xx faults
	maxReadBytes = 16 << 20      // larger bodies are not read to the end
)

// route identifies one of the fake's routes.
type route int

const (
	notFound     route = iota
	clientSide         // /events/bulk/{client-side ID}
	metricImport       // /v2/event-data-import/{project}/{environment}
	goals              // /sdk/goals/{client-side ID}
	redirected         // redirectPath
)

// parseRoute returns a path's route and the names in the path. Paths must match exactly; they are
// neither cleaned nor redirected.
func parseRoute(path string) (route, []string) {
	parts := strings.Split(path, "/")[1:]
	switch {
	case path == redirectPath:
		return redirected, nil
	case slices.Contains(parts, ""):
		return notFound, nil
	case len(parts) == 3 && parts[0] == "events" && parts[1] == "bulk":
		return clientSide, parts[2:]
	case len(parts) == 4 && parts[0] == "v2" && parts[1] == "event-data-import":
		return metricImport, parts[2:]
	case len(parts) == 3 && parts[0] == "sdk" && parts[1] == "goals":
		return goals, parts[2:]
	}
	return notFound, nil
}

// hasClientSideID reports whether an environment with this client-side ID exists.
func (s *Server) hasClientSideID(clientSideID string) bool {
	return slices.ContainsFunc(s.cfg.Environments, func(e Environment) bool {
		return e.ClientSideID == clientSideID
	})
}

// userAgent matches the User-Agent that metric_import requires. LaunchDarkly documents only the
// format; the company and the version are free text.
var userAgent = regexp.MustCompile(`^MetricImport-[^\s/]+-int/\S+$`)

// rejection returns a status and a reason if the request must be rejected regardless of its body.
// Otherwise, the status is 0.
func (s *Server) rejection(r *http.Request, to route, names []string) (status int, reason string) {
	encoding := r.Header.Get("Content-Encoding")
	switch {
	case encoding != "" && encoding != "gzip":
		return http.StatusBadRequest, "unknown Content-Encoding"
	case to == clientSide && !s.hasClientSideID(names[0]):
		return http.StatusNotFound, "unknown client-side ID"
	case to == clientSide:
		return 0, ""
	case !slices.ContainsFunc(s.cfg.Environments, func(e Environment) bool {
		return e.Project == names[0] && e.Key == names[1] && e.Token == r.Header.Get("Authorization") && e.Token != ""
	}):
		return http.StatusUnauthorized, "token has no access to the environment"
	case r.ContentLength < 0:
		return http.StatusLengthRequired, "no Content-Length"
	case r.Header.Get(schemaHeader) != "4":
		return http.StatusNotAcceptable, schemaHeader + " is not 4"
	case !userAgent.MatchString(r.Header.Get("User-Agent")):
		return http.StatusBadRequest, "User-Agent is not MetricImport-COMPANY-int/VERSION"
	}
	return 0, ""
}

// checkHeaders records header violations that do not cause a rejection.
func (a *arrival) checkHeaders(r *http.Request) {
	if a.PayloadID == "" {
		a.addViolation(NoPayloadID, "")
	} else if _, ok := parseID(a.PayloadID); !ok {
		a.addViolation(NotUUID, a.PayloadID)
	}
	if a.schema = r.Header.Get(schemaHeader); a.schema == "" {
		a.addViolation(NoSchema, "")
		a.schema = "4" // a missing header means the latest schema
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		a.addViolation(ContentType, r.Header.Get("Content-Type"))
	}
}

var (
	errCutShort = errors.New("request body truncated")
	errTooLarge = errors.New("body too large")
)

// read reads the body and splits it into events. It returns an error if the body must be rejected.
func (a *arrival) read(r *http.Request) error {
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxReadBytes+1))
	switch {
	case err != nil:
		return errCutShort
	case len(raw) > maxReadBytes:
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
		a.addViolation(NoEvents, "")
	}
	return nil
}

func gunzip(raw []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, errors.New("body is not gzip")
	}
	body, err := io.ReadAll(io.LimitReader(z, maxReadBytes+1))
	switch {
	case err != nil:
		return nil, errors.New("corrupt gzip stream")
	case len(body) > maxReadBytes:
		return nil, errTooLarge
	}
	return body, nil
}
