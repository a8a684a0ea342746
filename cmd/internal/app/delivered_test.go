package app

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/segment-to-launchdarkly/forwarder/consumer"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// deliveredJSON returns the response to a request for /delivered.json.
func (s *stage) deliveredJSON() *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.adminHandler(s.ctx).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/delivered.json", http.NoBody))
	return w
}

func TestDeliveredEventsAreServedAndLogged(t *testing.T) {
	s := newStage(t, 1, "S2LD_LAUNCHDARKLY_PROJECT_KEY=p", "S2LD_LAUNCHDARKLY_ENVIRONMENT_KEY=e")
	began := time.Now()
	s.run()
	s.produce(track("u"), track("v"), track("w"))
	s.delivered(3)
	s.leave() // waits until the deliveries have ended
	response := s.deliveredJSON()
	if got := response.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type: %s", got)
	}
	var got Delivered
	decoder := json.NewDecoder(response.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&got); err != nil {
		t.Fatal(err)
	}
	host, _ := os.Hostname()
	want := Environment{ldtest.Sample.ClientSideID, "p", "e"}
	if got.Replica != host || got.Group != "forwarder" || got.Environment != want {
		t.Errorf("%+v, want replica %s and environment %v", got, host, want)
	}
	if got.Since.Before(began) || time.Since(got.Since) < 0 {
		t.Errorf("since %v, want a time after %v", got.Since, began)
	}
	events := int64(0)
	for _, h := range got.Hours { // two if the hour has just ended
		events += h.Events["e"]
		if len(h.Events) != 1 || h.Other != 0 || h.Hour != h.Hour.UTC().Truncate(time.Hour) {
			t.Errorf("%+v, want only the event e in a whole hour", h)
		}
	}
	if events != 3 {
		t.Errorf("%d events, want 3", events)
	}
	if log := s.log.text(); !strings.Contains(log, `"by_name":{"e":`) {
		t.Errorf("deliveries not logged:\n%s", log)
	}
}

func TestEventNamesAreNotServedOrLoggedIfDisabled(t *testing.T) {
	s := newStage(t, 1, "S2LD_ADMIN_EVENT_NAMES=false")
	s.run()
	s.produce(track("u"))
	s.delivered(1)
	s.leave()
	response := s.deliveredJSON()
	if response.Code != http.StatusNotFound || !strings.Contains(response.Body.String(), "admin.event_names is false") {
		t.Errorf("%d %s", response.Code, response.Body)
	}
	if log := s.log.text(); strings.Contains(log, "by_name") {
		t.Errorf("names logged:\n%s", log)
	}
}

func TestDeliveriesAreLoggedAfterEachHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(10*time.Hour + 20*time.Minute)
		core, logs := observer.New(zapcore.InfoLevel)
		hours := []consumer.DeliveredHour{
			{Hour: time.Date(2000, 1, 1, 10, 0, 0, 0, time.UTC), Events: map[string]int64{"a": 3, "b": 4}, Other: 5},
			{Hour: time.Date(2000, 1, 1, 12, 0, 0, 0, time.UTC), Events: map[string]int64{"a": 1}},
		}
		ctx, stop := context.WithCancel(t.Context())
		go logDelivered(ctx, zap.New(core), time.Now(), func() []consumer.DeliveredHour { return hours })
		expect := func(want ...string) {
			t.Helper()
			synctest.Wait()
			var got []string
			for _, e := range logs.TakeAll() {
				fields, err := json.Marshal(e.ContextMap())
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(fields))
			}
			if strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		}
		expect()
		time.Sleep(40*time.Minute - time.Nanosecond)
		expect()
		time.Sleep(time.Nanosecond)
		expect(`{"by_name":{"a":3,"b":4},"delivered":12,"from":"2000-01-01T10:20:00Z","other":5,"to":"2000-01-01T11:00:00Z"}`)
		time.Sleep(time.Hour)
		expect(`{"by_name":{},"delivered":0,"from":"2000-01-01T11:00:00Z","other":0,"to":"2000-01-01T12:00:00Z"}`)
		time.Sleep(15 * time.Minute)
		stop()
		expect(`{"by_name":{"a":1},"delivered":1,"from":"2000-01-01T12:00:00Z","other":0,"to":"2000-01-01T12:15:00Z"}`)
	})
}
