//go:build linux

package chaos

import (
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
)

func TestClientsReachBrokersOnlyThroughTheirLinks(t *testing.T) {
	cluster, err := kafkatest.NewEmbedded(kfake.NumBrokers(3), kfake.SeedTopics(3, "t"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	network := newNetwork(1, "127.0.0.1:1", t.Logf)
	defer network.close()
	wire, err := network.attach("m", cluster.ListenAddrs())
	if err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(wire.brokers()...), kgo.DefaultProduceTopic("t"), kgo.ConsumerGroup("g"),
		kgo.ConsumeTopics("t"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for range 100 {
		if err := client.ProduceSync(t.Context(), kgo.StringRecord("v")).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for n := 0; n < 100; {
		n += client.PollFetches(t.Context()).NumRecords()
	}
	if err := client.CommitUncommittedOffsets(t.Context()); err != nil {
		t.Fatal(err)
	}
	detail, err := kadm.NewClient(client).BrokerMetadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range detail.Brokers {
		for _, direct := range cluster.ListenAddrs() {
			if addr := b.Host + ":" + strconv.Itoa(int(b.Port)); addr == direct {
				t.Errorf("the client received the real address %s", addr)
			}
		}
	}
	if network.seen.fault != nil {
		t.Error(network.seen.fault)
	}
	if len(network.seen.commits) == 0 {
		t.Error("no commit recorded")
	}
}

// The late commit undoes the later commit of a client that retries. The broker cannot detect this.
func TestLateCommitIsAppliedAfterNewerOnes(t *testing.T) {
	cluster, err := kafkatest.NewEmbedded(kfake.SeedTopics(1, "t"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	network := newNetwork(1, "127.0.0.1:1", t.Logf)
	network.holdMin, network.holdMax = 2*time.Second, 2*time.Second
	defer network.close()
	wire, err := network.attach("m", cluster.ListenAddrs())
	if err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(wire.brokers()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	wire.links[0].arm(1)
	for _, offset := range []int64{10, 20} { // the first is held, and immediately retried
		offsets := kadm.Offsets{}
		offsets.AddOffset("t", 0, offset, -1)
		if err := admin.CommitAllOffsets(t.Context(), "g", offsets); err != nil {
			t.Fatal(err)
		}
	}
	committed := func() int64 {
		offsets, err := admin.FetchOffsets(t.Context(), "g")
		if err != nil {
			t.Fatal(err)
		}
		o, _ := offsets.Lookup("t", 0)
		return o.At
	}
	if at := committed(); at != 20 {
		t.Errorf("committed %d, want 20 while the late commit is held", at)
	}
	report := NewReport()
	for report.LateApplied == 0 && t.Context().Err() == nil {
		time.Sleep(20 * time.Millisecond)
		if err := network.seen.addTo(report); err != nil {
			t.Fatal(err)
		}
	}
	if at := committed(); at != 10 {
		t.Errorf("committed %d, want 10 after the late commit", at)
	}
}

func TestBlockedLinkDeliversWhenItHeals(t *testing.T) {
	cluster, err := kafkatest.NewEmbedded(kfake.SeedTopics(1, "t"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	network := newNetwork(1, "127.0.0.1:1", t.Logf)
	defer network.close()
	wire, err := network.attach("m", cluster.ListenAddrs())
	if err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(wire.brokers()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, blocked := range [][2]bool{{true, false}, {false, true}, {true, true}} {
		wire.links[0].block(blocked[0], blocked[1])
		responses := make(chan error, 1)
		go func() { responses <- client.Ping(t.Context()) }()
		select {
		case err := <-responses:
			t.Errorf("blocked %v: response with error %v", blocked, err)
		case <-time.After(200 * time.Millisecond):
			wire.links[0].heal()
			if err := <-responses; err != nil {
				t.Errorf("blocked %v: error after healing: %v", blocked, err)
			}
		}
	}
}
