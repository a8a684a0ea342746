//go:build linux

package chaos

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
)

// check collects and checks the evidence, and adds the results to the report.
func (r *run) check(ctx context.Context) error {
	all, err := r.collect(ctx)
	if err != nil {
		return err
	}
	for _, l := range r.ledgers {
		for i, e := range all[l.number] {
			name := ""
			if l.role != "" {
				name = fmt.Sprintf(" (topic %s, ID %s, reset %d times)", l.topic, l.id, i)
			}
			r.report.addEvidence(name, e)
		}
	}
	r.ld.mu.Lock()
	defer r.ld.mu.Unlock()
	r.report.addRequests(r.ld.requests, r.ld.Report())
	return r.network.seen.addTo(r.report)
}

// collect returns each ledger's evidence, split at every offset reset.
func (r *run) collect(ctx context.Context) ([][]*Evidence, error) {
	whole := make([]*Evidence, len(r.ledgers))
	for i, l := range r.ledgers {
		e := &Evidence{Topic: l.topic, TopicID: l.id, Clean: r.cfg.Clean, Unclean: l.unclean, Outages: r.outages}
		if i == 0 {
			e.Gone = r.gone
		}
		var err error
		if e.Produced, _, err = l.producer.result(); err != nil {
			return nil, err
		}
		whole[i] = e
	}
	// find returns the evidence for a commit: the topic's evidence with the commit's topic ID or,
	// if there is none, the topic's newest evidence.
	find := func(topic, id string) (found *Evidence) {
		for _, e := range whole {
			if e.Topic == topic && (found == nil || id == "" || e.TopicID == id || found.TopicID != id) {
				found = e
			}
		}
		return found
	}
	var failed error
	err := r.cfg.Cluster.Commits(ctx, r.cfg.Name, r.position,
		func(topic string, at time.Time, partition int32, offset int64, metadata string) {
			c, err := newCommit(at, partition, offset, metadata)
			failed = errors.Join(failed, err)
			if e := find(topic, c.TopicID); e != nil {
				if by, known := r.network.seen.sentBy(topic, c.TopicID, partition, offset, metadata, at); known {
					c.Member, c.MemberID, c.Generation, c.Operator = by.member, by.memberID, by.generation, false
				}
				e.Commits = append(e.Commits, c)
			}
		})
	if err := errors.Join(err, failed); err != nil {
		return nil, err
	}
	samples, err := r.samples.result()
	if err != nil {
		return nil, err
	}
	for _, s := range samples {
		if e := find(s.topic, s.TopicID); e != nil {
			e.Samples = append(e.Samples, s.Commit)
		}
	}
	if len(whole[0].Commits) == 0 || len(whole[0].Samples) == 0 {
		return nil, fmt.Errorf("not enough evidence: %d commits and %d samples", len(whole[0].Commits), len(whole[0].Samples))
	}
	err = kafkatest.ReadFrom(ctx, r.cfg.Cluster.Brokers(), r.letters, nil, func(record *kgo.Record) {
		if i := ledgerOf(numberOf(record.Value)); i < len(whole) {
			whole[i].Letters = append(whole[i].Letters, newLetter(record))
		}
	})
	if err != nil {
		return nil, err
	}
	r.ld.mu.Lock()
	for _, q := range r.ld.requests {
		if len(q.Numbers) > 0 {
			if i := ledgerOf(q.Numbers[0]); i < len(whole) {
				whole[i].Requests = append(whole[i].Requests, q)
			} else {
				whole[0].Requests = append(whole[0].Requests, q) // the record was never produced
			}
		}
	}
	r.ld.mu.Unlock()

	all := make([][]*Evidence, len(whole))
	for i, l := range r.ledgers {
		if err := r.conclude(ctx, l, whole[i]); err != nil {
			return nil, err
		}
		all[i] = whole[i].split(l.resets)
	}
	return all, nil
}

// conclude marks lost records in the evidence. Unless the topic was deleted, it also adds the end
// offsets and the committed offsets after all members left.
func (r *run) conclude(ctx context.Context, l *ledger, e *Evidence) error {
	for i := range e.Produced {
		p := &e.Produced[i]
		for _, t := range l.trims {
			if p.Partition == t.partition && p.Offset < t.next && p.Lost.IsZero() {
				p.Lost = t.time
			}
		}
		if !l.deleted.IsZero() && p.Lost.IsZero() {
			p.Lost = l.deleted
		}
	}
	if !l.deleted.IsZero() {
		return nil
	}
	brokers := r.cfg.Cluster.Brokers()
	if l.role == Unclean {
		if err := markLost(ctx, brokers, l, e); err != nil {
			return err
		}
	}
	ends, err := kafkatest.EndOffsets(ctx, brokers, l.topic)
	if err != nil {
		return err
	}
	final, err := kafkatest.Committed(ctx, brokers, r.cfg.Name)
	if err != nil {
		return err
	}
	for p := range int32(len(ends)) {
		at := int64(0)
		if o, ok := final.Lookup(l.topic, p); ok {
			at = o.At
		}
		e.Ends, e.Final = append(e.Ends, ends[p]), append(e.Final, at)
	}
	return nil
}

// markLost finds records missing from the log and sets Record.Lost to the time at which a lagging
// replica was elected. It returns an error if records were lost without such an election.
func markLost(ctx context.Context, brokers []string, l *ledger, e *Evidence) error {
	survivors := map[int]bool{}
	err := kafkatest.ReadFrom(ctx, brokers, l.topic, nil,
		func(record *kgo.Record) { survivors[numberOf(record.Value)] = true })
	if err != nil {
		return err
	}
	for i := range e.Produced {
		p := &e.Produced[i]
		if survivors[p.Number] {
			continue
		}
		at, provoked := l.unclean[p.Partition]
		if !provoked || p.Acked.After(at) {
			return fmt.Errorf("kafka lost a record without a fault: record %d, topic %s, partition %d, offset %d",
				p.Number, l.topic, p.Partition, p.Offset)
		}
		p.Lost = at
	}
	return nil
}

// split divides evidence at every offset reset. During a reset, no member is running and no request
// is in flight.
func (e *Evidence) split(resets []reset) []*Evidence {
	if len(resets) == 0 {
		return []*Evidence{e}
	}
	var all []*Evidence
	for i := range len(resets) + 1 {
		part := &Evidence{Topic: e.Topic, TopicID: e.TopicID, Produced: e.Produced, Outages: e.Outages}
		until := time.Now()
		if i > 0 {
			part.Since, part.From = resets[i-1].time, resets[i-1].from
		}
		if i < len(resets) {
			part.To, until = resets[i].to, resets[i].time
		} else {
			part.Ends, part.Final = e.Ends, e.Final
		}
		within := func(t time.Time) bool {
			return !t.Before(part.Since.Truncate(time.Millisecond)) && t.Before(until.Truncate(time.Millisecond))
		}
		counted := map[string]bool{}
		for _, q := range e.Requests {
			if within(q.Arrived) {
				q.Duplicate = q.Accepted && counted[q.ID]
				counted[q.ID] = counted[q.ID] || q.Accepted
				part.Requests = append(part.Requests, q)
			}
		}
		for _, c := range e.Commits {
			if within(c.Time) {
				part.Commits = append(part.Commits, c)
			}
		}
		for _, s := range e.Samples {
			if within(s.Time) {
				part.Samples = append(part.Samples, s)
			}
		}
		for _, l := range e.Letters {
			if within(l.Time) {
				part.Letters = append(part.Letters, l)
			}
		}
		all = append(all, part)
	}
	return all
}

var numberField = regexp.MustCompile(`"n":(\d+)`)

// numberOf returns the record number in a value, or -1 if there is none.
func numberOf(value []byte) int {
	if found := numberField.FindSubmatch(value); found != nil {
		if n, err := strconv.Atoi(string(found[1])); err == nil {
			return n
		}
	}
	return -1
}

// newLetter parses a record from the dead-letter topic.
func newLetter(r *kgo.Record) Letter {
	l := Letter{Time: r.Timestamp, Partition: -1, Offset: -1, Number: numberOf(r.Value)}
	for _, h := range r.Headers {
		switch n, _ := strconv.ParseInt(string(h.Value), 10, 64); h.Key {
		case "s2ld.partition":
			l.Partition = int32(n)
		case "s2ld.offset":
			l.Offset = n
		case "s2ld.reason":
			l.Reason = string(h.Value)
		}
	}
	return l
}
