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
	"go.uber.org/zap/zapcore"

	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// Headers of a dead letter, in addition to those of the record.
const (
	headerPrefix    = "s2ld."
	headerReason    = headerPrefix + "reason"    // mapping reason, or reasonRefused
	headerDetail    = headerPrefix + "detail"    // mapping error, or LaunchDarkly's response
	headerTopic     = headerPrefix + "topic"     // topic of the record
	headerPartition = headerPrefix + "partition" // partition of the record
	headerOffset    = headerPrefix + "offset"    // offset of the record
	headerCall      = headerPrefix + "call"      // index of the call in the record, starting at 0
	headerStatus    = headerPrefix + "status"    // HTTP status, if LaunchDarkly rejected the event
	headerOmitted   = headerPrefix + "omitted"   // size of the value in bytes, if too large for the topic
	headerValue     = headerPrefix + "value"     // valueEvent, if the value is not that of the record
)

// valueEvent marks a dead letter whose value is the LaunchDarkly event, because the record was
// already deleted when LaunchDarkly rejected the event.
const valueEvent = "event"

// reasonRefused is the reason for events rejected by LaunchDarkly.
const reasonRefused = "refused"

// rejection describes why a call becomes a dead letter.
type rejection struct {
	reason, detail string
	status         int  // HTTP status of LaunchDarkly's response; 0 if there was none
	event          bool // the value is the LaunchDarkly event
}

// deadLetters writes calls that can never be delivered to the dead-letter topic. It has its own
// clients, which outlive the sessions, and is safe for concurrent use. A dead letter may be written
// twice after a crash, after a release of the partition, or after a lost acknowledgement.
type deadLetters struct {
	cfg     *Config
	health  *health
	metrics *metrics
	log     *zap.Logger
	limited *zap.Logger // rate-limited log of rejected calls

	producer  *kgo.Client   // for letters of up to largeLetter bytes
	large     *kgo.Client   // for larger letters, one at a time, since a batch would exceed the topic's limit
	largeMu   chanMutex     // held while large writes
	rereadSem chan struct{} // bounds concurrent rereads; capacity maxRereads
	failing   failingLetters

	writing sync.WaitGroup // dead letters in progress, from write to done
}

const (
	maxRereads       = 4           // maximum number of concurrent rereads
	rejectionsLogged = 50          // rejected calls logged per second; the metrics count all of them
	letterBackoff    = time.Second // between attempts to write a dead letter, on top of the client's own retries
	largeLetter      = 900_000     // bytes; batches of smaller letters stay below the brokers' default limit of 1 MB
	largestLetter    = 90 << 20    // bytes; the client's requests are limited to 100 MiB
)

// newDeadLetters returns a writer for dead letters. It does not connect.
func newDeadLetters(cfg *Config, h *health, m *metrics) (*deadLetters, error) {
	d := &deadLetters{
		cfg: cfg, health: h, metrics: m, log: cfg.Log,
		largeMu: make(chanMutex, 1), rereadSem: make(chan struct{}, maxRereads),
	}
	d.limited = cfg.Log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(core, time.Second, rejectionsLogged, 0)
	}))
	// Before Kafka 3.0, an idempotent producer needs a permission on the cluster. It also keeps
	// letters whose outcome is unknown. Since letters may be written twice, idempotence gains
	// nothing.
	opts := slices.Concat(cfg.Client, cfg.Hooks, []kgo.Opt{
		kgo.DisableIdempotentWrite(), kgo.DisableClientMetrics(), kgo.UnknownTopicRetries(0),
	})
	var err error
	if d.producer, err = kgo.NewClient(opts...); err != nil {
		return nil, fmt.Errorf("dead letters: %w", err)
	}
	if d.large, err = kgo.NewClient(append(opts, kgo.ProducerBatchMaxBytes(largestLetter))...); err != nil {
		d.producer.Close()
		return nil, fmt.Errorf("dead letters: %w", err)
	}
	return d, nil
}

// close closes the clients and waits for all writes. Their contexts must be done.
func (d *deadLetters) close() {
	d.producer.Close()
	d.large.Close()
	d.writing.Wait()
}

// logRejected logs a call that the mapping rejected.
func (d *deadLetters) logRejected(r *kgo.Record, call int, c transform.Call) {
	d.limited.Warn("call rejected",
		zap.String("topic", r.Topic), zap.Int32("partition", r.Partition), zap.Int64("offset", r.Offset),
		zap.Int("call", call), zap.Stringer("reason", c.Reason), zap.String("detail", c.Detail))
}

// compose returns the dead letter for one call of a record.
func (d *deadLetters) compose(r *kgo.Record, call int, why rejection) *kgo.Record {
	// The memory of the record will be reused (see recordPool), so everything is copied.
	l := &kgo.Record{
		Topic: d.cfg.DeadLetterTopic, Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value), Timestamp: r.Timestamp,
	}
	// The headers of an earlier dead letter are dropped.
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
	add(headerTopic, r.Topic)
	add(headerPartition, strconv.Itoa(int(r.Partition)))
	add(headerOffset, strconv.FormatInt(r.Offset, 10))
	add(headerCall, strconv.Itoa(call))
	if why.status != 0 {
		add(headerStatus, strconv.Itoa(why.status))
	}
	if why.event {
		add(headerValue, valueEvent)
	}
	return l
}

// letterBytes returns the approximate memory use of a dead letter.
func letterBytes(l *kgo.Record) int { return len(l.Key) + len(l.Value) + recordOverhead }

// write writes a dead letter, and retries until the broker has acknowledged it or ctx is done. Then
// it calls done once. It blocks while the client's buffer is full.
func (d *deadLetters) write(ctx context.Context, l *kgo.Record, done func(error)) {
	d.writing.Add(1)
	d.writeOnce(ctx, l, func(err error) {
		defer d.writing.Done()
		if d.failing.remove(l) { // no letter waits for another attempt
			d.health.resolve(subjectDeadLetters)
		}
		if err == nil {
			d.metrics.deadLetters.WithLabelValues(header(l, headerReason)).Inc()
		}
		done(err)
	})
}

// writeOnce makes one attempt to write l and passes the result to onWritten.
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

// onWritten calls done or schedules another attempt. It does not block, since the client may be
// waiting for it.
func (d *deadLetters) onWritten(ctx context.Context, l *kgo.Record, err error, done func(error)) {
	wait := letterBackoff
	switch {
	case err == nil:
		done(nil)
		return
	case ctx.Err() != nil:
		done(context.Cause(ctx))
		return
	case errors.Is(err, context.Canceled): // the context of another letter in the same producer batch
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
			text: fmt.Sprintf("cannot write to the dead-letter topic %s, so commits are blocked: %s",
				l.Topic, adviseDeadLetter(err)),
			fields: []zap.Field{zap.String("topic", l.Topic), zap.Error(err)},
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

// failingLetters is the set of dead letters whose last attempt failed. The zero value is empty and
// ready to use.
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

// remove removes a letter that was written or abandoned, and reports whether the set is now empty.
func (f *failingLetters) remove(l *kgo.Record) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.letters, l)
	return len(f.letters) == 0
}

// writeRejected writes the dead letter for an event rejected by LaunchDarkly. It returns when the
// broker has acknowledged the letter or ctx is done. The record is no longer in memory, so it is
// read again.
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
	case <-ctx.Done(): // the client does not cancel a write that may have happened
		return context.Cause(ctx)
	}
}

// callOf returns the index of the call behind an event of a record.
func (d *deadLetters) callOf(r *kgo.Record, event int) int {
	if d.cfg.Redrive {
		if call := redrivenCall(r); call != allCalls {
			return call
		}
	}
	_, calls := d.cfg.Mapping.NewTransformer().Append(nil, nil, r.Value, r.Timestamp.UnixMilli())
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

// allCalls is the call index that means all calls of a record.
const allCalls = -1

// redrivenCall returns the index of the call that a dead letter was written for, or allCalls if its
// headers name none. The other calls of the record were already delivered.
func redrivenCall(r *kgo.Record) int {
	if call, err := strconv.Atoi(header(r, headerCall)); err == nil && call >= 0 {
		return call
	}
	return allCalls
}

// isEvent reports whether the value of a dead letter is a LaunchDarkly event.
func isEvent(r *kgo.Record) bool { return header(r, headerValue) == valueEvent }

// numericHeader returns a log field with the number in a header.
func numericHeader(r *kgo.Record, key, name string) zap.Field {
	n, _ := strconv.ParseInt(header(r, name), 10, 64)
	return zap.Int64(key, n)
}

// header returns the value of a header, or "" if the record does not have it.
func header(r *kgo.Record, key string) string {
	for i := range r.Headers {
		if r.Headers[i].Key == key {
			return string(r.Headers[i].Value)
		}
	}
	return ""
}
