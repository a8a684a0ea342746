package consumer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/segment-to-launchdarkly/forwarder/sink"
)

// These metric label values give the cause of a session's end. Nothing is restarted within a
// session. If any state can no longer be trusted, the session ends, and the next session starts
// from the committed offsets.
const (
	endUnanswered = "commit_unanswered"    // a commit may have reached the broker but got no response
	endHeartbeat  = "heartbeat_unanswered" // the same for a heartbeat of the consumer protocol
	endLost       = "lost"                 // the group removed this member or reassigned its partitions
	endFenced     = "instance_fenced"      // another member joined with the same instance ID
	endAssignment = "assignment"           // a partition was assigned while it was being read
	endOffsets    = "offset_fetch"         // the offsets of assigned partitions could not be fetched
	endPosition   = "position"             // the client returned an offset below the next expected one
	endTruncated  = "truncated"            // the log was truncated below the read position
	endTopics     = "topics"               // a topic was created, recreated, or deleted
	endMetadata   = "metadata"             // the client lost a topic's ID; see endIfIDLost
	endStopped    = "stopped"              // Run's context is done, or a failure ended Run
)

var endCauses = []string{
	endUnanswered, endHeartbeat, endLost, endFenced, endAssignment, endOffsets, endPosition, endTruncated, endTopics,
	endMetadata, endStopped,
}

// session is one membership in the consumer group. It owns the client, the partitions and their
// start positions, and the goroutines that poll, commit, and watch topics. See drain.go for how a
// session ends.
type session struct {
	*environment
	ids       map[string]topicID // IDs of the consumed topics
	client    *kgo.Client
	committer *committer
	deliverer *deliverer
	starter   *starter
	poller    *poller

	ctx          context.Context // done when the session ends
	cancel       context.CancelFunc
	cancelClient context.CancelFunc // closes the client's connections and stops its retries

	mu         sync.Mutex                    // guards the fields below
	cause      string                        // end cause; "" while the session is running
	err        error                         // error that ended the session, if any
	partitions map[topicPartition]*partition // started and not yet released
	awaited    map[topicPartition]bool       // assigned partitions whose offsets have not been fetched yet
	starts     map[topicPartition]kgo.Offset // start offsets, passed from onOffsetsFetched to adjustOffsets
	owesJoin   bool                          // the group is waiting for this member to rejoin after a revoke
	groupErr   error                         // last group management error
}

// environment holds the dependencies shared by all sessions of a consumer.
type environment struct {
	cfg       *Config
	log       *zap.Logger
	metrics   *metrics
	health    *health
	memory    *memory
	topics    *topics
	letters   *deadLetters
	rejects   *rejects
	formats   *formats
	names     *eventNames
	delivered *delivered
	ends      *ends       // nil without Config.Until
	admin     *kgo.Client // client for lookups and for leaving the group; not a member
	fail      func(error) // ends Run with an error that retrying cannot fix
}

// newSession returns a session that consumes the given topics. Its client immediately starts
// joining the group.
func newSession(env *environment, ids map[string]topicID) (*session, error) {
	s := &session{
		environment: env, ids: ids,
		partitions: map[topicPartition]*partition{}, awaited: map[topicPartition]bool{},
		starts: map[topicPartition]kgo.Offset{},
	}
	pool := &recordPool{}
	fetched, err := newFetchBudget(pool)
	if err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.poller = &poller{session: s, fetched: fetched}
	s.starter = &starter{cfg: env.cfg, topics: env.topics, ids: ids, metrics: env.metrics, log: env.log}
	s.deliverer = &deliverer{
		sink: env.cfg.Sink, letters: env.letters, delay: env.metrics.delay, counts: env.delivered, fail: env.fail,
	}
	g := &group{session: s, ready: make(chan struct{})}
	hook := &clientHook{onError: s.setGroupErr}
	if env.cfg.ConsumerProtocol { // a classic join means that the brokers have the consumer protocol disabled
		hook.onJoin = func() { env.fail(errNoServerSideGroups) }
		hook.onHeartbeat = g.endIfIDLost
		hook.onUnanswered = func() { s.end(endHeartbeat, errUnansweredHeartbeat) }
	}
	s.committer = &committer{
		group: env.cfg.Group, ids: ids, written: &hook.commits, health: env.health, metrics: env.metrics,
		send: s.deliverer.send, end: s.end,
		commitNow: make(chan struct{}, 1), commitMu: make(chanMutex, 1), coordinator: -1,
		failing: map[*partition]struct{}{}, dirty: map[*partition]struct{}{},
	}
	if env.cfg.InstanceID != "" {
		s.committer.static = &env.cfg.InstanceID
	}

	clientCtx, cancelClient := context.WithCancel(context.Background())
	s.cancelClient = cancelClient
	s.client, err = kgo.NewClient(slices.Concat(env.cfg.groupOptions(ids), g.options(), []kgo.Opt{
		kgo.WithContext(clientCtx), kgo.WithHooks(hook), kgo.WithPools(pool), kgo.WithDecompressor(fetched),
	})...)
	if err != nil {
		cancelClient()
		return nil, fmt.Errorf("create the group client: %w", err)
	}
	s.committer.client = s.client
	close(g.ready)
	return s, nil
}

// clientHook receives client events that are available only to hooks.
type clientHook struct {
	commits      atomic.Int64 // number of commit requests at least partly written
	heartbeat    atomic.Bool  // a ConsumerGroupHeartbeat request has no response yet
	onJoin       func()       // if set, called after each JoinGroup request of the classic protocol
	onHeartbeat  func()       // if set, called after each Metadata or ConsumerGroupHeartbeat request
	onUnanswered func()       // if set, called when the client gives up on a ConsumerGroupHeartbeat response
	onError      func(error)  // called with each group management error
}

// OnGroupManageError implements [kgo.HookGroupManageError].
func (h *clientHook) OnGroupManageError(err error) { h.onError(err) }

// OnBrokerWrite implements [kgo.HookBrokerWrite].
func (h *clientHook) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, bytes int, _, _ time.Duration, _ error) {
	switch key {
	case keyOffsetCommit:
		if bytes > 0 {
			h.commits.Add(1)
		}
	case keyJoinGroup:
		if h.onJoin != nil {
			h.onJoin()
		}
	case keyMetadata, keyConsumerGroupHeartbeat:
		// If the previous heartbeat has no response, the client no longer waits for one.
		if key == keyConsumerGroupHeartbeat && bytes > 0 && h.heartbeat.Swap(true) && h.onUnanswered != nil {
			h.onUnanswered()
		}
		if h.onHeartbeat != nil {
			h.onHeartbeat()
		}
	}
}

// OnBrokerRead implements [kgo.HookBrokerRead].
func (h *clientHook) OnBrokerRead(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, err error) {
	switch {
	case key != keyConsumerGroupHeartbeat:
	case err == nil:
		h.heartbeat.Store(false)
	case h.onUnanswered != nil:
		h.onUnanswered()
	}
}

// errUnansweredHeartbeat ends a session, because the heartbeat can still reach the coordinator. A
// late join, for example, reports that the member owns no partitions. The group can then reassign
// partitions that the member is still draining.
var errUnansweredHeartbeat = errors.New("no response to a heartbeat")

const (
	keyMetadata               = 3
	keyOffsetCommit           = 8
	keyJoinGroup              = 11
	keyConsumerGroupHeartbeat = 68
)

// run consumes until ctx is done or the session ends. Before returning, run waits for the session's
// goroutines and leaves the group (see leave). If ctx ended the session, the cause is endStopped,
// and the error describes any undelivered batches.
func (s *session) run(ctx context.Context) (cause string, err error) {
	var running sync.WaitGroup
	running.Go(func() { s.committer.run(s.ctx, s.all) })
	running.Go(func() { s.watchEnds(s.ctx) })
	running.Go(func() { (&watcher{session: s, gone: map[string]int{}}).run(s.ctx) })
	s.poller.run(ctx)
	if ctx.Err() != nil {
		err = s.stop()
	}
	s.end(endStopped, err)
	s.drop(s.all())
	s.leave(ctx)
	running.Wait()
	s.health.setJoined(false)
	if errors.Is(s.groupErr, kerr.FencedInstanceID) && s.cause == endLost {
		s.cause, s.err = endFenced, s.groupErr
	}
	return s.cause, s.err
}

// end ends the session. From then on, the session no longer records, sends, or commits batches.
// Only the first call has an effect. end does not block.
func (s *session) end(cause string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != "" {
		return
	}
	s.cause, s.err = cause, err
	for _, p := range s.partitions {
		p.window.fence()
		p.cancel()
	}
	s.cancel()
}

// setGroupErr records a group management error, which the client reports after calling onLost.
func (s *session) setGroupErr(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groupErr = err
}

// over reports whether the session has ended.
func (s *session) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause != ""
}

// all returns the session's unreleased partitions.
func (s *session) all() []*partition {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.partitions))
}

// owned returns the named partition, or nil if the session does not own it.
func (s *session) owned(name topicPartition) *partition {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.partitions[name]
}

// startPartitions creates partitions and starts their intake. If a partition being read is assigned
// again, startPartitions ends the session. In that case, the client did not revoke the partition
// and may keep reading beyond the committed offset. The skipped records would look like a gap in
// the log.
func (s *session) startPartitions(starts []start) (started []*partition, err error) {
	member, _ := s.client.GroupMetadata()
	var unread []*partition
	for _, at := range starts {
		old := s.owned(at.topicPartition)
		if old == nil {
			continue
		}
		if old.queue.used() {
			err := fmt.Errorf("start %s: assigned again without being revoked", at.topicPartition)
			s.end(endAssignment, err)
			return nil, err
		}
		unread = append(unread, old) // its offsets were fetched twice
	}
	s.drop(unread)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != "" {
		return nil, errEnded
	}
	s.starts = make(map[topicPartition]kgo.Offset, len(starts))
	for _, at := range starts {
		p := s.newPartition(at, member)
		s.partitions[at.topicPartition] = p.partition
		delete(s.awaited, at.topicPartition)
		s.starts[at.topicPartition] = kgo.NewOffset().At(at.offset).WithEpoch(at.epoch)
		s.client.ResumeFetchPartitions(map[string][]int32{at.topic: {at.partition}}) // a pause survives a rebalance
		started = append(started, p.partition)
		go p.run() // drop waits for this goroutine
	}
	return started, nil
}

var errEnded = errors.New("session ended")

// newPartition creates a partition that starts at the given position, and returns its intake.
func (s *session) newPartition(at start, member string) *intake {
	source := at.sourceID(s.ids[at.topic])
	var p *partition
	p = newPartition(at, member, s.log, newWindow(at, source, s.memory, func(urgent bool) {
		s.committer.markDirty(p)
		if urgent {
			s.committer.requestCommit()
		}
	}))
	one := map[string][]int32{at.topic: {at.partition}}
	p.queue = recordQueue{
		ready: make(chan struct{}, 1), queued: &s.poller.queued,
		pause:  func() { s.client.PauseFetchPartitions(one) },
		resume: func() { s.client.ResumeFetchPartitions(one) },
	}
	in := &intake{
		partition: p, cfg: s.cfg, memory: s.memory, metrics: s.metrics, letters: s.letters,
		rejects: s.rejects, formats: s.formats, names: s.names, nameCounts: nameCounts{}, endSession: s.end,
		source:      sink.Source{Group: s.cfg.Group, Topic: at.topic, TopicID: source, Partition: at.partition},
		transformer: s.cfg.Mapping.NewTransformer(), inputs: newInputs(s.cfg.Redrive),
		buffer:      sink.NewBuffer(s.cfg.MaxEvents, s.cfg.MaxBytes),
		needSamples: true, next: at.position, floor: at.position, cuts: at.cuts, age: time.NewTimer(time.Hour),
		stalled: -1,
	}
	in.age.Stop()
	s.formats.acquire(at.topic)
	p.releaseIntake = func() {
		s.formats.release(at.topic)
		in.buffer.Reset()
		in.updateBudget()
	}
	return in
}
