package verify

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/app"
)

// serve runs a server for a path until the test ends, and returns its URL.
func serve(t *testing.T, path string, h http.HandlerFunc) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+path, h)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// serveReplica serves a replica's /delivered.json.
func serveReplica(t *testing.T, d app.Delivered) (address string) {
	t.Helper()
	return serve(t, "/delivered.json", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(d) })
}

func TestReplicasAreReadOnceEach(t *testing.T) {
	since := at(t, "09:00")
	a := serveReplica(t, app.Delivered{Replica: "r-0", Since: since})
	b := serveReplica(t, app.Delivered{Replica: "r-1", Since: since})
	restarted := serveReplica(t, app.Delivered{Replica: "r-0", Since: since.Add(time.Second)})
	replicas, err := Replicas(t.Context(), []string{
		a, strings.TrimPrefix(a, "http://"), strings.Replace(a, "127.0.0.1", "localhost", 1) + "/", b, restarted,
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range replicas {
		got = append(got, r.Replica+r.Since.Format(" 05"))
	}
	if fmt.Sprint(got) != "[r-0 00 r-1 00 r-0 01]" {
		t.Errorf("%q", got)
	}
}

func TestAHostNameStandsForAllItsAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"http://replicas:9464/path": "http://10.0.0.1:9464/path http://10.0.0.2:9464/path http://[fd00::1]:9464/path",
		"http://u:p@replicas":       "http://u:p@10.0.0.1:80 http://u:p@10.0.0.2:80 http://u:p@[fd00::1]:80",
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, u := range expand(u, []string{"10.0.0.2", "fd00::1", "10.0.0.1"}) {
			got = append(got, u.String())
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %s", address, got)
		}
	}
}

func TestFailuresOfReplicasAreDescribed(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	disabled := serve(t, "/delivered.json", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "deliveries are not\ncounted", http.StatusNotFound)
	})
	text := serve(t, "/delivered.json", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	for address, want := range map[string]string{
		"ftp://replica": "--replica: must be host:port or a URL",
		"http://":       "--replica: must be host:port or a URL",
		closed.URL:      "Nothing is listening on this address",
		disabled:        "responded with 404 Not Found: deliveries are not counted",
		text:            "decode the response",
		"a..b:9464":     "The host name cannot be resolved",
	} {
		_, err := Replicas(t.Context(), []string{address})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
	}
}
