package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

// Consumer reads topics as a member of a consumer group and delivers their events to LaunchDarkly.
// See the package documentation.
type Consumer struct {
	cfg     Config
	log     *zap.Logger
	metrics *metrics
	health  *health
	rejects *rejects

	// names and delivered are nil if events are not counted by name.
	names     *eventNames
	delivered *delivered

	mu      sync.Mutex // guards the fields below
	current *session   // nil between sessions
	failure error      // first error that ended Run before its context was done
}

// New returns a consumer. It starts no goroutines and does not connect to Kafka.
func New(cfg Config) (*Consumer, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	c := &Consumer{
		cfg: cfg, log: cfg.Log, metrics: newMetrics(cfg.Registry), health: newHealth(cfg.Log),
		rejects: &rejects{log: cfg.Log},
	}
	if cfg.CountNames || cfg.metersNames() {
		c.names = &eventNames{counts: nameCounts{}}
		c.delivered = newDelivered(&cfg)
	}
	cfg.Registry.MustRegister(newCollector(c))
	return c, nil
}

// Run joins the group and consumes until ctx is done, in one session after another. It then stops
// reading, delivers sealed batches (see Config.DrainTimeout), commits, and leaves the group. Run
// returns nil if every sealed batch was delivered and committed, or if no session was running when
// ctx was done. Otherwise, the error describes the undelivered batches or the failure that stopped
// Run. With Config.Until, Run ends on its own, and returns an error if it is stopped before. When
// Run returns, all its goroutines have exited. Run must be called only once.
func (c *Consumer) Run(ctx context.Context) error {
	admin, err := kgo.NewClient(slices.Concat(c.cfg.Client, c.cfg.Hooks, []kgo.Opt{
		kgo.MetadataMinAge(adminMetadataAge), kgo.DisableClientMetrics(), kgo.RetryTimeoutFn(retryTimeout),
	})...)
	if err != nil {
		return fmt.Errorf("create the admin client: %w", err)
	}
	defer admin.Close()
	letters, err := newDeadLetters(&c.cfg, c.health, c.metrics)
	if err != nil {
		return err
	}
	defer letters.close()
	defer c.rejects.flushAll()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	fail := func(err error) {
		c.setFailure(err)
		cancel()
	}
	env := &environment{
		cfg: &c.cfg, log: c.log, metrics: c.metrics, health: c.health, admin: admin, letters: letters,
		memory: &memory{budget: c.cfg.Budget}, formats: newFormats(c.health), names: c.names, rejects: c.rejects,
		delivered: c.delivered, fail: fail,
		topics: &topics{
			cfg: &c.cfg, admin: admin, health: c.health, recreations: c.metrics.recreations, log: c.log,
			known: map[string]knownTopic{},
		},
	}
	if !c.cfg.Until.IsZero() {
		env.ends = &ends{cfg: &c.cfg, admin: admin, topics: env.topics, owned: map[topicPartition]int64{}, reach: cancel}
	}
	defer context.AfterFunc(ctx, c.health.setLeaving)()
	err = c.runSessions(ctx, env)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case env.ends == nil:
		return cmp.Or(c.failure, err)
	case env.ends.reached.Load():
		return c.failure
	}
	return cmp.Or(c.failure, err, errIncomplete)
}

// setFailure records an error that ends Run. Only the first call has an effect.
func (c *Consumer) setFailure(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failure = cmp.Or(c.failure, err)
}

// adminMetadataAge is the maximum age of the admin client's cached partition metadata.
const adminMetadataAge = 250 * time.Millisecond

// retryTimeout returns how long the admin client retries a request, by request key. Topic lookups
// are retried for less time than their context lasts. Otherwise, the client would return the
// context's error instead of the connection's. All other requests are retried until their context
// is done.
func retryTimeout(key int16) time.Duration {
	if key == int16(kmsg.Metadata) {
		return watchInterval / 2
	}
	return time.Hour
}

// runSessions runs sessions until ctx is done or an unrecoverable error occurs. It returns that
// error or, if ctx was done during a session, the session's error.
func (c *Consumer) runSessions(ctx context.Context, env *environment) error {
	for attempt := 0; ; {
		ids, err := c.findTopics(ctx, env)
		if err != nil {
			return err
		}
		if ids == nil {
			return nil // ctx is done
		}
		s, err := newSession(env, ids)
		if err != nil {
			return err
		}
		c.setCurrent(s)
		begun := time.Now()
		cause, err := s.run(ctx)
		c.setCurrent(nil)
		c.metrics.sessionsEnded.WithLabelValues(cause).Inc()
		if ctx.Err() != nil {
			return err
		}
		if c.health.committedSince(begun) {
			attempt = 0
		}
		attempt++
		wait := sessionBackoff(attempt)
		if cause == endFenced { // an immediate rejoin would fence the other member
			c.health.report(subjectGroup, cannotJoin(err))
			wait = sessionBackoffLongest
		}
		c.log.Warn("session ended; rejoining the group",
			zap.String("cause", cause), zap.Error(err), zap.Duration("backoff", wait))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// sessionBackoff returns a capped exponential backoff with jitter. The argument counts sessions
// from 1, and starts over after a session that committed.
func sessionBackoff(attempt int) time.Duration {
	bound := sessionBackoffLongest
	if shift := attempt - 1; shift < 10 {
		bound = min(bound, sessionBackoffFirst<<shift)
	}
	return bound/2 + rand.N(bound/2)
}

// findTopics waits until at least one configured topic exists, and returns the IDs of all that
// exist. It returns nil if ctx is done first, and an error only if retrying cannot help. In a run
// with Config.Until, a topic that two consecutive lookups do not find is such an error. One lookup
// proves nothing, because a newly started broker knows no topics.
func (c *Consumer) findTopics(ctx context.Context, env *environment) (map[string]topicID, error) {
	for missing := 0; ; {
		lookCtx, cancel := context.WithTimeout(ctx, watchInterval)
		ids, err := c.findTopicsOnce(lookCtx, env)
		cancel()
		switch {
		case errors.Is(err, errNoServerSideGroups), errors.Is(err, errReplaced), errors.Is(err, errNoTopic) && missing > 0:
			return nil, err
		case errors.Is(err, errNoTopic):
			missing++
		case len(ids) > 0 && ctx.Err() == nil:
			return ids, nil
		default:
			missing = 0
		}
		select {
		case <-time.After(recheckInterval):
		case <-ctx.Done():
			return nil, nil
		}
	}
}

// findTopicsOnce returns the IDs of the configured topics that currently exist. It also checks that
// the brokers support the configured group protocol. In a run with Config.Until, findTopicsOnce
// fails if a topic does not exist or was recreated, because its records can no longer be delivered.
func (c *Consumer) findTopicsOnce(ctx context.Context, env *environment) (map[string]topicID, error) {
	found, err := env.topics.lookUp(ctx, c.cfg.Topics...)
	if err != nil {
		return nil, err
	}
	if c.cfg.ConsumerProtocol {
		if err := CheckConsumerProtocol(ctx, env.admin); err != nil {
			return nil, err
		}
	}
	ids := map[string]topicID{}
	for name, t := range found {
		env.topics.report(kindTopic, name, t.err, Advice)
		switch {
		case env.ends != nil && errors.Is(t.err, kerr.UnknownTopicOrPartition):
			err = fmt.Errorf("topic %s: %w", name, errNoTopic)
		case env.ends != nil && env.topics.firstSeen(name).recreated:
			err = fmt.Errorf("topic %s: %w", name, errReplaced)
		case t.err == nil:
			ids[name] = t.id
		}
	}
	return ids, err
}

// errNoServerSideGroups means that the brokers do not support the consumer protocol (KIP-848).
var errNoServerSideGroups = errors.New(
	"kafka.rebalance_protocol: the consumer protocol requires Kafka 4.0 or later on all brokers")

// CheckConsumerProtocol returns an error if the brokers do not support the consumer protocol
// (KIP-848), or if their API versions cannot be fetched. Brokers older than 4.0 offer at most a
// preview, which the client does not use. Without this check, the client would silently fall back
// to the classic protocol.
func CheckConsumerProtocol(ctx context.Context, client *kgo.Client) error {
	response, err := kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, client)
	if err == nil {
		err = kerr.ErrorForCode(response.ErrorCode)
	}
	if err != nil {
		return fmt.Errorf("fetch API versions from the brokers: %w", err)
	}
	for _, key := range response.ApiKeys {
		if key.ApiKey == keyConsumerGroupHeartbeat && key.MaxVersion >= 1 {
			return nil
		}
	}
	return errNoServerSideGroups
}

// setCurrent sets the running session, or nil between sessions.
func (c *Consumer) setCurrent(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current = s
}
