package consumer

import (
	"errors"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
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
	Hooks  []kgo.Opt // metrics and log of the group's client

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

	Mapping  *transform.Mapping
	Sink     *sink.Client
	Budget   *sink.Budget
	Registry prometheus.Registerer
	Log      *zap.Logger
}

// RebalanceTimeout is how long the group waits for a member to give partitions up.
const RebalanceTimeout = time.Minute

const (
	commitInterval = time.Second      // between commits when no batch waits for one
	refresh        = time.Minute      // unchanged offsets are committed again: some brokers forget idle ones
	metadataAge    = 30 * time.Second // until partitions that were added are noticed; the client's default is five minutes
	watchInterval  = 15 * time.Second // between looks at the topics and the ends of their logs

	pollRecords = 2000                   // of one poll
	maxQueued   = 16 << 20               // bytes of records polled and not taken, over all partitions
	pollBackoff = 250 * time.Millisecond // after a poll of nothing but errors
	fetchWait   = 500 * time.Millisecond // of a fetch that finds nothing: a partition that is resumed waits as long
	fetchBytes  = 1 << 20                // of one fetch from one broker, compressed
	fetchPart   = 512 << 10              // thereof of one partition
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

// options returns the options of the group's client.
func (c *Consumer) options() []kgo.Opt {
	cfg := &c.cfg
	opts := slices.Concat(cfg.Client, cfg.Hooks)
	opts = append(opts,
		kgo.ConsumeTopics(cfg.Topics...),
		kgo.ConsumerGroup(cfg.Group),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(c.onAssigned),
		kgo.OnPartitionsRevoked(c.onRevoked),
		kgo.OnPartitionsLost(c.onLost),
		kgo.OnOffsetsFetched(c.onOffsetsFetched),
		kgo.AdjustFetchOffsetsFn(c.adjustOffsets),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), // onOffsetsFetched knows better; never the end by accident
		kgo.RebalanceTimeout(RebalanceTimeout),
		kgo.MetadataMaxAge(metadataAge),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // so that the watermark passes them and lag comes down to 0
		kgo.WithPools(&pool{}),
		kgo.FetchMaxWait(fetchWait),
		kgo.FetchMaxBytes(fetchBytes),
		kgo.FetchMaxPartitionBytes(fetchPart),
	)
	if cfg.InstanceID != "" {
		opts = append(opts, kgo.InstanceID(cfg.InstanceID))
	}
	if cfg.ConsumerProtocol {
		return append(opts, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer())) // the server's uniform assignor
	}
	return append(opts,
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.SessionTimeout(cfg.SessionTimeout),
		kgo.HeartbeatInterval(min(cfg.SessionTimeout/3, 3*time.Second)),
	)
}
