package consumer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/segment-to-launchdarkly/forwarder/sink"
)

// topicPartition names a partition.
type topicPartition struct {
	topic     string
	partition int32
}

// Consumer reads topics as a member of a consumer group and delivers what is in
// them. See the package documentation.
type Consumer struct {
	cfg     Config
	client  *kgo.Client   // set before dialed is closed
	admin   *kadm.Client  // likewise
	dialed  chan struct{} // closed by Run; the client calls back before it is even returned
	metrics *metrics
	budget  *sink.Budget
	log     *zap.Logger

	rejections *zap.Logger // sampled: a flood of rejected calls must not become one of lines

	queued  atomic.Int64  // bytes of the inboxes, but for those of paused partitions
	rereads chan struct{} // capacity: refused records that are read again at once
	urgent  chan struct{} // capacity 1: a sealed batch waits for its commit

	beside sync.WaitGroup // what ends by itself when partitions are given up

	failOnce sync.Once
	failed   chan struct{} // closed by fail
	failure  error         // set before failed is closed

	// commitMu makes one thing of [snapshot, commit, apply] and one of [final
	// commit, fence]. It is taken before mu and held while the broker answers.
	commitMu turn

	mu         sync.Mutex
	partitions map[topicPartition]*partition // guards: those assigned and not given up
	absent     map[string]bool               // guards: topics that did not exist when partitions of them were assigned
	dirty      map[*partition]struct{}       // guards: those whose state is not committed
	starts     map[topicPartition]kgo.Offset // guards: from onOffsetsFetched to adjustOffsets
	topics     map[string]knownTopic         // guards: those we consume
	state      state                         // guards
}

// turn is a mutex for what may last: unlike a sync.Mutex, virtual time goes on while
// somebody waits for it. Its capacity is 1.
type turn chan struct{}

func (t turn) Lock()   { t <- struct{}{} }
func (t turn) Unlock() { <-t }

// rejectionsLogged is how many rejected calls are logged in a second; the metrics
// count them all.
const rejectionsLogged = 50

// New returns a consumer. It starts nothing and reaches for nothing.
func New(cfg Config) (*Consumer, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	c := &Consumer{
		cfg: cfg, budget: cfg.Budget, log: cfg.Log,
		urgent: make(chan struct{}, 1), rereads: make(chan struct{}, maxRereads), failed: make(chan struct{}), dialed: make(chan struct{}),
		commitMu: make(turn, 1), partitions: map[topicPartition]*partition{}, dirty: map[*partition]struct{}{}, topics: map[string]knownTopic{}, absent: map[string]bool{},
	}
	c.state.problems = map[string]string{}
	c.rejections = cfg.Log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(core, time.Second, rejectionsLogged, 0)
	}))
	c.metrics = newMetrics(cfg.Registry, c)
	return c, nil
}

// Run joins the group and consumes until ctx is done. Then it takes no more
// records, delivers what is sealed (see Config.DrainTimeout), commits, and
// leaves the group. It returns nil only if everything sealed was delivered and
// committed. When it returns, nothing of it is running. It is called once.
func (c *Consumer) Run(ctx context.Context) error {
	clientCtx, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	client, err := kgo.NewClient(append(c.options(), kgo.WithContext(clientCtx))...)
	if err != nil {
		return fmt.Errorf("kafka client: %w", err)
	}
	c.client, c.admin = client, kadm.NewClient(client)
	close(c.dialed)
	defer c.beside.Wait()
	defer c.leave(cut)

	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { c.commitLoop(background) })
	running.Go(func() { c.watchLoop(background) })
	defer running.Wait()
	defer stop()

	c.pollLoop(ctx)

	c.mu.Lock()
	c.state.leaving = true
	all := slices.Collect(maps.Values(c.partitions))
	c.mu.Unlock()
	c.log.Info("shutting down: delivering what is sealed", zap.Int("partitions", len(all)))
	err = c.giveUp(background, all)
	select {
	case <-c.failed:
		return c.failure
	default:
		return err
	}
}

// fail ends Run with an error that waiting cannot mend.
func (c *Consumer) fail(err error) {
	c.failOnce.Do(func() {
		c.failure = err
		close(c.failed)
	})
}

// pollLoop hands polled records to their partitions until ctx is done. A rebalance
// waits only while that is done, never for a delivery.
func (c *Consumer) pollLoop(ctx context.Context) {
	for c.mayPoll(ctx) {
		// Everything may be paused, so a poll must not wait for ever.
		pollCtx, cancel := context.WithTimeout(ctx, time.Second)
		fetches := c.client.PollRecords(pollCtx, pollRecords)
		waited := pollCtx.Err() != nil
		cancel()
		fetches.EachTopic(func(t kgo.FetchTopic) {
			t.EachPartition(func(p kgo.FetchPartition) { c.distribute(t.Topic, p) })
		})
		c.client.AllowRebalance()
		if fetches.IsClientClosed() {
			c.fail(errors.New("kafka client closed"))
			return
		}
		if !waited && fetches.NumRecords() == 0 && len(fetches.Errors()) > 0 { // the client repeats some errors as fast as it is polled
			select {
			case <-time.After(pollBackoff):
			case <-ctx.Done():
			}
		}
	}
}

// mayPoll waits while there is enough to do already: records that were polled and not
// taken, or bodies that use up the budget, of which those records will be more. It
// returns false when ctx is done or the consumer has failed.
//
// It waits for the budget only while what can be set free without a poll, sealed
// batches and dead letters, is much of it: what is open may wait for records up to a
// recorded cut. Partitions that are stuck are paused, and what they hold no longer
// counts.
func (c *Consumer) mayPoll(ctx context.Context) bool {
	for {
		c.touch(func(s *state) { s.lastPoll = time.Now() })
		room, queued := c.budget.Room(), c.queued.Load()
		used, limit := c.budget.Used(), c.budget.Limit()
		wait := 10 * time.Millisecond
		switch {
		case queued >= maxQueued, queued > 0 && used+queued >= limit:
			c.pauseStuck()
			room = nil
		case used >= limit && c.unfinished() >= limit/2:
			wait = time.Second
		default:
			return !c.over(ctx)
		}
		select {
		case <-time.After(wait):
		case <-room:
		case <-ctx.Done():
			return false
		case <-c.failed:
			return false
		}
	}
}

// pauseStuck pauses the partitions that are stuck.
func (c *Consumer) pauseStuck() {
	c.mu.Lock()
	all := slices.Collect(maps.Values(c.partitions))
	c.mu.Unlock()
	for _, p := range all {
		p.inbox.pauseIfStuck()
	}
}

// over says whether Run is to end.
func (c *Consumer) over(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return true
	case <-c.failed:
		return true
	default:
		return false
	}
}

// distribute hands a partition what was polled of it.
func (c *Consumer) distribute(topic string, f kgo.FetchPartition) {
	if f.Err != nil {
		c.pollError(topic, f.Partition, f.Err)
	}
	c.mu.Lock()
	p := c.partitions[topicPartition{topic, f.Partition}]
	if p != nil && len(f.Records) > 0 {
		p.end = f.LastStableOffset
		delete(c.state.problems, pollProblem(topic, f.Partition))
	}
	c.mu.Unlock()
	if p == nil || len(f.Records) == 0 {
		return
	}
	ch := chunk{records: f.Records, logStart: f.LogStartOffset}
	for _, r := range f.Records {
		ch.bytes += len(r.Key) + len(r.Value) + recordOverhead
	}
	p.inbox.push(ch)
}

func pollProblem(topic string, partition int32) string {
	return "poll " + topic + "/" + strconv.Itoa(int(partition))
}

// recordOverhead is about what a record takes beside its key and value.
const recordOverhead = 256

// pollError counts an error of polling and tells of it, at a bounded rate, because
// the client repeats some of them as fast as it is polled.
func (c *Consumer) pollError(topic string, partition int32, err error) {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, kgo.ErrClientClosed) {
		return
	}
	c.metrics.pollErrors.Inc()
	if loss, ok := errors.AsType[*kgo.ErrDataLoss](err); ok {
		c.log.Error("the broker lost records that were read, or were about to be",
			zap.String("topic", topic), zap.Int32("partition", partition), zap.Int64("offset", loss.ConsumedTo), zap.Int64("next_offset", loss.ResetTo))
		return
	}
	if topic == "" { // of the group, not of a partition
		c.problem("group", "cannot take part in the group: "+advise(err))
		return
	}
	if partition < 0 { // of the topic: watchLoop looks at it too, and sees when it is solved
		c.exists("topic", kadm.TopicDetail{Topic: topic, Err: err}, advise)
		return
	}
	c.problem(pollProblem(topic, partition), fmt.Sprintf("cannot read topic %s, partition %d: %s", topic, partition, advise(err)))
}

// advise adds to an error of the broker what it asks of the operator.
func advise(err error) string {
	switch {
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		return err.Error() + " (grant READ and DESCRIBE on the topic)"
	case errors.Is(err, kerr.GroupAuthorizationFailed):
		return err.Error() + " (grant READ on the group)"
	default:
		return err.Error()
	}
}
