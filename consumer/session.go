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

// Why a session ends, as a metric label. Nothing is restarted within a session: whatever cannot be
// trusted any more ends it, and the next one begins from what the group has committed.
const (
	endUnanswered = "commit_unanswered" // a commit may have been written and was not answered
	endLost       = "lost"              // the group removed this member, or gave its partitions away
	endFenced     = "instance_fenced"   // another member joined with the same instance ID
	endAssignment = "assignment"        // a partition was assigned while it was being read
	endOffsets    = "offset_fetch"      // the offsets of assigned partitions could not be read
	endPosition   = "position"          // the client read a record twice, or lost its place
	endTruncated  = "truncated"         // the log was truncated below what was read
	endTopics     = "topics"            // a topic was recreated, deleted, or came into being
	endStopped    = "stopped"           // Run's context is done, or a failure ends Run
)

var endCauses = []string{endUnanswered, endLost, endFenced, endAssignment, endOffsets, endPosition, endTruncated, endTopics, endStopped}

// session is one membership of the consumer group. It owns the client, the partitions and where they
// start, and the goroutines that poll, commit and watch the topics. See drain.go for how it ends.
type session struct {
	*environment
	ids       map[string]topicID // of the topics that it consumes
	client    *kgo.Client
	committer *committer
	deliverer *deliverer
	starter   *starter
	poller    *poller

	ctx    context.Context // done when the session ends
	cancel context.CancelFunc
	cut    context.CancelFunc // cuts the client off

	mu         sync.Mutex // guards the fields below
	cause      string     // why the session has ended; "" while it has not
	err        error      // the error that ended it; nil while it has not ended
	partitions map[topicPartition]*partition
	awaited    map[topicPartition]bool       // assigned, but their offsets are not fetched yet
	starts     map[topicPartition]kgo.Offset // from onOffsetsFetched to adjustOffsets
	owesJoin   bool                          // partitions were revoked, and the join that lets the group assign them is due
	groupErr   error                         // the last error of the client's group management
}

// environment is what all sessions of a consumer share.
type environment struct {
	cfg     *Config
	log     *zap.Logger
	metrics *metrics
	health  *health
	memory  *memory
	topics  *topics
	letters *deadLetters
	admin   *kgo.Client // for questions and for leaving; member of no group
	fail    func(error) // ends Run with an error that waiting cannot fix
}

// newSession returns a session that consumes the given topics, and has its client join the group.
func newSession(env *environment, ids map[string]topicID) (*session, error) {
	s := &session{
		environment: env, ids: ids,
		partitions: map[topicPartition]*partition{}, awaited: map[topicPartition]bool{}, starts: map[topicPartition]kgo.Offset{},
	}
	pool := &recordPool{}
	fetched, err := newFetchBudget(pool)
	if err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.poller = &poller{session: s, fetched: fetched}
	s.starter = &starter{cfg: env.cfg, topics: env.topics, ids: ids, metrics: env.metrics, log: env.log}
	s.deliverer = &deliverer{sink: env.cfg.Sink, letters: env.letters, delay: env.metrics.delay, fail: env.fail}
	written := &clientHook{failed: s.noteGroupError}
	if env.cfg.ConsumerProtocol { // the brokers offer the protocol but do not enable it
		written.joins = func() { env.fail(errNoServerSideGroups) }
	}
	s.committer = &committer{
		group: env.cfg.Group, ids: ids, written: &written.commits, health: env.health, metrics: env.metrics,
		send: s.deliverer.send, end: s.end,
		urgent: make(chan struct{}, 1), turn: make(chanMutex, 1), coordinator: -1, dirty: map[*partition]struct{}{},
	}
	if env.cfg.InstanceID != "" {
		s.committer.static = &env.cfg.InstanceID
	}

	g := &group{session: s, ready: make(chan struct{})}
	clientCtx, cut := context.WithCancel(context.Background())
	s.cut = cut
	s.client, err = kgo.NewClient(slices.Concat(env.cfg.groupOptions(ids), g.options(), []kgo.Opt{
		kgo.WithContext(clientCtx), kgo.WithHooks(written), kgo.WithPools(pool), kgo.WithDecompressor(fetched),
	})...)
	if err != nil {
		cut()
		return nil, fmt.Errorf("kafka client: %w", err)
	}
	s.committer.client = s.client
	close(g.ready)
	return s, nil
}

// clientHook notes what the client does and does not report otherwise.
type clientHook struct {
	commits atomic.Int64 // commit requests of which anything was written
	joins   func()       // if set, called when a join request of the classic protocol was written
	failed  func(error)  // called with each error of the group management
}

// OnGroupManageError implements [kgo.HookGroupManageError].
func (h *clientHook) OnGroupManageError(err error) { h.failed(err) }

// OnBrokerWrite implements [kgo.HookBrokerWrite].
func (h *clientHook) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, bytes int, _, _ time.Duration, _ error) {
	switch key {
	case keyOffsetCommit:
		if bytes > 0 {
			h.commits.Add(1)
		}
	case keyJoinGroup:
		if h.joins != nil {
			h.joins()
		}
	}
}

const (
	keyOffsetCommit = 8
	keyJoinGroup    = 11
)

// run consumes until ctx is done or the session ends. When it returns, nothing of the session is
// running, and the group has been told that the member leaves. When ctx is done, the cause is
// endStopped, and the error describes what was left undelivered.
func (s *session) run(ctx context.Context) (cause string, err error) {
	var running sync.WaitGroup
	running.Go(func() { s.committer.run(s.ctx, s.all) })
	running.Go(func() { (&watcher{s, map[string]int{}}).run(s.ctx) })
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

// end ends the session: nothing of it is recorded, sent or committed any more. The first cause counts.
// It does not block.
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

// noteGroupError notes an error of the client's group management, which comes after onLost.
func (s *session) noteGroupError(err error) {
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

// all returns the partitions that the session has and has not released.
func (s *session) all() []*partition {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.partitions))
}

// owned returns one of them, nil if the session does not have it.
func (s *session) owned(name topicPartition) *partition {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.partitions[name]
}

// begin makes partitions that start at starts, and has their intake run. A partition that is being
// read and is assigned again ends the session: the client did not revoke it, and may go on reading
// beyond the committed offset, which would look like a gap in the log.
func (s *session) begin(starts []start) (begun []*partition, err error) {
	member, _ := s.client.GroupMetadata()
	var unread []*partition
	for _, at := range starts {
		old := s.owned(at.topicPartition)
		if old == nil {
			continue
		}
		if old.queue.used() {
			err := fmt.Errorf("%s was assigned while it was being read", at.topicPartition)
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
		begun = append(begun, p.partition)
		go p.run() // waited for in drop
	}
	return begun, nil
}

var errEnded = errors.New("the session has ended")

// newPartition returns the intake of a partition that starts at the given place.
func (s *session) newPartition(at start, member string) *intake {
	source := at.sourceID(s.ids[at.topic])
	var p *partition
	p = newPartition(at, member, s.log, newWindow(at, source, s.memory, func(urgent bool) {
		s.committer.mark(p)
		if urgent {
			s.committer.request()
		}
	}))
	one := map[string][]int32{at.topic: {at.partition}}
	p.queue = recordQueue{
		ready: make(chan struct{}, 1), queued: &s.poller.queued,
		pause:  func() { s.client.PauseFetchPartitions(one) },
		resume: func() { s.client.ResumeFetchPartitions(one) },
	}
	in := &intake{
		partition: p, cfg: s.cfg, memory: s.memory, metrics: s.metrics, letters: s.letters, distrust: s.end,
		source:      sink.Source{Group: s.cfg.Group, Topic: at.topic, TopicID: source, Partition: at.partition},
		transformer: s.cfg.Mapping.NewTransformer(), buffer: sink.NewBuffer(s.cfg.MaxEvents, s.cfg.MaxBytes),
		next: at.position, floor: at.position, cuts: at.cuts, age: time.NewTimer(time.Hour),
	}
	in.age.Stop()
	p.releaseIntake = func() {
		in.buffer.Reset()
		in.updateBudget()
	}
	return in
}
