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

// freeAddress returns an address that was free a moment ago.
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

// post posts one event and returns the status of the answer.
func post(t *testing.T, url string) int {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, url, strings.NewReader(`[{"kind":"custom","key":"k","userKey":"u","creationDate":1}]`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-LaunchDarkly-Event-Schema", "3")
	r.Header.Set("X-LaunchDarkly-Payload-ID", "7d1f3b52-6f0c-5a55-9d0e-3c1b6a0f2e84")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}

func TestLaunchDarklyAlone(t *testing.T) {
	c := start(nil, "launchdarkly", "-listen", "127.0.0.1:0")
	address := c.stderr.await(t, `(http://[^,]+),`)[1]
	if got := probe(address + "/control/report"); got != exitOK {
		t.Errorf("probe of the report: exit code %d", got)
	}
	if got := probe(address + "/nothing"); got != exitFailure {
		t.Errorf("probe of nothing: exit code %d", got)
	}
	path := "/events/bulk/" + ldtest.Sample.ClientSideID
	if got := post(t, address+path); got != http.StatusAccepted {
		t.Errorf("an event: answer %d", got)
	}
	if got := post(t, address+"/"+path); got != http.StatusNotFound {
		t.Errorf("a double slash, which must come to the fake as it is: answer %d", got)
	}

	c.signals <- os.Interrupt
	var report ldtest.Report
	if exit := <-c.exit; exit != exitOK {
		t.Errorf("exit code %d", exit)
	}
	if err := json.Unmarshal(c.stdout.Bytes(), &report); err != nil || report.Processed != 1 || report.ViolationCount != 0 {
		t.Errorf("report %q: %v", c.stdout.String(), err)
	}
}

func TestGenerateAlone(t *testing.T) {
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
			t.Fatalf("ended: %d, %s", exit, c.stderr.text())
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

func TestGenerateToNoTopicFails(t *testing.T) {
	t.Parallel()
	cluster, err := kafkatest.NewEmbedded(kfake.DataDir(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	c := start(nil, "generate", "-brokers", cluster.ListenAddrs()[0], "-topic", "nothing", "-listen", "127.0.0.1:0")
	if exit := <-c.exit; exit != exitFailure {
		t.Errorf("exit code %d", exit)
	}
	c.stderr.await(t, "produce to nothing: ")
}
