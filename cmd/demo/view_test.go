package main

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
	"github.com/segment-to-launchdarkly/forwarder/transform"
	"github.com/segment-to-launchdarkly/forwarder/transform/segmenttest"
)

// longest returns a view in which every part is long.
func longest() view {
	long := `{"type":"track","event":"` + strings.Repeat("x", 1100) + `","properties":{` +
		strings.Repeat(`"name":"value",`, 40) + `"last":1}}`
	return view{
		admin:        []string{"127.0.0.1:65001", "127.0.0.1:65002"},
		launchDarkly: "http://127.0.0.1:65003", kafka: "127.0.0.1:65004", counters: "counters",
		event: sample{call: []byte(long), event: []byte(long)},
		rejected: sample{
			call:   []byte(long),
			reason: "no_user_key: neither userId nor anonymousId is a non-empty string or a number",
		},
	}
}

func TestViewFitsInASmallTerminal(t *testing.T) {
	down := longest()
	down.outage = []string{"one", "two"}
	short := longest()
	short.event = sample{call: []byte(`{"type":"track"}`), event: []byte(`{"kind":"custom"}`)}
	for name, v := range map[string]view{"accepting": longest(), "outage": down, "short": short, "no samples": {}} {
		lines := v.lines(80, 24)
		if len(lines) > 23 {
			t.Errorf("%s: %d lines", name, len(lines))
		}
		for _, line := range lines {
			if utf8.RuneCountInString(line) > 79 {
				t.Errorf("%s: too long: %q", name, line)
			}
		}
		text := strings.Join(lines, "\n")
		for _, address := range append(v.admin, v.launchDarkly, v.kafka, v.counters) {
			if !strings.Contains(text, address) {
				t.Errorf("%s: no %q in:\n%s", name, address, text)
			}
		}
		if end := "/control/up"; strings.Contains(text, end) != (name == "outage") {
			t.Errorf("%s: the command to end the outage is wrong in:\n%s", name, text)
		}
		if v.rejected.call != nil && lines[len(lines)-1] != v.rejected.reason {
			t.Errorf("%s: no reason in:\n%s", name, text)
		}
	}
}

func TestOutageIsDescribedUntilARequestSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o outage
		request := func(status int) {
			o.addRequest(ldtest.Request{Method: http.MethodPost, Status: status, Time: time.Now()})
		}
		want := func(want string) {
			t.Helper()
			if got := strings.Join(o.describe(12, 5*time.Second), "\n"); got != want {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		}
		want("")
		request(503)
		want("") // a single failed request is no outage
		time.Sleep(2 * time.Second)
		want("LaunchDarkly is down (503): 12 batches wait, and nothing is lost.\n" +
			"Last attempt 2 s ago, next attempt in at most 3 s. New records wait in Kafka.")
		request(0)
		time.Sleep(6 * time.Second)
		want("LaunchDarkly is down (no response): 12 batches wait, and nothing is lost.\n" +
			"Last attempt 6 s ago. New records wait in Kafka.")
		o.addRequest(ldtest.Request{Method: http.MethodHead, Status: 200, Time: time.Now()}) // delivers no events
		if o.describe(12, time.Second) == nil {
			t.Error("a request without events ended the outage")
		}
		request(202)
		time.Sleep(2 * time.Second)
		want("")
	})
}

func TestSamplerPicksTheNextSampleAfterTheLastIsReceived(t *testing.T) {
	s, picked := newSampler(), map[string]bool{}
	for n := range int64(3000) {
		if _, calls := s.gen.Record(n); len(calls) != 1 || calls[0] != transform.None {
			continue
		}
		number := segmenttest.Number(n, 0)
		s.inspect(ldtest.Request{
			Accepted: true, Identities: []string{strconv.FormatInt(number, 10)}, Body: []byte(`[{"metricValue":1}]`),
		})
		if n%500 == 499 && len(s.events) > 0 {
			picked[string((<-s.events).call)] = true
		}
	}
	if len(picked) < 2 {
		t.Errorf("%d samples", len(picked))
	}
}
