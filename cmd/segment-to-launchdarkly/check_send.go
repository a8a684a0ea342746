package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/app"
	"github.com/segment-to-launchdarkly/forwarder/cmd/internal/config"
	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// checkKey is the key of the user, or of each context, in the event that check sends.
const checkKey = name + "-check"

// checkSend sends one event and reports LaunchDarkly's response. It sends nothing if another check
// in c has failed.
func (c *checks) checkSend(cfg *config.Config, event string, transport http.RoundTripper) {
	subject := fmt.Sprintf("event %q", event)
	if c.failed {
		c.skip(subject, "not sent, because another check of LaunchDarkly failed")
		return
	}
	batch, err := checkBatch(cfg, event)
	if err != nil {
		c.fail(subject, err, "")
		return
	}
	last := &lastResponse{transport: transport}
	var client *sink.Client
	delivery, err := app.SinkConfig(cfg)
	if err == nil {
		delivery.Transport = last
		client, err = sink.New(delivery)
	}
	if err != nil {
		c.fail(subject, err, "")
		return
	}
	halt, took, err := deliverOnce(client, batch)
	response := fmt.Sprintf("%d %s", last.code, http.StatusText(last.code))
	if halt.Cause != "" {
		response = halt.Cause
	}
	switch {
	case err == nil:
		c.pass(subject, fmt.Sprintf("sent with the key %s; LaunchDarkly responded with %s in %v. "+
			"LaunchDarkly can accept an event and then drop it, so look for the event in the event explorer or "+
			"the live events of the environment. A metric counts the event only if the metric's event key is exactly %q.",
			checkKey, response, took, event))
	case last.err != nil:
		c.fail(subject, last.err, eventsURLAdvice(last.err))
	case last.code == 0: // the request could not be built
		c.fail(subject, errors.New(response), "Fix launchdarkly.access_token or launchdarkly.header_files.")
	default:
		c.fail(subject, fmt.Errorf("LaunchDarkly responded in %v with %s", took, response),
			responseAdvice(last.code, cfg.LaunchDarkly.Endpoint))
	}
}

// checkBatch returns a batch with the event of a track call. It uses the configured mapping without
// envelopes, filters, or the selection of properties.
func checkBatch(cfg *config.Config, event string) (*sink.Batch, error) {
	rules := cfg.Mapping()
	rules.Unwrap, rules.Filter, rules.Data = nil, transform.Filter{}, transform.Data{}
	rules.Contexts = maps.Clone(rules.Contexts)
	for kind := range rules.Contexts {
		rules.Contexts[kind] = []string{"userId"}
	}
	mapping, err := transform.Compile(rules)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	call, err := json.Marshal(map[string]string{
		"type": "track", "event": event, "userId": checkKey, "timestamp": now.UTC().Format(time.RFC3339Nano),
	})
	if err != nil {
		return nil, err
	}
	buffer := sink.NewBuffer(cfg.Batch.MaxEvents, int(cfg.Batch.MaxBytes))
	record := transform.Record{Value: call, Timestamp: now.UnixMilli()}
	body, calls := mapping.NewTransformer().Append(buffer.Bytes(), nil, record)
	if calls[0].Reason != transform.None {
		return nil, fmt.Errorf("the mapping rejects the event (%s): %s", calls[0].Reason, calls[0].Detail)
	}
	buffer.Extend(body, 1, 0, now)
	// A random topic ID gives each batch its own payload ID. Batches from Kafka have a topic name, so
	// their payload IDs are different.
	return buffer.Seal(sink.Source{TopicID: uuid.New()}, -1, 0, 1, cfg.Batch.Gzip), nil
}

// deliverOnce sends a batch without retries and closes the client. took is the time until the
// response. err is nil if LaunchDarkly accepted the batch.
func deliverOnce(client *sink.Client, batch *sink.Batch) (halt sink.Halt, took time.Duration, err error) {
	ctx, cancel := checkContext()
	defer cancel()
	until, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	start := time.Now()
	client.Deliver(ctx, sink.Delivery{
		Batch: batch, Until: until, Done: func(err error) { done <- err },
		Rejected: func(_ context.Context, r sink.Rejection) error {
			return fmt.Errorf("rejected with status %d", r.Status)
		},
	})
	stop() // no retries: a new client starts the first attempt in Deliver
	err = <-done
	took = time.Since(start).Round(time.Millisecond)
	client.Close()
	return client.Halted(), took, err
}

// responseAdvice returns advice on a response that does not accept the event.
func responseAdvice(code int, endpoint string) string {
	switch {
	case code >= 200 && code < 300:
		return "The response was incomplete. Check whether a proxy interrupts the connection."
	case code == http.StatusNotFound && endpoint == string(sink.ClientSide):
		return clientSideIDAdvice
	case code == http.StatusNotFound:
		return "Fix launchdarkly.project_key and launchdarkly.environment_key."
	case (code == http.StatusUnauthorized || code == http.StatusForbidden) && endpoint == string(sink.MetricImport):
		return "Fix launchdarkly.access_token, or allow the action importEventData in the token's role."
	case code == http.StatusRequestTimeout, code == http.StatusTooManyRequests, code >= 500:
		return "Repeat the check later. The run command retries such requests."
	}
	return "Fix launchdarkly.events_url, or find out whether a proxy responds in place of LaunchDarkly."
}

// lastResponse is a transport that keeps the result of the last request.
type lastResponse struct {
	transport http.RoundTripper

	code int // status code; 0 if there was no response
	err  error
}

func (l *lastResponse) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := l.transport.RoundTrip(req)
	l.err = err
	if err == nil {
		l.code = resp.StatusCode
	}
	return resp, err
}
