package main

import (
	"fmt"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/preview"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// outage describes the current series of failed requests to LaunchDarkly. The zero outage is an
// empty series.
type outage struct {
	mu     sync.Mutex // guards the fields below
	status int        // status of the latest request; 0 if it got no readable response
	first  time.Time  // time of the first failed request; zero if the latest request succeeded
	latest time.Time  // time of the latest request
}

// shortest is the minimum duration of an outage. Shorter series count as isolated failures.
const shortest = 1500 * time.Millisecond

// addRequest adds a request. It ignores requests that deliver no events.
func (o *outage) addRequest(r ldtest.Request) {
	if r.Method != http.MethodPost {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.status, o.latest = r.Status, r.Time
	switch {
	case r.Status/100 == 2:
		o.first = time.Time{}
	case o.first.IsZero():
		o.first = r.Time
	}
}

// describe returns two lines about the outage, or nothing if there is none. waiting is the number
// of waiting batches, and backoff is the maximum time between two attempts.
func (o *outage) describe(waiting int, backoff time.Duration) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.first.IsZero() || time.Since(o.first) < shortest {
		return nil
	}
	status := fmt.Sprint(o.status)
	if o.status == 0 {
		status = "no response"
	}
	attempts := fmt.Sprintf("Last attempt %.0f s ago", math.Floor(time.Since(o.latest).Seconds()))
	if left := backoff - time.Since(o.latest); left > 0 { // otherwise, the next attempt is waiting for a response
		attempts += fmt.Sprintf(", next attempt in at most %.0f s", math.Ceil(left.Seconds()))
	}
	return []string{
		fmt.Sprintf("LaunchDarkly is down (%s): %s batches wait, and nothing is lost.",
			status, preview.Number(waiting)),
		attempts + ". New records wait in Kafka.",
	}
}
