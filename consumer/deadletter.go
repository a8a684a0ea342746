package consumer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// A dead letter has these headers in addition to those of the original record.
const (
	headerPrefix    = "s2ld."
	headerReason    = headerPrefix + "reason"    // mapping reason, or reasonRefused
	headerDetail    = headerPrefix + "detail"    // mapping error, or LaunchDarkly's response
	headerTopic     = headerPrefix + "topic"     // topic of the original record
	headerPartition = headerPrefix + "partition" // partition of the original record
	headerOffset    = headerPrefix + "offset"    // offset of the original record
	headerCall      = headerPrefix + "call"      // zero-based index of the call in the original record
	headerStatus    = headerPrefix + "status"    // LaunchDarkly's HTTP status, if LaunchDarkly rejected the event
	headerOmitted   = headerPrefix + "omitted"   // size of the omitted value in bytes, if it was too large for the topic
	headerValue     = headerPrefix + "value"     // the constant valueEvent if the value is the LaunchDarkly event
	headerAttempts  = headerPrefix + "attempts"  // how often the call has failed, if more than once
)

// valueEvent marks a dead letter whose value is the LaunchDarkly event, because the original record
// is no longer available.
const valueEvent = "event"

// reasonRefused is the dead-letter reason for events rejected by LaunchDarkly.
const reasonRefused = "refused"

// rejection describes why a call becomes a dead letter.
type rejection struct {
	reason, detail string
	status         int  // LaunchDarkly's HTTP status; 0 if the mapping rejected the call
	event          bool // the dead letter's value is the LaunchDarkly event
}

// deadLetters writes rejected calls to the dead-letter topic. It has its own clients, which outlive
// sessions, and is safe for concurrent use. A dead letter may be written twice after a crash, a
// partition release, or a lost acknowledgment.
type deadLetters struct {
	cfg     *Config
	health  *health
	metrics *metrics
	log     *zap.Logger

	producer  *kgo.Client   // writes dead letters of up to largeLetter bytes, uncompressed
	large     *kgo.Client   // writes larger dead letters singly and compressed, to stay below the topic's limit
	largeMu   chanMutex     // held while a larger dead letter is being written
	rereadSem chan struct{} // bounds concurrent rereads; capacity maxRereads
	failing   failingLetters

	writing sync.WaitGroup // dead letters not yet acknowledged or abandoned
}

const (
	maxRereads    = 4           // maximum concurrent rereads
	letterBackoff = time.Second // between attempts to write a dead letter, on top of the client's own retries
	largeLetter   = 900_000     // bytes; producer batches of smaller letters stay below the brokers' 1 MB default limit
	largestLetter = 90 << 20    // bytes; the client limits requests to 100 MiB
)

// newDeadLetters returns a dead-letter writer. It does not connect to Kafka.
func newDeadLetters(cfg *Config, h *health, m *metrics) (*deadLetters, error) {
	d := &deadLetters{
		cfg: cfg, health: h, metrics: m, log: cfg.Log,
		largeMu: make(chanMutex, 1), rereadSem: make(chan struct{}, maxRereads),
	}
	// Idempotence gains nothing, because dead letters may be written twice anyway. An idempotent
	// producer also cannot cancel records whose outcome is unknown, and needs a cluster permission
	// on brokers older than Kafka 3.0.
	opts := slices.Clip(slices.Concat(cfg.Client, cfg.Hooks, []kgo.Opt{
		kgo.DisableIdempotentWrite(), kgo.DisableClientMetrics(), kgo.UnknownTopicRetries(0),
	}))
	var err error
	uncompressed := kgo.ProducerBatchCompression(kgo.NoCompression()) // Azure Event Hubs rejects compressed records
	if d.producer, err = kgo.NewClient(append(opts, uncompressed)...); err != nil {
		return nil, fmt.Errorf("create the dead-letter producer: %w", err)
	}
	if d.large, err = kgo.NewClient(append(opts, kgo.ProducerBatchMaxBytes(largestLetter))...); err != nil {
		d.producer.Close()
		return nil, fmt.Errorf("create the dead-letter producer: %w", err)
	}
	return d, nil
}

// close closes the clients and waits for all writes to finish. The writes' contexts must already be
// done.
func (d *deadLetters) close() {
	d.producer.Close()
	d.large.Close()
	d.writing.Wait()
}

// compose returns the dead letter for one call of a record.
func (d *deadLetters) compose(r *kgo.Record, call int, why rejection) *kgo.Record {
	// Copy everything, because recordPool reuses the record's memory.
	l := &kgo.Record{
		Topic: d.cfg.DeadLetterTopic, Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value), Timestamp: r.Timestamp,
	}
	// Drop the headers of an earlier dead letter.
	for _, h := range r.Headers {
		if !strings.HasPrefix(h.Key, headerPrefix) {
			l.Headers = append(l.Headers, kgo.RecordHeader{Key: strings.Clone(h.Key), Value: bytes.Clone(h.Value)})
		}
	}
	add := func(key, value string) {
		l.Headers = append(l.Headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
	}
	add(headerReason, why.reason)
	add(headerDetail, why.detail)
	if d.cfg.Redrive && header(r, headerTopic) != "" { // keep the position of the original record
		for _, key := range []string{headerTopic, headerPartition, headerOffset, headerCall} {
			add(key, header(r, key))
		}
		earlier, _ := strconv.Atoi(header(r, headerAttempts))
		add(headerAttempts, strconv.Itoa(max(earlier, 1)+1))
	} else {
		add(headerTopic, r.Topic)
		add(headerPartition, strconv.Itoa(int(r.Partition)))
		add(headerOffset, strconv.FormatInt(r.Offset, 10))
		add(headerCall, strconv.Itoa(call))
	}
	if why.status != 0 {
		add(headerStatus, strconv.Itoa(why.status))
	}
	if why.event {
		add(headerValue, valueEvent)
	}
	return l
}

// letterBytes returns a dead letter's approximate memory use in bytes.
func letterBytes(l *kgo.Record) int { return len(l.Key) + len(l.Value) + recordOverhead }

// write writes a dead letter, retrying until the broker has acknowledged it or ctx is done, and
// then calls the function done exactly once. It blocks only while the client's buffer is full.
func (d *deadLetters) write(ctx context.Context, l *kgo.Record, done func(error)) {
	d.writing.Add(1)
	d.writeOnce(ctx, l, func(err error) {
		defer d.writing.Done()
		if d.failing.remove(l) { // no dead letter is waiting for another attempt
			d.health.resolve(subjectDeadLetters)
		}
		if err == nil {
			d.metrics.deadLetters.WithLabelValues(header(l, headerReason)).Inc()
		}
		done(err)
	})
}

// writeOnce attempts to write l once. onWritten handles the result.
func (d *deadLetters) writeOnce(ctx context.Context, l *kgo.Record, done func(error)) {
	attempt := &kgo.Record{Topic: l.Topic, Key: l.Key, Value: l.Value, Headers: l.Headers, Timestamp: l.Timestamp}
	if letterBytes(l) <= largeLetter {
		d.producer.Produce(ctx, attempt, func(_ *kgo.Record, err error) { d.onWritten(ctx, l, err, done) })
		return
	}
	go func() {
		if err := d.largeMu.lock(ctx); err != nil {
			done(err)
			return
		}
		err := d.large.ProduceSync(ctx, attempt).FirstErr()
		d.largeMu.unlock()
		d.onWritten(ctx, l, err, done)
	}()
}

// onWritten calls the function done or schedules another attempt. onWritten does not block, because
// the client may be waiting for it.
func (d *deadLetters) onWritten(ctx context.Context, l *kgo.Record, err error, done func(error)) {
	wait := letterBackoff
	switch {
	case err == nil:
		done(nil)
		return
	case ctx.Err() != nil:
		done(context.Cause(ctx))
		return
	case errors.Is(err, context.Canceled): // another dead letter in the same producer batch was canceled
	case errors.Is(err, kerr.MessageTooLarge) && len(l.Value) > largeLetter/2:
		d.log.Warn("record too large for the dead-letter topic; omitting its value",
			zap.String("topic", header(l, headerTopic)), numericHeader(l, "partition", headerPartition),
			numericHeader(l, "offset", headerOffset), zap.Int("bytes", len(l.Value)))
		omitted := kgo.RecordHeader{Key: headerOmitted, Value: strconv.AppendInt(nil, int64(len(l.Value)), 10)}
		l.Value, l.Headers, wait = nil, append(l.Headers, omitted), 0
	default:
		d.failing.add(l)
		d.health.report(subjectDeadLetters, problem{
			message: "dead-letter writes failing; commits blocked",
			text:    fmt.Sprintf("cannot write to the dead-letter topic %s, so commits are blocked: %v", l.Topic, err),
			advice:  DeadLetterAdvice(err),
			fields:  []zap.Field{zap.String("topic", l.Topic), zap.Error(err)},
		})
	}
	go func() {
		select {
		case <-time.After(wait):
			d.writeOnce(ctx, l, done)
		case <-ctx.Done():
			done(context.Cause(ctx))
		}
	}()
}

// failingLetters is the set of dead letters whose last write attempt failed. The zero value is
// empty and ready to use.
type failingLetters struct {
	mu      sync.Mutex // guards the fields below
	letters map[*kgo.Record]bool
}

func (f *failingLetters) add(l *kgo.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.letters == nil {
		f.letters = map[*kgo.Record]bool{}
	}
	f.letters[l] = true
}

// remove removes a written or abandoned dead letter, and reports whether the set is now empty.
func (f *failingLetters) remove(l *kgo.Record) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.letters, l)
	return len(f.letters) == 0
}

// writeRejected logs an event rejected by LaunchDarkly. If there is a dead-letter topic, it also
// writes the event's dead letter, and returns when the broker has acknowledged the dead letter or
// ctx is done. To write the dead letter, writeRejected reads the original record again, because the
// record is no longer in memory.
func (d *deadLetters) writeRejected(ctx context.Context, r sink.Rejection) error {
	source, offset := r.Batch.Source, r.Batch.Offset(r.Event)
	d.log.Warn("event rejected by LaunchDarkly",
		zap.String("topic", source.Topic), zap.Int32("partition", source.Partition), zap.Int64("offset", offset),
		zap.String("reason", reasonRefused), zap.Int("status", r.Status), zap.String("response", r.Excerpt))
	if d.cfg.DeadLetterTopic == "" {
		return nil
	}
	select {
	case d.rereadSem <- struct{}{}:
		defer func() { <-d.rereadSem }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	record, err := reread(ctx, d.cfg.Client, topicPartition{source.Topic, source.Partition}, offset)
	if err != nil {
		return err
	}
	call, why := 0, rejection{reason: reasonRefused, detail: r.Excerpt, status: r.Status}
	if record == nil { // deleted by retention or compaction; only the event is left
		record = &kgo.Record{Topic: source.Topic, Partition: source.Partition, Offset: offset, Value: r.Body}
		why.event = true
	} else {
		call = d.callOf(record, r.Batch.EventInRecord(r.Event))
		why.event = d.cfg.Redrive && isEvent(record)
	}
	letter := d.compose(record, call, why)
	written := make(chan error, 1)
	d.write(ctx, letter, func(err error) { written <- err })
	select {
	case err := <-written:
		return err
	case <-ctx.Done(): // the client does not cancel writes that the broker may have received
		return context.Cause(ctx)
	}
}

// callOf returns the index of the call that produced an event. The argument event is the event's
// index among the record's events.
func (d *deadLetters) callOf(r *kgo.Record, event int) int {
	if d.cfg.Redrive {
		if call := redrivenCall(r); call != allCalls {
			return call
		}
	}
	_, calls := d.cfg.Mapping.NewTransformer().Append(nil, nil, Input(r, d.cfg.Redrive))
	for i, call := range calls {
		if call.Reason != transform.None {
			continue
		}
		if event == 0 {
			return i
		}
		event--
	}
	return 0
}

// allCalls is the call index that selects all calls of a record.
const allCalls = -1

// redrivenCall returns the index of the call that a dead letter was written for, or allCalls if the
// headers name no call. The record's other calls must not be mapped again.
func redrivenCall(r *kgo.Record) int {
	if call, err := strconv.Atoi(header(r, headerCall)); err == nil && call >= 0 {
		return call
	}
	return allCalls
}

// redrives reports whether RedriveReasons selects a dead letter.
func (c *Config) redrives(r *kgo.Record) bool {
	return len(c.RedriveReasons) == 0 || slices.Contains(c.RedriveReasons, header(r, headerReason))
}

// isEvent reports whether a dead letter's value is a LaunchDarkly event.
func isEvent(r *kgo.Record) bool { return header(r, headerValue) == valueEvent }

// numericHeader returns the number in the header with the given name, as a log field with the given
// key.
func numericHeader(r *kgo.Record, key, name string) zap.Field {
	n, _ := strconv.ParseInt(header(r, name), 10, 64)
	return zap.Int64(key, n)
}

// header returns the value of a header, or "" if the record has no such header.
func header(r *kgo.Record, key string) string {
	for i := range r.Headers {
		if r.Headers[i].Key == key {
			return string(r.Headers[i].Value)
		}
	}
	return ""
}

// Reason returns the reason in a dead letter's headers, or "" if the record is not a dead letter.
func Reason(letter *kgo.Record) string { return header(letter, headerReason) }

// DeadLetterReasons returns all reasons for which dead letters are written.
func DeadLetterReasons() []string {
	all := []string{reasonRefused}
	for reason := range transform.Reasons {
		if reason.Outcome() == transform.Rejected {
			all = append(all, reason.String())
		}
	}
	return all
}
