//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/app"
	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// Three processes run until the end of 6 partitions. One is killed midway and started again.
func TestRunUntilEndOnApacheKafka(t *testing.T) {
	const records = 300_000
	kafka := kafkatest.NewApache(t, kafkatest.ApacheConfig{})
	if err := kafkatest.CreateTopic(t.Context(), kafka.Brokers(), "segment", 6, nil); err != nil {
		t.Fatal(err)
	}
	err := kafkatest.Produce(t.Context(), kafka.Brokers(), "segment", 0, records, func(n int) []byte {
		return fmt.Appendf(nil, `{"type":"track","event":"e","userId":"u","timestamp":"2026-01-02T03:04:05Z",`+
			`"properties":{"n":%d}}`, n)
	})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex // guards counted
	counted := map[string]int{}
	ld := ldtest.New(ldtest.Config{Identity: ldtest.DataField("n"), OnRequest: func(r ldtest.Request) {
		if r.Accepted && !r.Duplicate {
			mu.Lock()
			defer mu.Unlock()
			for _, n := range r.Identities {
				counted[n]++
			}
		}
	}})
	server := httptest.NewServer(ld)
	t.Cleanup(server.Close)
	start := func() (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
		cmd = program(t, []string{
			"S2LD_KAFKA_BROKERS=" + kafka.Brokers()[0], "S2LD_KAFKA_TOPICS=segment", "S2LD_ADMIN_LISTEN=127.0.0.1:0",
			"S2LD_LAUNCHDARKLY_EVENTS_URL=" + server.URL, "S2LD_LAUNCHDARKLY_CLIENT_SIDE_ID=" + ldtest.Sample.ClientSideID,
			"S2LD_DELIVERY_MAX_EVENTS_PER_SECOND=5000", // so that the run lasts long enough to kill a member midway
		}, "run", "--until-end")
		stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
		cmd.Stdout, cmd.Stderr = stdout, stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd, stdout, stderr
	}
	var commands [3]*exec.Cmd
	var outs, logs [3]*bytes.Buffer
	for i := range commands {
		commands[i], outs[i], logs[i] = start()
	}
	if err := ld.Wait(t.Context(), records/3); err != nil {
		t.Fatal(err)
	}
	if err := commands[0].Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = commands[0].Wait() // it was killed
	time.Sleep(3 * time.Second)
	commands[0], outs[0], logs[0] = start()
	for i, cmd := range commands {
		if err := cmd.Wait(); err != nil {
			t.Errorf("member %d: %v\n%s", i, err, logs[i])
		}
		var s app.Summary
		if err := json.Unmarshal(outs[i].Bytes(), &s); err != nil || !s.Complete {
			t.Errorf("member %d: summary %s: %v", i, outs[i], err)
		}
		t.Logf("member %d: %s", i, outs[i])
	}
	mu.Lock()
	defer mu.Unlock()
	for n := range records {
		if c := counted[fmt.Sprint(n)]; c != 1 {
			t.Fatalf("event %d counted %d times, want 1", n, c)
		}
	}
	report := ld.Report()
	t.Logf("%v requests by status, %d resent after acceptance", report.Requests, report.Duplicates)
	if len(counted) != records || report.ViolationCount > 0 || report.Dropped > 0 {
		t.Errorf("%d events counted, want %d; %d dropped; violations %v",
			len(counted), records, report.Dropped, report.Violations)
	}
	committed, err := kafkatest.Committed(t.Context(), kafka.Brokers(), "segment-to-launchdarkly")
	if err != nil {
		t.Fatal(err)
	}
	sum := int64(0)
	for partition := range int32(6) {
		o, _ := committed.Lookup("segment", partition)
		sum += o.At
	}
	if sum != records {
		t.Errorf("committed %d offsets, want %d", sum, records)
	}
}
