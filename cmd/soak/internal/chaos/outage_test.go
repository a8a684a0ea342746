//go:build linux

package chaos

import (
	"bytes"
	"context"
	"net/http/httptest"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
	"github.com/segment-to-launchdarkly/forwarder/transform"
	"github.com/segment-to-launchdarkly/forwarder/transform/segmenttest"
)

const (
	backlog      = 400_000
	outageMemory = 150 << 20 // limit on resident memory in bytes
)

// The program starts with a backlog of 400,000 records while LaunchDarkly is down. Its memory stays
// flat and nothing is committed. After the outage, everything is delivered.
func TestOutageWithABacklogKeepsMemoryFlatAndLosesNothing(t *testing.T) {
	if os.Getenv("KAFKA_TEST") == "" {
		t.Skip("takes half a minute of CPU: set KAFKA_TEST=1")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	cluster, err := kafkatest.NewEmbedded(kfake.DataDir(t.TempDir()), kfake.SeedTopics(6, "segment"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	events := produceBacklog(ctx, t, cluster.ListenAddrs())

	ld := ldtest.New(ldtest.Config{})
	ld.Down(ldtest.Fault{Status: 503})
	server := httptest.NewServer(ld)
	defer server.Close()

	p, err := startMember(t.TempDir(), "program", built(t), []string{
		"S2LD_KAFKA_BROKERS=" + cluster.ListenAddrs()[0], "S2LD_KAFKA_TOPICS=segment",
		"S2LD_LAUNCHDARKLY_EVENTS_URL=" + server.URL, "S2LD_LAUNCHDARKLY_CLIENT_SIDE_ID=" + ldtest.Sample.ClientSideID,
		"S2LD_DELIVERY_BACKOFF_MAX=2s", "S2LD_ADMIN_LISTEN=127.0.0.1:0",
	})
	if err != nil {
		t.Fatal(err)
	}

	// Without deliveries, the program stops reading after a few seconds.
	time.Sleep(8 * time.Second)
	early := processMemory(p.process.Pid, residentNow)
	time.Sleep(8 * time.Second)
	if late := processMemory(p.process.Pid, residentNow); late > early+early/10 {
		t.Errorf("memory grows during the outage: %d MB, then %d MB", early>>20, late>>20)
	}
	if sum := committed(ctx, t, cluster.ListenAddrs()); sum > backlog/1000 { // filtered records before the first event
		t.Errorf("committed offsets add up to %d while nothing was delivered", sum)
	}

	ld.Up()
	if err := ld.Wait(ctx, events); err != nil {
		t.Fatalf("%d of %d events delivered\n%s", ld.Report().Processed, events, p.logTail())
	}
	if err := p.stopWith(syscall.SIGTERM, leaveLimit); err != nil || p.code != 0 {
		t.Errorf("exit code %d, %v\n%s", p.code, err, p.logTail())
	}
	peak := p.peakBytes()
	if sum := committed(ctx, t, cluster.ListenAddrs()); sum != backlog {
		t.Errorf("committed offsets add up to %d, want %d", sum, backlog)
	}
	report := ld.Report()
	if report.Processed != events || report.Duplicates > 0 || report.ViolationCount > 0 {
		t.Errorf("%d of %d events counted, %d requests sent twice, violations %v", report.Processed, events,
			report.Duplicates, report.Violations)
	}
	if peak > outageMemory {
		t.Errorf("peak memory %d MB, limit %d MB", peak>>20, outageMemory>>20)
	}
	t.Logf("%d events, memory %d MB early in the outage, peak %d MB", events, early>>20, peak>>20)
}

// produceBacklog fills the topic and returns the number of events in it.
func produceBacklog(ctx context.Context, t *testing.T, brokers []string) (events int) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic("segment"),
		kgo.ProducerBatchCompression(kgo.ZstdCompression()), kgo.MaxBufferedRecords(5000))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	generator := segmenttest.New(1)
	for n := range int64(backlog) {
		value, calls := generator.Record(n)
		for _, reason := range calls {
			if reason == transform.None {
				events++
			}
		}
		client.Produce(ctx, &kgo.Record{Value: bytes.Clone(value)}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	if err := client.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	return events
}

func committed(ctx context.Context, t *testing.T, brokers []string) (sum int64) {
	t.Helper()
	offsets, err := kafkatest.Committed(ctx, brokers, "segment-to-launchdarkly")
	if err != nil {
		t.Fatal(err)
	}
	for _, partitions := range offsets {
		for _, o := range partitions {
			sum += o.At
		}
	}
	return sum
}
