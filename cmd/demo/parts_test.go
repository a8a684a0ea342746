package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// freeAddress returns an unused loopback address.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func probe(url string) int { return <-start(nil, "probe", url).exit }

// post sends one event and returns the status of the response.
func post(t *testing.T, url string) int {
	t.Helper()
	const event = `{"kind":"custom","key":"k","userKey":"u","creationDate":1}`
	r, err := http.NewRequest(http.MethodPost, url, strings.NewReader("["+event+"]"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-LaunchDarkly-Event-Schema", "3")
	r.Header.Set("X-LaunchDarkly-Payload-ID", "7d1f3b52-6f0c-5a55-9d0e-3c1b6a0f2e84")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

func TestFakeLaunchDarklyRunsAlone(t *testing.T) {
	c := start(nil, "launchdarkly", "-listen", "127.0.0.1:0")
	address := c.stderr.await(t, `(http://[^,]+),`)[1]
	if got := probe(address + "/control/report"); got != exitOK {
		t.Errorf("probe of the report: exit code %d", got)
	}
	if got := probe(address + "/unknown"); got != exitFailure {
		t.Errorf("probe of an unknown path: exit code %d", got)
	}
	path := "/events/bulk/" + ldtest.Sample.ClientSideID
	if got := post(t, address+path); got != http.StatusAccepted {
		t.Errorf("status %d for an event", got)
	}
	if got := post(t, address+"/"+path); got != http.StatusNotFound {
		t.Errorf("status %d for a path with a double slash, which must reach the fake", got)
	}

	c.signals <- os.Interrupt
	var report ldtest.Report
	if exit := <-c.exit; exit != exitOK {
		t.Errorf("exit code %d", exit)
	}
	err := json.Unmarshal(c.stdout.Bytes(), &report)
	if err != nil || report.Processed != 1 || report.ViolationCount != 0 {
		t.Errorf("report %q: %v", c.stdout.String(), err)
	}
}

func TestGeneratorRunsAlone(t *testing.T) {
	cluster, err := kafkatest.NewEmbedded(kfake.DataDir(t.TempDir()), kfake.SeedTopics(3, topic))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	brokers := cluster.ListenAddrs()
	listen := freeAddress(t)
	c := start(nil, "generate", "-brokers", strings.Join(brokers, ","), "-topic", topic,
		"-rate", "200", "-listen", listen)
	for probe("http://"+listen) != exitOK { // until the first record is acknowledged
		select {
		case exit := <-c.exit:
			t.Fatalf("exit code %d, %s", exit, c.stderr.text())
		default:
		}
	}
	c.signals <- os.Interrupt
	if exit := <-c.exit; exit != exitOK {
		t.Errorf("exit code %d, %s", exit, c.stderr.text())
	}
	ends, err := kafkatest.EndOffsets(context.Background(), brokers, topic)
	if err != nil {
		t.Fatal(err)
	}
	records := int64(0)
	for _, end := range ends {
		records += end
	}
	if records == 0 {
		t.Error("the topic has no records")
	}
}

func TestGeneratorFailsWithoutTheTopic(t *testing.T) {
	t.Parallel()
	cluster, err := kafkatest.NewEmbedded(kfake.DataDir(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	c := start(nil, "generate", "-brokers", cluster.ListenAddrs()[0], "-topic", "missing", "-listen", "127.0.0.1:0")
	if exit := <-c.exit; exit != exitFailure {
		t.Errorf("exit code %d", exit)
	}
	c.stderr.await(t, "produce to missing: ")
}
