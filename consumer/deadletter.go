package consumer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// Headers of a dead letter, beside the record's own.
const (
	headerPrefix    = "s2ld."
	headerReason    = headerPrefix + "reason"    // of the rejection, or refused
	headerDetail    = headerPrefix + "detail"    // what is wrong, or LaunchDarkly's answer
	headerTopic     = headerPrefix + "topic"     // where the record was read
	headerPartition = headerPrefix + "partition" //
	headerOffset    = headerPrefix + "offset"    //
	headerCall      = headerPrefix + "call"      // which of the record's calls, from 0 on
	headerStatus    = headerPrefix + "status"    // LaunchDarkly's, if it refused the event
	headerOmitted   = headerPrefix + "omitted"   // bytes of the value, if it is left out because the topic does not take so much
)

// reasonRefused is the reason of an event that LaunchDarkly refused.
const reasonRefused = "refused"

// redriven returns which of a record's calls are to be mapped: one, if the record is
// a dead letter, since the record's other calls were delivered. nil stands for all.
func redriven(r *kgo.Record) []int {
	for i := range r.Headers {
		if r.Headers[i].Key == headerCall {
			if call, err := strconv.Atoi(string(r.Headers[i].Value)); err == nil && call >= 0 {
				return []int{call}
			}
		}
	}
	return nil
}

// reject writes the rejected calls of a record as dead letters, one each. The range
// that is open is not finished before the broker has acknowledged them.
func (p *partition) reject(r *kgo.Record, only []int) {
	for i, call := range p.calls {
		if call.Reason.Outcome() != transform.Rejected {
			continue
		}
		if only != nil {
			i = only[0]
		}
		p.c.rejections.Warn("call rejected", zap.String("topic", r.Topic), zap.Int32("partition", r.Partition),
			zap.Int64("offset", r.Offset), zap.Int("call", i), zap.Stringer("reason", call.Reason), zap.String("detail", call.Detail))
		if p.c.cfg.DeadLetterTopic == "" {
			continue
		}
		e := p.open
		p.c.mu.Lock()
		e.letters++
		p.c.mu.Unlock()
		l := p.c.letter(r, call.Reason.String(), call.Detail, i, 0)
		size := len(l.Key) + len(l.Value) + recordOverhead
		p.await()
		p.hold(size)
		p.c.writeLetter(p.ctx, l, func(err error) {
			p.hold(-size)
			if err == nil {
				p.c.acknowledged(p, e)
			}
		})
	}
}

// hold notes that the partition's dead letters take n bytes more.
func (p *partition) hold(n int) {
	p.c.budget.Add(n)
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	p.letters += n
	p.lessened()
}

// acknowledged notes that a dead letter of a range is written.
func (c *Consumer) acknowledged(p *partition, e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.letters--
	if !p.fenced {
		c.settle(p)
	}
}

// letter returns the dead letter of one call of a record.
func (c *Consumer) letter(r *kgo.Record, reason, detail string, call, status int) *kgo.Record {
	// The record's memory is lent (see pool), so everything is copied.
	l := &kgo.Record{Topic: c.cfg.DeadLetterTopic, Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value), Timestamp: r.Timestamp}
	for _, h := range r.Headers {
		if !strings.HasPrefix(h.Key, headerPrefix) { // of an earlier life as a dead letter
			l.Headers = append(l.Headers, kgo.RecordHeader{Key: strings.Clone(h.Key), Value: bytes.Clone(h.Value)})
		}
	}
	add := func(key, value string) {
		l.Headers = append(l.Headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
	}
	add(headerReason, reason)
	add(headerDetail, detail)
	add(headerTopic, r.Topic)
	add(headerPartition, strconv.Itoa(int(r.Partition)))
	add(headerOffset, strconv.FormatInt(r.Offset, 10))
	add(headerCall, strconv.Itoa(call))
	if status != 0 {
		add(headerStatus, strconv.Itoa(status))
	}
	c.metrics.deadLetters.WithLabelValues(reason).Inc()
	return l
}

// writeLetter produces a dead letter and tries again until the broker has
// acknowledged it or ctx is done; then it calls done, once. It blocks while the
// client's buffer is full.
func (c *Consumer) writeLetter(ctx context.Context, l *kgo.Record, done func(error)) {
	c.client.Produce(ctx, l, func(l *kgo.Record, err error) {
		switch {
		case err == nil:
			c.solved("dead letters")
			done(nil)
		case ctx.Err() != nil:
			done(context.Cause(ctx))
		case errors.Is(err, kerr.MessageTooLarge) && len(l.Value) > largeLetter:
			size := strconv.Itoa(len(l.Value))
			headers := slices.Concat(l.Headers, []kgo.RecordHeader{{Key: headerOmitted, Value: []byte(size)}})
			c.log.Warn("the dead-letter topic does not take so large a record: the value is left out, the headers say where it is", zap.String("bytes", size))
			c.beside.Go(func() {
				c.writeLetter(ctx, &kgo.Record{Topic: l.Topic, Key: l.Key, Headers: headers, Timestamp: l.Timestamp}, done)
			})
		default:
			c.problem("dead letters", fmt.Sprintf("cannot write to the dead-letter topic %s, and the offset waits for it: %s", c.cfg.DeadLetterTopic, adviseLetter(err)))
			again := &kgo.Record{Topic: l.Topic, Key: l.Key, Value: l.Value, Headers: l.Headers, Timestamp: l.Timestamp}
			c.beside.Go(func() {
				select {
				case <-time.After(letterBackoff):
					c.writeLetter(ctx, again, done)
				case <-ctx.Done():
					done(context.Cause(ctx))
				}
			})
		}
	})
}

// largeLetter is the size of a value that is left out of a dead letter rather than
// tried again for ever, if it is too large. The client takes 1 MB, as do topics by default.
const largeLetter = 512 << 10

// letterBackoff is the wait between attempts to write a dead letter, beyond those
// that the client makes by itself.
const letterBackoff = time.Second

// adviseLetter adds to an error what it asks of the operator. An idempotent producer
// that may write to no topic at all is refused by the cluster, not by the topic.
func adviseLetter(err error) string {
	switch {
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed):
		return err.Error() + " (grant WRITE and DESCRIBE on the topic)"
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return err.Error() + " (create the topic)"
	case errors.Is(err, kerr.MessageTooLarge):
		return err.Error() + " (raise max.message.bytes of the topic)"
	default:
		return err.Error()
	}
}

// refused sets an event aside that LaunchDarkly refused by itself: it reads the
// record once more, which nobody has kept, and writes it as a dead letter.
func (c *Consumer) refused(ctx context.Context, r sink.Refusal) error {
	source, offset := r.Batch.Source, r.Batch.Offset(r.Event)
	c.log.Warn("event refused by LaunchDarkly", zap.String("topic", source.Topic), zap.Int32("partition", source.Partition),
		zap.Int64("offset", offset), zap.String("reason", reasonRefused), zap.Int("status", r.Status), zap.String("answer", r.Excerpt))
	if c.cfg.DeadLetterTopic == "" {
		return nil
	}
	select {
	case c.rereads <- struct{}{}:
		defer func() { <-c.rereads }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	record, call, err := c.original(ctx, source, offset, r.Batch.EventInRecord(r.Event))
	if err != nil {
		return err
	}
	if record == nil { // retention or compaction was faster: the event itself is what is left
		record = &kgo.Record{Topic: source.Topic, Partition: source.Partition, Offset: offset, Value: r.Body}
	}
	written := make(chan error, 1)
	c.writeLetter(ctx, c.letter(record, reasonRefused, r.Excerpt, call, r.Status), func(err error) { written <- err })
	select {
	case err := <-written:
		return err
	case <-ctx.Done(): // the client does not end a write that may have happened
		return context.Cause(ctx)
	}
}

// maxRereads is how many refused records are read again at once.
const maxRereads = 4

// original reads a record again, and finds the call of it that became its event
// with the given index. It returns nil if the log does not hold the record any more.
func (c *Consumer) original(ctx context.Context, source sink.Source, offset int64, event int) (*kgo.Record, int, error) {
	reader, err := kgo.NewClient(append(append([]kgo.Opt{}, c.cfg.Client...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{source.Topic: {source.Partition: kgo.NewOffset().At(offset)}}),
		kgo.FetchMaxBytes(1), kgo.FetchMaxPartitionBytes(1), // one batch of the log is returned all the same
	)...)
	if err != nil {
		return nil, 0, fmt.Errorf("read a refused record again: %w", err)
	}
	defer reader.CloseAllowingRebalance()
	for {
		if starts, err := c.admin.ListStartOffsets(ctx, source.Topic); err == nil {
			if start, ok := starts.Lookup(source.Topic, source.Partition); ok && start.Err == nil && start.Offset > offset {
				return nil, 0, nil
			}
		}
		pollCtx, cancel := context.WithTimeout(ctx, watchInterval)
		fetches := reader.PollRecords(pollCtx, 1)
		cancel()
		if ctx.Err() != nil {
			return nil, 0, context.Cause(ctx)
		}
		fetches.EachError(func(topic string, partition int32, err error) { c.pollError(topic, partition, err) })
		for _, r := range fetches.Records() {
			if r.Offset > offset {
				return nil, 0, nil
			}
			if r.Offset == offset {
				return r, c.callOf(r, event), nil
			}
		}
	}
}

// callOf returns the index of the call that became a record's event with the given
// index.
func (c *Consumer) callOf(r *kgo.Record, event int) int {
	only := redriven(r)
	if only != nil {
		return only[0]
	}
	_, calls := c.cfg.Mapping.NewTransformer().Append(nil, nil, r.Value, r.Timestamp.UnixMilli())
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
