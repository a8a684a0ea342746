package consumer_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/segment-to-launchdarkly/forwarder/consumer"
	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

func ExampleNew() {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()

	// Start an embedded broker with three calls in a topic, and a fake LaunchDarkly.
	broker, err := kafkatest.NewEmbedded(kfake.SeedTopics(1, "segment"))
	check(err)
	defer broker.Close()
	calls := []string{
		`{"type":"track","event":"Order Completed","userId":"u1"}`,
		`{"type":"page","userId":"u1"}`,
		`{"type":"track","event":"Order Refunded","userId":"u2"}`,
	}
	check(kafkatest.Produce(ctx, broker.ListenAddrs(), "segment", 0, len(calls),
		func(n int) []byte { return []byte(calls[n]) }))
	ld := ldtest.New(ldtest.Config{})
	server := httptest.NewServer(ld)
	defer server.Close()

	client, err := sink.New(sink.Config{
		EventsURL: server.URL, Endpoint: sink.ClientSide, ClientSideID: ldtest.Sample.ClientSideID,
		Schema: 3, Version: "example",
		MaxInFlight: 4, Timeout: 10 * time.Second, BackoffMin: time.Second, BackoffMax: time.Minute,
	})
	check(err)
	mapping, err := transform.Compile(transform.Config{Schema: 3})
	check(err)
	c, err := consumer.New(consumer.Config{
		Client: []kgo.Opt{kgo.SeedBrokers(broker.ListenAddrs()...)},
		Topics: []string{"segment"}, Group: "forwarder", SessionTimeout: 10 * time.Second,
		MaxEvents: 1000, MaxBytes: 1 << 20, MaxAge: 100 * time.Millisecond, DrainTimeout: 20 * time.Second,
		Mapping: mapping, Sink: client, Budget: sink.NewBudget(64 << 20),
		Registry: prometheus.NewRegistry(), Log: zap.NewNop(),
	})
	check(err)

	run, leave := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- c.Run(run) }()
	check(ld.Wait(ctx, 2)) // until LaunchDarkly has counted two events
	leave()
	check(<-done) // everything is delivered and committed
	client.Close()

	committed, err := kafkatest.Committed(ctx, broker.ListenAddrs(), "forwarder")
	check(err)
	offset, _ := committed.Lookup("segment", 0)
	fmt.Println("records mapped:", c.Status().Records)
	fmt.Println("events that count:", ld.Report().Processed)
	fmt.Println("committed offset:", offset.At)
	// Output:
	// records mapped: 3
	// events that count: 2
	// committed offset: 3
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
