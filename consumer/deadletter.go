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

// Headers of a dead letter, in addition to the record's own.
const (
	headerPrefix    = "s2ld."
	headerReason    = headerPrefix + "reason"    // of the mapping, or refused
	headerDetail    = headerPrefix + "detail"    // what is wrong, or LaunchDarkly's response
	headerTopic     = headerPrefix + "topic"     // where the record was read
	headerPartition = headerPrefix + "partition" //
	headerOffset    = headerPrefix + "offset"    //
	headerCall      = headerPrefix + "call"      // which of the record's calls, from 0 on
	headerStatus    = headerPrefix + "status"    // of LaunchDarkly's response, if it rejected the event
	headerOmitted   = headerPrefix + "omitted"   // bytes of the value, if it is left out because the topic does not accept it
	headerValue     = headerPrefix + "value"     // valueEvent, if the value is not the record's
)

// valueEvent marks a dead letter whose value is the LaunchDarkly event, because the log no longer held
// the record when LaunchDarkly rejected it.
const valueEvent = "event"

// reasonRefused is the reason of an event that LaunchDarkly rejected.
const reasonRefused = "refused"

// rejection is why a call becomes a dead letter.
type rejection struct {
	reason, detail string
	status         int  // of LaunchDarkly's response; 0 if there was none
	event          bool // the record's value is LaunchDarkly's event
}

// deadLetters writes records that can never be delivered to the dead-letter topic. It has its own
// clients, which outlive the sessions, and is safe for concurrent use. A dead letter may be written
// twice: after a crash, after a release, or when the broker's acknowledgement is lost.
type deadLetters struct {
	cfg     *Config
	health  *health
	metrics *metrics
	log     *zap.Logger
	limited *zap.Logger // at a bounded rate: a flood of rejected calls must not become one of lines

	producer *kgo.Client   // for letters of at most largeLetter
	large    *kgo.Client   // for others, one at a time: a batch of several would exceed the topic's limit
	largeMu  chanMutex     // held while large writes
	rereads  chan struct{} // capacity: records that are read again at once
	failing  failingLetters

	writing sync.WaitGroup // dead letters, from write to done
}

const (
	maxRereads       = 4
	rejectionsLogged = 50          // rejected calls per second that are logged; the metrics count all of them
	letterBackoff    = time.Second // between attempts to write a dead letter, beyond those that the client makes
	largeLetter      = 900_000     // bytes; batches of smaller letters stay below the brokers' default limit of 1 MB
	largestLetter    = 90 << 20    // bytes; the client writes no request of more than 100 MiB
)

// newDeadLetters returns a writer of dead letters. It does not connect.
func newDeadLetters(cfg *Config, h *health, m *metrics) (*deadLetters, error) {
	d := &deadLetters{cfg: cfg, health: h, metrics: m, log: cfg.Log, largeMu: make(chanMutex, 1), rereads: make(chan struct{}, maxRereads)}
	d.limited = cfg.Log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(core, time.Second, rejectionsLogged, 0)
	}))
	// An idempotent producer would need a permission on the cluster before Kafka 3.0, and would keep
	// letters whose fate it does not know. Letters may be written twice, so it gains nothing.
	opts := slices.Concat(cfg.Client, cfg.Hooks, []kgo.Opt{kgo.DisableIdempotentWrite(), kgo.DisableClientMetrics(), kgo.UnknownTopicRetries(0)})
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

// close ends the clients and waits for all writes, whose contexts have ended.
func (d *deadLetters) close() {
	d.producer.Close()
	d.large.Close()
	d.writing.Wait()
}

// logRejected logs a call that the mapping rejected.
func (d *deadLetters) logRejected(r *kgo.Record, call int, c transform.Call) {
	d.limited.Warn("call rejected", zap.String("topic", r.Topic), zap.Int32("partition", r.Partition),
		zap.Int64("offset", r.Offset), zap.Int("call", call), zap.Stringer("reason", c.Reason), zap.String("detail", c.Detail))
}

// compose returns the dead letter of one call of a record.
func (d *deadLetters) compose(r *kgo.Record, call int, why rejection) *kgo.Record {
	// The record's memory is lent (see recordPool), so everything is copied.
	l := &kgo.Record{Topic: d.cfg.DeadLetterTopic, Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value), Timestamp: r.Timestamp}
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

// letterBytes returns about what a dead letter takes in memory.
func letterBytes(l *kgo.Record) int { return len(l.Key) + len(l.Value) + recordOverhead }

// write writes a dead letter, again until the broker has acknowledged it or ctx is done. Then it calls
// done, once. It blocks while the client's buffer is full.
func (d *deadLetters) write(ctx context.Context, l *kgo.Record, done func(error)) {
	d.writing.Add(1)
	d.attempt(ctx, l, func(err error) {
		defer d.writing.Done()
		if d.failing.ended(l) { // no letter waits for another attempt
			d.health.resolve(subjectDeadLetters)
		}
		if err == nil {
			d.metrics.deadLetters.WithLabelValues(header(l, headerReason)).Inc()
		}
		done(err)
	})
}

// attempt writes l once and has written decide how to go on.
func (d *deadLetters) attempt(ctx context.Context, l *kgo.Record, done func(error)) {
	again := &kgo.Record{Topic: l.Topic, Key: l.Key, Value: l.Value, Headers: l.Headers, Timestamp: l.Timestamp}
	if letterBytes(l) <= largeLetter {
		d.producer.Produce(ctx, again, func(_ *kgo.Record, err error) { d.written(ctx, l, err, done) })
		return
	}
	go func() {
		if err := d.largeMu.lock(ctx); err != nil {
			done(err)
			return
		}
		err := d.large.ProduceSync(ctx, again).FirstErr()
		d.largeMu.unlock()
		d.written(ctx, l, err, done)
	}()
}

// written takes the result of an attempt. It does not block, since the client may be waiting for it.
func (d *deadLetters) written(ctx context.Context, l *kgo.Record, err error, done func(error)) {
	wait := letterBackoff
	switch {
	case err == nil:
		done(nil)
		return
	case ctx.Err() != nil:
		done(context.Cause(ctx))
		return
	case errors.Is(err, context.Canceled): // of another letter that the client put into the same batch
	case errors.Is(err, kerr.MessageTooLarge) && len(l.Value) > largeLetter/2:
		d.log.Warn("record too large for the dead-letter topic; omitting its value", zap.Int("bytes", len(l.Value)),
			zap.String("topic", header(l, headerTopic)), zap.String("partition", header(l, headerPartition)), zap.String("offset", header(l, headerOffset)))
		omitted := kgo.RecordHeader{Key: headerOmitted, Value: strconv.AppendInt(nil, int64(len(l.Value)), 10)}
		l.Value, l.Headers, wait = nil, append(l.Headers, omitted), 0
	default:
		d.failing.add(l)
		d.health.report(subjectDeadLetters, fmt.Sprintf("cannot write to the dead-letter topic %s; commits wait for it: %s", l.Topic, adviseDeadLetter(err)))
	}
	go func() {
		select {
		case <-time.After(wait):
			d.attempt(ctx, l, done)
		case <-ctx.Done():
			done(context.Cause(ctx))
		}
	}()
}

// failingLetters are the dead letters whose last attempt failed. The zero value is usable.
type failingLetters struct {
	mu      sync.Mutex // guards the field below
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

// ended removes a letter that was written or abandoned. It reports whether none is left.
func (f *failingLetters) ended(l *kgo.Record) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.letters, l)
	return len(f.letters) == 0
}

// writeRefused writes the dead letter of an event that LaunchDarkly rejected, and returns when the
// broker has acknowledged it or ctx is done. Nobody has kept the record, so it is read again.
func (d *deadLetters) writeRefused(ctx context.Context, r sink.Rejection) error {
	source, offset := r.Batch.Source, r.Batch.Offset(r.Event)
	d.log.Warn("event rejected by LaunchDarkly", zap.String("topic", source.Topic), zap.Int32("partition", source.Partition),
		zap.Int64("offset", offset), zap.String("reason", reasonRefused), zap.Int("status", r.Status), zap.String("response", r.Excerpt))
	if d.cfg.DeadLetterTopic == "" {
		return nil
	}
	select {
	case d.rereads <- struct{}{}:
		defer func() { <-d.rereads }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	record, err := readAgain(ctx, d.cfg.Client, topicPartition{source.Topic, source.Partition}, offset)
	if err != nil {
		return err
	}
	call, why := 0, rejection{reason: reasonRefused, detail: r.Excerpt, status: r.Status}
	if record == nil { // deleted by retention or compaction: the event is what is left
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
	case <-ctx.Done(): // the client does not end a write that may have happened
		return context.Cause(ctx)
	}
}

// callOf returns the index of the call that became a record's event with the given index.
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

// allCalls stands for all calls of a record.
const allCalls = -1

// redrivenCall returns the index of the call that a dead letter was written for, since the record's
// other calls were delivered, or allCalls.
func redrivenCall(r *kgo.Record) int {
	if call, err := strconv.Atoi(header(r, headerCall)); err == nil && call >= 0 {
		return call
	}
	return allCalls
}

// isEvent reports whether the value of a dead letter is a LaunchDarkly event.
func isEvent(r *kgo.Record) bool { return header(r, headerValue) == valueEvent }

// header returns the value of a record's header, "" if there is none.
func header(r *kgo.Record, key string) string {
	for i := range r.Headers {
		if r.Headers[i].Key == key {
			return string(r.Headers[i].Value)
		}
	}
	return ""
}
