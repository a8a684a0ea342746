package consumer

import (
	"errors"
	"fmt"
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

// Start selects where a partition without a committed offset starts. The zero Start is the earliest
// record.
type Start struct {
	// Latest starts a partition at the end of the log as of its first assignment.
	Latest bool
	// Time, if set, starts a partition at the first record that is not older.
	Time time.Time
}

// Config configures a [Consumer]. A field is required unless its comment names a default.
type Config struct {
	// Client holds the options to connect to Kafka: brokers, TLS, SASL, and rack. Default: none.
	Client []kgo.Opt
	// Hooks holds the metrics and log hooks of all clients, which use them concurrently. Default:
	// none.
	Hooks []kgo.Opt

	// Topics lists the topics to read.
	Topics []string
	// Group names the consumer group.
	Group string
	// Start selects where a partition without a committed offset starts. Default: the earliest
	// record.
	Start Start
	// InstanceID is the ID of a static member. Empty means dynamic membership.
	InstanceID string
	// ConsumerProtocol selects the KIP-848 protocol. Default: the classic protocol with the
	// cooperative-sticky assignor.
	ConsumerProtocol bool
	// SessionTimeout is the session timeout of the classic protocol. The KIP-848 protocol ignores
	// it.
	SessionTimeout time.Duration

	// MaxEvents is the maximum number of events in a batch. A single record with more events
	// exceeds it.
	MaxEvents int
	// MaxBytes is the maximum size of a request body in bytes, before compression. A single record
	// with larger events exceeds it.
	MaxBytes int
	// MaxAge is the maximum age of an open batch.
	MaxAge time.Duration
	// Gzip enables compression of request bodies. Default: false.
	Gzip bool

	// DrainTimeout bounds the wait for deliveries when partitions are released. During the first
	// half new requests still start; during the second half only in-flight requests may finish. It
	// must be less than RebalanceTimeout.
	DrainTimeout time.Duration
	// DeadLetterTopic names the topic that receives rejected calls. Empty means that they are only
	// counted and logged.
	DeadLetterTopic string
	// Redrive marks Topics as dead-letter topics: only the call that a dead letter was written for
	// is mapped. Default: false.
	Redrive bool

	// Mapping maps Segment calls to LaunchDarkly events.
	Mapping *transform.Mapping
	// Sink delivers batches to LaunchDarkly.
	Sink *sink.Client
	// Budget bounds the memory of open buffers, request bodies, and dead letters.
	Budget *sink.Budget
	// Registry receives the metrics of the consumer.
	Registry prometheus.Registerer
	// Log receives the log of the consumer.
	Log *zap.Logger
}

// RebalanceTimeout bounds how long the group waits for a member to release partitions.
const RebalanceTimeout = time.Minute

const (
	commitInterval  = time.Second      // interval of commits if no batch waits for one
	commitTimeout   = 10 * time.Second // timeout of one commit; longer than the brokers' offsets.commit.timeout.ms
	commitPatience  = 15 * time.Second // time until transient commit errors become a problem
	refreshInterval = time.Minute      // between commits of unchanged offsets, which some brokers expire
	metadataAge     = 30 * time.Second // time until added partitions are found; kgo's default is 5 minutes
	watchInterval   = 15 * time.Second // between checks of the topics and their end offsets
	recheckInterval = 2 * time.Second  // between lookups of a missing topic

	sessionBackoffFirst   = 250 * time.Millisecond // bound of the first backoff between sessions
	sessionBackoffLongest = 10 * time.Second       // bound of all backoffs between sessions

	pollRecords = 2000                   // maximum number of records per poll
	maxQueued   = 16 << 20               // bytes of polled but unmapped records, over all partitions
	pollBackoff = 250 * time.Millisecond // pause after a poll that returned only errors
	fetchWait   = 500 * time.Millisecond // maximum wait of a fetch for records; also delays resumed partitions
	fetchBytes  = 1 << 20                // compressed bytes per fetch from one broker
	fetchPart   = 512 << 10              // compressed bytes per partition in a fetch
)

func (c *Config) validate() error {
	switch {
	case len(c.Topics) == 0:
		return errors.New("consumer: Topics must not be empty")
	case c.Group == "":
		return errors.New("consumer: Group must not be empty")
	case c.DrainTimeout >= RebalanceTimeout:
		return fmt.Errorf("consumer: DrainTimeout must be less than %v, got %v", RebalanceTimeout, c.DrainTimeout)
	case c.MaxEvents < 1 || c.MaxBytes < 1 || c.MaxAge <= 0:
		return errors.New("consumer: MaxEvents, MaxBytes and MaxAge must be positive")
	case c.Mapping == nil || c.Sink == nil || c.Budget == nil || c.Registry == nil || c.Log == nil:
		return errors.New("consumer: Mapping, Sink, Budget, Registry and Log are required")
	}
	return nil
}

// groupOptions returns the options of the group client that consumes the given topics.
func (c *Config) groupOptions(ids map[string]topicID) []kgo.Opt {
	opts := slices.Concat(c.Client, c.Hooks, []kgo.Opt{
		kgo.ConsumeTopics(slices.Collect(maps.Keys(ids))...),
		kgo.ConsumerGroup(c.Group),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), // fallback only: adjustOffsets sets the real position
		kgo.RebalanceTimeout(RebalanceTimeout),
		kgo.MetadataMaxAge(metadataAge),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // so that the watermark passes them and the lag reaches 0
		kgo.FetchMaxWait(fetchWait),
		kgo.FetchMaxBytes(fetchBytes),
		kgo.FetchMaxPartitionBytes(fetchPart),
		kgo.DisableClientMetrics(),
	})
	if c.InstanceID != "" {
		opts = append(opts, kgo.InstanceID(c.InstanceID))
	}
	for _, id := range ids {
		if id == (topicID{}) { // version 10 and later name topics by ID only
			versions := kversion.Stable()
			versions.SetMaxKeyVersion(keyOffsetCommit, 9)
			opts = append(opts, kgo.MaxVersions(versions))
			break
		}
	}
	if c.ConsumerProtocol {
		// The sticky balancer selects the server's uniform assignor.
		return append(opts, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	}
	return append(opts,
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.SessionTimeout(c.SessionTimeout),
		kgo.HeartbeatInterval(min(c.SessionTimeout/3, 3*time.Second)),
	)
}

// watchedTopics returns the topics to read and the dead-letter topic, if any.
func (c *Config) watchedTopics() []string {
	if c.DeadLetterTopic == "" {
		return c.Topics
	}
	return append(slices.Clone(c.Topics), c.DeadLetterTopic)
}
