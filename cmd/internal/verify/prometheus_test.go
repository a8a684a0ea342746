package verify

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/segment-to-launchdarkly/forwarder/consumer"
)

// servePrometheus serves the range query for the hours from 09:00 to 12:00 with the given result.
func servePrometheus(t *testing.T, result string) (address string) {
	t.Helper()
	return serve(t, "/base/api/v1/query_range", func(w http.ResponseWriter, r *http.Request) {
		want := fmt.Sprintf(hourly, consumer.DeliveredMetric+`{group="g \"1\""}`)
		if got := r.FormValue("query"); got != want {
			t.Errorf("query: %s, want %s", got, want)
		}
		for key, want := range map[string]string{
			"start": fmt.Sprint(at(t, "10:00").Unix()), "end": fmt.Sprint(at(t, "12:00").Unix()), "step": "3600",
		} {
			if got := r.FormValue(key); got != want {
				t.Errorf("%s: %s, want %s", key, got, want)
			}
		}
		if user, password, _ := r.BasicAuth(); user != "u" || password != "secret" {
			t.Errorf("user %s, password %s", user, password)
		}
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[%s]}}`, result)
	}) + "/base/"
}

// ask returns the deliveries in the hours from 09:00 to 12:00.
func ask(t *testing.T, address string) (Deliveries, error) {
	t.Helper()
	return Prometheus(t.Context(), strings.Replace(address, "://", "://u:secret@", 1), `g "1"`,
		Hours(at(t, "09:00"), at(t, "12:00"), at(t, "23:00")))
}

func TestDeliveriesAreReadFromPrometheus(t *testing.T) {
	ten, twelve := at(t, "10:00").Unix(), at(t, "12:00").Unix()
	d, err := ask(t, servePrometheus(t, fmt.Sprintf(
		`{"metric":{"event":"a"},"values":[[%d,"10"],[%d,"19.6"]]},{"metric":{"event":"b"},"values":[[%[1]d.000,"0"]]}`,
		ten, twelve)))
	if err != nil {
		t.Fatal(err)
	}
	want := []consumer.DeliveredHour{
		{Hour: at(t, "09:00"), Events: counts{"a": 10, "b": 0}}, {Hour: at(t, "11:00"), Events: counts{"a": 20}},
	}
	if fmt.Sprint(d.Hours) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", d.Hours, want)
	}
	if len(d.Incomplete) != 1 || d.Incomplete[at(t, "10:00")] != "Prometheus has no samples" {
		t.Errorf("incomplete: %v", d.Incomplete)
	}
}

func TestFailuresOfPrometheusAreDescribed(t *testing.T) {
	rejecting := serve(t, "/api/v1/query_range", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"status":"error","errorType":"bad_data","error":"too many samples"}`, http.StatusUnprocessableEntity)
	})
	for address, want := range map[string]string{
		"prometheus:9090": "--prometheus: must be a URL",
		rejecting:         "422 Unprocessable Entity: {\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"too many",
		servePrometheus(t, ""): `no samples of segment_launchdarkly_consumer_events_delivered_total{group="g \"1\""} ` +
			"from 2026-01-31T09:00:00Z to 2026-01-31T12:00:00Z; check whether Prometheus scrapes the replicas",
		servePrometheus(t, fmt.Sprintf(`{"metric":{},"values":[[%d,"NaN"]]}`, at(t, "10:00").Unix())): "invalid value",
	} {
		_, err := ask(t, address)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error contains the password: %v", address, err)
		}
	}
}

// Make lint-rules evaluates the expression with Prometheus's own engine.
func TestTheExpressionIsTested(t *testing.T) {
	tests, err := os.ReadFile("../../../deploy/prometheus/tests.yaml")
	if err != nil {
		t.Fatal(err)
	}
	expr := fmt.Sprintf(hourly, consumer.DeliveredMetric+`{group="g"}`)
	if !strings.Contains(string(tests), "expr: '"+expr+"'\n") {
		t.Errorf("deploy/prometheus/tests.yaml does not test %s", expr)
	}
}
