package sink_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// sealed returns a batch with one event, from offset 40 of a topic.
func sealed() *sink.Batch {
	buffer := sink.NewBuffer(1000, 1<<20)
	event := `{"kind":"custom","key":"Order Completed","userKey":"u1","creationDate":1592588370692},`
	buffer.Extend(append(buffer.Bytes(), event...), 1, 40, time.UnixMilli(1592588370692))
	return buffer.Seal(sink.Source{Group: "forwarder", Topic: "segment"}, 0, 40, 41, false)
}

func ExampleBuffer() {
	buffer := sink.NewBuffer(2, 1<<20) // 2 events, 1 MiB
	seal := func(next int64) *sink.Batch {
		return buffer.Seal(sink.Source{Group: "forwarder", Topic: "segment"}, 0, next-2, next, false)
	}
	for offset := range int64(3) {
		body := fmt.Appendf(buffer.Bytes(), `{"kind":"custom","key":"event %d"},`, offset)
		full := buffer.Append(body, 1, offset, time.Now(), func() *sink.Batch { return seal(offset) })
		if full != nil {
			fmt.Printf("sealed offsets %d to %d: %d events\n", full.First, full.Next-1, full.Events)
		}
	}
	fmt.Printf("%d event left in %d bytes\n", buffer.Events(), buffer.Len())
	// Output:
	// sealed offsets 0 to 1: 2 events
	// 1 event left in 35 bytes
}

// The first request takes effect, but its response never arrives. The second one fails. The client
// retries under the same payload ID, and LaunchDarkly counts the event once.
func ExampleClient() {
	ld := ldtest.New(ldtest.Config{})
	ld.Script(ldtest.Fault{Kind: ldtest.Reset, Accepted: true}, ldtest.Fault{Status: 503})
	server := httptest.NewServer(ld)
	defer server.Close()
	client, err := sink.New(sink.Config{
		EventsURL: server.URL, Endpoint: sink.ClientSide, ClientSideID: ldtest.Sample.ClientSideID,
		Schema: 3, Version: "example",
		MaxInFlight: 1, Timeout: 10 * time.Second, BackoffMin: time.Millisecond, BackoffMax: time.Second,
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	done := make(chan error)
	client.Deliver(context.Background(), sink.Delivery{Batch: sealed(), Done: func(err error) { done <- err }})
	fmt.Println("error:", <-done)
	client.Close()
	fmt.Println("retries:", client.Status().Retries)
	fmt.Println("events that count:", ld.Report().Processed)
	// Output:
	// error: <nil>
	// retries: 2
	// events that count: 1
}
