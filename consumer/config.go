package consumer

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"
	"go.uber.org/zap"

	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// Start says where a partition starts for which the group has no committed offset.
// The zero Start is the earliest record.
type Start struct {
	Latest bool      // at the end of the log, as it is at the first assignment
	Time   time.Time // at the first record that is not older, if set
}

// Config configures a [Consumer]. All fields without a stated default are required.
type Config struct {
	Client []kgo.Opt // brokers, TLS, SASL, rack: how to reach Kafka
	Hooks  []kgo.Opt // metrics and log of all clients; several may use them at the same time

	Topics           []string
	Group            string
	Start            Start
	InstanceID       string        // static membership; empty: dynamic
	ConsumerProtocol bool          // KIP-848 instead of the classic protocol with cooperative-sticky
	SessionTimeout   time.Duration // classic protocol only

	MaxEvents int           // of a batch
	MaxBytes  int           // of a batch's body
	MaxAge    time.Duration // of an open batch
	Gzip      bool          // compress bodies

	DrainTimeout    time.Duration // longest wait when partitions are given up: half for deliveries, half for requests under way; below RebalanceTimeout
	DeadLetterTopic string        // empty: rejected calls are counted and logged
	Redrive         bool          // Topics hold dead letters: of each, only the call that it was written for is mapped

	Mapping  *transform.Mapping
	Sink     *sink.Client
	Budget   *sink.Budget
	Registry prometheus.Registerer
	Log      *zap.Logger
}

// RebalanceTimeout is how long the group waits for a member to give partitions up.
const RebalanceTimeout = time.Minute

const (
	commitInterval  = time.Second      // between commits when no batch waits for one
	commitTimeout   = 10 * time.Second // of one commit; longer than the brokers' offsets.commit.timeout.ms
	commitPatience  = 15 * time.Second // how long commits may fail for reasons that pass by themselves
	refreshInterval = time.Minute      // unchanged offsets are committed again: some brokers forget idle ones
	metadataAge     = 30 * time.Second // until added partitions are detected; the client's default is five minutes
	watchInterval   = 15 * time.Second // between looks at the topics and the ends of their logs
	recheckInterval = 2 * time.Second  // before a topic that was not found is looked up again

	sessionBackoffFirst   = 250 * time.Millisecond // before the first session after one that ended
	sessionBackoffLongest = 10 * time.Second

	pollRecords = 2000                   // of one poll
	maxQueued   = 16 << 20               // bytes of records polled and not mapped, over all partitions
	pollBackoff = 250 * time.Millisecond // after a poll of nothing but errors
	fetchWait   = 500 * time.Millisecond // of a fetch that finds nothing: a resumed partition waits as long
	fetchBytes  = 1 << 20                // of one fetch from one broker, compressed
	fetchPart   = 512 << 10              // of one partition in a fetch, compressed
)

func (c *Config) validate() error {
	switch {
	case len(c.Topics) == 0:
		return errors.New("consumer: no topics")
	case c.Group == "":
		return errors.New("consumer: no group")
	case c.DrainTimeout >= RebalanceTimeout:
		return errors.New("consumer: drain timeout must be below the rebalance timeout")
	case c.MaxEvents < 1 || c.MaxBytes < 1 || c.MaxAge <= 0:
		return errors.New("consumer: a batch needs a number of events, a size and an age")
	case c.Mapping == nil || c.Sink == nil || c.Budget == nil || c.Registry == nil || c.Log == nil:
		return errors.New("consumer: a collaborator is missing")
	}
	return nil
}

// groupOptions returns the options of a session's client that consumes the given topics.
func (c *Config) groupOptions(ids map[string]topicID) []kgo.Opt {
	opts := slices.Concat(c.Client, c.Hooks, []kgo.Opt{
		kgo.ConsumeTopics(slices.Collect(maps.Keys(ids))...),
		kgo.ConsumerGroup(c.Group),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), // never used: adjustOffsets sets every position
		kgo.RebalanceTimeout(RebalanceTimeout),
		kgo.MetadataMaxAge(metadataAge),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // so that the watermark passes them and lag comes down to 0
		kgo.FetchMaxWait(fetchWait),
		kgo.FetchMaxBytes(fetchBytes),
		kgo.FetchMaxPartitionBytes(fetchPart),
		kgo.DisableClientMetrics(),
	})
	if c.InstanceID != "" {
		opts = append(opts, kgo.InstanceID(c.InstanceID))
	}
	for _, id := range ids {
		if id == (topicID{}) { // from version 10 on, a commit names topics by ID only
			versions := kversion.Stable()
			versions.SetMaxKeyVersion(keyOffsetCommit, 9)
			opts = append(opts, kgo.MaxVersions(versions))
			break
		}
	}
	if c.ConsumerProtocol {
		return append(opts, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer())) // the server's uniform assignor
	}
	return append(opts,
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.SessionTimeout(c.SessionTimeout),
		kgo.HeartbeatInterval(min(c.SessionTimeout/3, 3*time.Second)),
	)
}

// watchedTopics returns all topics that the consumer looks up.
func (c *Config) watchedTopics() []string {
	if c.DeadLetterTopic == "" {
		return c.Topics
	}
	return append(slices.Clone(c.Topics), c.DeadLetterTopic)
}
