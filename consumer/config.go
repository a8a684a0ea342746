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

// Start selects the start position of partitions without a committed offset. The zero value selects
// the earliest record. Partitions added after their topic was first seen, and all partitions of a
// recreated topic, start at the earliest record regardless of Start.
type Start struct {
	// Latest selects the end of the log at the time of the partition's first assignment.
	Latest bool
	// Time, if set, selects the first record with this timestamp or a later one. If there is no
	// such record, Time selects the end of the log.
	Time time.Time
}

// Config configures a [Consumer]. A field is required unless its comment gives a default or says
// what an empty value means.
type Config struct {
	// Client holds the Kafka connection options: brokers, TLS, SASL, and rack. Default: none.
	Client []kgo.Opt
	// TLS reports whether Client contains TLS options. SASL is the SASL mechanism's name, or "". They
	// affect only the advice on failed connections.
	TLS  bool
	SASL string
	// Hooks holds the metrics and log hooks of all Kafka clients. Hooks must be safe for concurrent
	// use. Default: none.
	Hooks []kgo.Opt

	// Topics lists the topics to read.
	Topics []string
	// Group names the consumer group.
	Group string
	// Start selects the start position of partitions without a committed offset. Default: the
	// earliest record.
	Start Start
	// Until ends Run once everything before this time is delivered and committed. A partition ends
	// at its first record with this timestamp or a later one or, if there is none, at the end of
	// the log when the member first owns the partition. Partitions added later are not read. A
	// member that owns no partition, or joined only recently, waits until the group has committed
	// the ends of all partitions; see watchEnds. Run fails if a topic does not exist, or is deleted
	// or recreated. The zero time means no end.
	Until time.Time
	// InstanceID makes the consumer a static member with this ID. Empty means dynamic membership.
	InstanceID string
	// ConsumerProtocol selects the KIP-848 protocol. Default: the classic protocol with the
	// cooperative-sticky assignor.
	ConsumerProtocol bool
	// SessionTimeout is the session timeout of the classic protocol. With the KIP-848 protocol,
	// the brokers choose the session timeout, and SessionTimeout only bounds the attempts to leave
	// the group.
	SessionTimeout time.Duration

	// MaxEvents is the maximum number of events in a batch. The events of a single record, and a
	// batch recorded by an earlier owner, may exceed this limit.
	MaxEvents int
	// MaxBytes is the maximum size of a request body in bytes, before compression. The events of a
	// single record, and a batch recorded by an earlier owner, may exceed this limit.
	MaxBytes int
	// MaxAge is the maximum age of an open batch. A batch recorded by an earlier owner may stay
	// open longer, until its cut is reached.
	MaxAge time.Duration
	// Gzip enables gzip compression of request bodies. Default: false.
	Gzip bool

	// DrainTimeout is the maximum time to wait for deliveries when partitions are revoked or Run is
	// stopping. New requests may start only during the first half of this time; in-flight requests
	// may finish during all of it. DrainTimeout must be less than RebalanceTimeout.
	DrainTimeout time.Duration
	// DeadLetterTopic names the topic that receives rejected calls. Empty means that rejected calls
	// are only counted and logged.
	DeadLetterTopic string
	// Redrive treats Topics as dead-letter topics. From each dead letter, only the call that it was
	// written for is mapped. Default: false.
	Redrive bool

	// RedriveReasons selects dead letters by reason. Dead letters with other reasons are filtered.
	// Empty means all reasons.
	RedriveReasons []string

	// CountNames enables Consumer.EventNames and Consumer.Delivered. Default: false.
	CountNames bool
	// DeliveredNames lists the event names to count among delivered events, and enables their
	// metric. Events with any other name, or a name whose JSON text exceeds 256 bytes, count as
	// other. If the list is empty or longer than MaxDeliveredNames, the most frequent names are
	// counted, without a metric.
	DeliveredNames []string

	// MetricsByTopic combines the metrics of the partitions of a topic, which bounds the number of
	// series. Default: false.
	MetricsByTopic bool

	// Mapping maps Segment calls to LaunchDarkly events.
	Mapping *transform.Mapping
	// Sink delivers batches to LaunchDarkly.
	Sink *sink.Client
	// Budget bounds the memory used by open buffers, request bodies, and dead letters.
	Budget *sink.Budget
	// Registry receives the consumer's metrics.
	Registry prometheus.Registerer
	// Log receives the consumer's log entries.
	Log *zap.Logger
}

// RebalanceTimeout is the maximum time that the group waits for a member to release partitions.
const RebalanceTimeout = time.Minute

// ShutdownTimeout is the maximum time that [Consumer.Run] takes after Config.DrainTimeout to store
// the last commit, leave the group, and close the connections.
const ShutdownTimeout = 20 * time.Second

const (
	commitInterval  = time.Second      // between commits while no batch is waiting
	commitTimeout   = 10 * time.Second // timeout of a commit request; above the default offsets.commit.timeout.ms
	commitPatience  = 15 * time.Second // time before transient commit errors are reported as a problem
	refreshInterval = time.Minute      // maximum age of a commit of an unchanged offset; some brokers expire old commits
	maxCommitBytes  = 256 << 10        // maximum bytes of records per commit; the offsets topic accepts 1 MB by default
	metadataAge     = 30 * time.Second // maximum time until added partitions are detected; kgo's default is 5 minutes
	watchInterval   = 15 * time.Second // between checks of topics and end offsets
	recheckInterval = 2 * time.Second  // between lookups of a missing topic

	sessionBackoffFirst   = 250 * time.Millisecond // upper bound of the first backoff between sessions
	sessionBackoffLongest = 10 * time.Second       // maximum backoff between sessions

	pollRecords = 2000                   // maximum records per poll
	maxQueued   = 8 << 20                // polling waits while unpaused partitions have this many unmapped bytes
	pollBackoff = 250 * time.Millisecond // pause after a poll that returned only errors
	fetchWait   = 500 * time.Millisecond // maximum time a fetch waits for records; also delays resumed partitions
	fetchMin    = 128 << 10              // compressed bytes that a fetch waits for; see Config.linger
	fetchBytes  = 1 << 20                // maximum compressed bytes per fetch from one broker
	fetchPart   = 512 << 10              // maximum compressed bytes per partition in a fetch
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
		return errors.New("consumer: MaxEvents, MaxBytes, and MaxAge must be positive")
	case c.Mapping == nil || c.Sink == nil || c.Budget == nil || c.Registry == nil || c.Log == nil:
		return errors.New("consumer: Mapping, Sink, Budget, Registry, and Log are required")
	}
	return nil
}

// groupOptions returns the options for a group client that consumes the given topics.
func (c *Config) groupOptions(ids map[string]topicID) []kgo.Opt {
	opts := slices.Concat(c.Client, c.Hooks, []kgo.Opt{
		kgo.ConsumeTopics(slices.Collect(maps.Keys(ids))...),
		kgo.ConsumerGroup(c.Group),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), // fallback only; adjustOffsets sets the start position
		kgo.RebalanceTimeout(RebalanceTimeout),
		kgo.MetadataMaxAge(metadataAge),
		kgo.FetchMaxWait(fetchWait),
	}, readOptions())
	if c.linger() > 0 {
		opts = append(opts, kgo.FetchMinBytes(fetchMin))
	}
	if c.InstanceID != "" {
		opts = append(opts, kgo.InstanceID(c.InstanceID))
	}
	for _, id := range ids {
		if id == (topicID{}) { // OffsetCommit version 10 and later identify topics only by ID
			versions := kversion.Stable()
			versions.SetMaxKeyVersion(keyOffsetCommit, 9)
			opts = append(opts, kgo.MaxVersions(versions))
			break
		}
	}
	if c.ConsumerProtocol {
		// With server-side balancing, the sticky balancer selects the brokers' uniform assignor.
		return append(opts, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	}
	return append(opts,
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.SessionTimeout(c.SessionTimeout),
		kgo.HeartbeatInterval(min(c.SessionTimeout/3, 3*time.Second)),
	)
}

// linger returns the maximum time that a fetch waits for more records once there is one. At low
// rates, a fetch per record costs many times the CPU of everything else. Waiting delays no
// delivery, because it counts towards a batch's age; see intake.openRange. linger is 0 for a run
// that ends, and if it would be more than a quarter of MaxAge.
func (c *Config) linger() time.Duration {
	if !c.Until.IsZero() || c.MaxAge < 4*fetchWait {
		return 0
	}
	return fetchWait
}

// ReaderOptions returns the options for a client that reads the same records as [Consumer.Run], but
// without a consumer group. The client reuses the memory of records that are recycled; see
// [kgo.Record.Recycle].
func ReaderOptions() []kgo.Opt {
	return append(readOptions(), kgo.MaxDecompressBatchBytes(maxBatchBytes), kgo.WithPools(&recordPool{}))
}

func readOptions() []kgo.Opt {
	return []kgo.Opt{
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // the watermark must pass control records for the lag to reach 0
		kgo.FetchMaxBytes(fetchBytes),
		kgo.FetchMaxPartitionBytes(fetchPart),
		kgo.DisableClientMetrics(),
	}
}

// watchedTopics returns the topics to read and the dead-letter topic, if any.
func (c *Config) watchedTopics() []string {
	if c.DeadLetterTopic == "" {
		return c.Topics
	}
	return append(slices.Clone(c.Topics), c.DeadLetterTopic)
}
