package consumer

import (
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

// Consumer reads topics as a member of a consumer group and delivers what is in them. See the package
// documentation.
type Consumer struct {
	cfg     Config
	log     *zap.Logger
	metrics *metrics
	health  *health

	mu      sync.Mutex // guards the fields below
	current *session   // nil while there is none
	failure error      // what ended Run although its context was not done
}

// New returns a consumer. It starts nothing and does not connect.
func New(cfg Config) (*Consumer, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	c := &Consumer{cfg: cfg, log: cfg.Log, metrics: newMetrics(cfg.Registry), health: newHealth(cfg.Log)}
	cfg.Registry.MustRegister(collector{c})
	return c, nil
}

// Run joins the group and consumes until ctx is done, in one session after another. Then it reads no
// more records, delivers what is sealed (see Config.DrainTimeout), commits, and leaves the group. It
// returns nil only if everything sealed was delivered and committed, and otherwise what was left, or
// what made it stop. When it returns, nothing of it is running. It is called once.
func (c *Consumer) Run(ctx context.Context) error {
	admin, err := kgo.NewClient(slices.Concat(c.cfg.Client, c.cfg.Hooks, []kgo.Opt{kgo.MetadataMinAge(adminMetadataAge), kgo.DisableClientMetrics()})...)
	if err != nil {
		return fmt.Errorf("kafka client: %w", err)
	}
	defer admin.Close()
	letters, err := newDeadLetters(&c.cfg, c.health, c.metrics)
	if err != nil {
		return err
	}
	defer letters.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	fail := func(err error) {
		c.setFailure(err)
		cancel()
	}
	env := &environment{
		cfg: &c.cfg, log: c.log, metrics: c.metrics, health: c.health, admin: admin, letters: letters,
		memory: &memory{budget: c.cfg.Budget}, fail: fail,
		topics: &topics{admin: admin, health: c.health, recreations: c.metrics.recreations, log: c.log, known: map[string]knownTopic{}},
	}
	defer context.AfterFunc(ctx, c.health.setLeaving)()
	err = c.runSessions(ctx, env)
	c.mu.Lock()
	defer c.mu.Unlock()
	return firstError(c.failure, err)
}

// setFailure notes an error that ends Run. The first counts.
func (c *Consumer) setFailure(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failure = firstError(c.failure, err)
}

// adminMetadataAge is how old the admin client's knowledge of leaders may be.
const adminMetadataAge = 250 * time.Millisecond

// runSessions runs sessions until ctx is done, and returns the error of the last.
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
		if cause == endFenced { // joining at once would fence the other member, and so on
			c.health.report(subjectGroup, "cannot take part in the group: "+advise(err))
			wait = sessionBackoffLongest
		}
		c.log.Warn("session ended; joining the group again", zap.String("cause", cause), zap.Error(err), zap.Duration("backoff", wait))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// sessionBackoff returns how long to wait after so many sessions without a commit: exponential, capped,
// with half of it random.
func sessionBackoff(attempt int) time.Duration {
	bound := sessionBackoffLongest
	if shift := attempt - 1; shift < 10 {
		bound = min(bound, sessionBackoffFirst<<shift)
	}
	return bound/2 + rand.N(bound/2)
}

// findTopics returns the IDs of the configured topics that exist, once there is at least one, or nil
// when ctx is done. The error is one that waiting cannot fix.
func (c *Consumer) findTopics(ctx context.Context, env *environment) (map[string]topicID, error) {
	for {
		lookCtx, cancel := context.WithTimeout(ctx, watchInterval)
		ids, err := c.lookForTopics(lookCtx, env)
		cancel()
		switch {
		case errors.Is(err, errNoServerSideGroups):
			return nil, err
		case len(ids) > 0 && ctx.Err() == nil:
			return ids, nil
		}
		select {
		case <-time.After(recheckInterval):
		case <-ctx.Done():
			return nil, nil
		}
	}
}

// lookForTopics looks for the configured topics once, and checks that the brokers offer the group
// protocol.
func (c *Consumer) lookForTopics(ctx context.Context, env *environment) (map[string]topicID, error) {
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
		env.topics.report("topic", name, t.err, advise)
		if t.err == nil {
			ids[name] = t.id
		}
	}
	return ids, nil
}

// errNoServerSideGroups means that the brokers do not offer the consumer protocol (KIP-848).
var errNoServerSideGroups = errors.New("kafka.rebalance_protocol consumer needs Kafka 4.0 or later on all brokers")

// CheckConsumerProtocol returns an error if the brokers do not offer the consumer protocol (KIP-848).
// Brokers before 4.0 do not, or only in a preview that the client does not use: it would fall back to
// the classic protocol, whose members cannot share a group with those of the consumer protocol.
func CheckConsumerProtocol(ctx context.Context, client *kgo.Client) error {
	response, err := kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, client)
	if err == nil {
		err = kerr.ErrorForCode(response.ErrorCode)
	}
	if err != nil {
		return fmt.Errorf("ask the brokers for their versions: %w", err)
	}
	for _, key := range response.ApiKeys {
		if key.ApiKey == keyConsumerGroupHeartbeat && key.MaxVersion >= 1 {
			return nil
		}
	}
	return errNoServerSideGroups
}

const keyConsumerGroupHeartbeat = 68

// setCurrent notes the session that runs.
func (c *Consumer) setCurrent(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current = s
}
