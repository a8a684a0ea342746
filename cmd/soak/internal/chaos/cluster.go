//go:build linux

package chaos

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
)

// Cluster is the Kafka cluster used by a run.
type Cluster interface {
	// Brokers returns the brokers' addresses.
	Brokers() []string
	// MoveLeader moves a partition's leadership to another broker and returns that broker's number.
	MoveLeader(ctx context.Context, topic string, partition int32) (to int, err error)
	// Position returns the position from which Commits must read to find all later commits.
	Position(ctx context.Context) (Position, error)
	// Commits calls fn for every commit by a group since a position. It can also include earlier
	// commits. The commits for one partition are in order.
	Commits(ctx context.Context, group string, since Position,
		fn func(topic string, at time.Time, partition int32, offset int64, metadata string)) error
}

// Position maps each partition of the offset commit log to an offset. A nil Position means the
// start of the log.
type Position map[int32]int64

// breakable is a cluster whose brokers can be killed.
type breakable interface {
	Kill(broker int) error
	Start(broker int) error
	Ready(ctx context.Context) error
	Coordinator(ctx context.Context, group string) (broker int, err error)
}

// Apache is an Apache Kafka cluster.
type Apache struct{ *kafkatest.Apache }

// ApacheProperties returns the broker properties that an [Apache] cluster needs for the given
// session timeout. With KIP-848, the session timeout is a broker property. The segment size keeps
// all commits in the active segment, which is never compacted.
func ApacheProperties(session time.Duration) map[string]string {
	ms := strconv.FormatInt(session.Milliseconds(), 10)
	return map[string]string{
		"group.consumer.session.timeout.ms":    ms,
		"group.consumer.heartbeat.interval.ms": strconv.FormatInt(min(session/3, time.Second).Milliseconds(), 10),
		"offsets.topic.segment.bytes":          "1073741824",
	}
}

// Position returns the end offsets of __consumer_offsets.
func (a Apache) Position(ctx context.Context) (Position, error) {
	return kafkatest.EndOffsets(ctx, a.Brokers(), "__consumer_offsets")
}

// Commits reads __consumer_offsets, to which the coordinators append every commit.
func (a Apache) Commits(ctx context.Context, group string, since Position,
	fn func(string, time.Time, int32, int64, string)) error {
	var failed error
	err := kafkatest.ReadFrom(ctx, a.Brokers(), "__consumer_offsets", since, func(r *kgo.Record) {
		isCommit := len(r.Key) >= 2 && r.Key[0] == 0 && r.Key[1] <= 1 && r.Value != nil // not a tombstone
		if !isCommit || failed != nil {
			return
		}
		key, value := kmsg.NewOffsetCommitKey(), kmsg.NewOffsetCommitValue()
		if err := errors.Join(key.ReadFrom(r.Key), value.ReadFrom(r.Value)); err != nil {
			failed = fmt.Errorf("parse commit: %w", err)
			return
		}
		if key.Group == group {
			fn(key.Topic, r.Timestamp, key.Partition, value.Offset, value.Metadata)
		}
	})
	return errors.Join(err, failed)
}

// newCommit returns a commit with the cuts and topic ID from its metadata, such as "v1 +10 +20
// @topic". It shares no code with the program under test. A commit without metadata is attributed
// to an operator.
func newCommit(at time.Time, partition int32, offset int64, metadata string) (Commit, error) {
	c := Commit{Time: at, Partition: partition, Offset: offset, Operator: metadata == ""}
	if c.Operator {
		return c, nil
	}
	words := strings.Fields(metadata)
	if len(words) == 0 || words[0] != "v1" {
		return c, fmt.Errorf("commit of partition %d, offset %d: invalid metadata %q", partition, offset, metadata)
	}
	for _, word := range words[1:] {
		if id, found := strings.CutPrefix(word, "@"); found {
			c.TopicID = id
			break
		}
		length, err := strconv.ParseInt(strings.TrimPrefix(word, "+"), 10, 64)
		if err != nil || length <= 0 {
			return c, fmt.Errorf("commit of partition %d, offset %d: invalid metadata %q", partition, offset, metadata)
		}
		offset += length
		c.Cuts = append(c.Cuts, offset)
	}
	return c, nil
}

// Embedded is an in-process cluster. Its brokers cannot be killed.
type Embedded struct {
	cluster *kfake.Cluster
	dir     string
}

// NewEmbedded starts an embedded cluster of three brokers that stores its files in dir. The caller
// must close the cluster.
func NewEmbedded(dir string, session time.Duration) (*Embedded, error) {
	cluster, err := kafkatest.NewEmbedded(kfake.NumBrokers(3), kfake.DataDir(dir),
		kfake.GroupMinSessionTimeout(min(session, time.Second)),
		kfake.BrokerConfigs(map[string]string{
			"group.initial.rebalance.delay.ms":     "0",
			"group.consumer.session.timeout.ms":    strconv.FormatInt(session.Milliseconds(), 10),
			"group.consumer.heartbeat.interval.ms": strconv.FormatInt(min(session/3, time.Second).Milliseconds(), 10),
			"state.log.compact.bytes":              "1073741824", // prevents compaction, to keep every commit
		}))
	if err != nil {
		return nil, err
	}
	return &Embedded{cluster, dir}, nil
}

// Close stops the cluster.
func (e *Embedded) Close() { e.cluster.Close() }

// Brokers returns the brokers' addresses.
func (e *Embedded) Brokers() []string { return e.cluster.ListenAddrs() }

// MoveLeader moves a partition's leadership to the next broker.
func (e *Embedded) MoveLeader(_ context.Context, topic string, partition int32) (int, error) {
	to := (e.cluster.LeaderFor(topic, partition) + 1) % 3
	return int(to), e.cluster.MoveTopicPartition(topic, partition, to)
}

// Position returns nil, which means the start of the log, because an embedded cluster's log is
// short.
func (e *Embedded) Position(context.Context) (Position, error) { return nil, nil }

// Commits reads kfake's groups.log from the start. This file contains every commit. Each entry
// consists of a length (4 bytes), a checksum (4 bytes), a version (2 bytes), and JSON. The length
// covers the version and the JSON.
func (e *Embedded) Commits(_ context.Context, group string, _ Position,
	fn func(string, time.Time, int32, int64, string)) error {
	log, err := os.ReadFile(filepath.Join(e.dir, "groups.log"))
	if err != nil {
		return fmt.Errorf("read groups.log: %w", err)
	}
	for len(log) >= 10 {
		end := 8 + int(binary.LittleEndian.Uint32(log))
		if end > len(log) { // the last entry is still being written
			break
		}
		var entry struct {
			Type     string `json:"type"`
			Group    string `json:"g"`
			Topic    string `json:"t"`
			Part     int32  `json:"p"`
			Offset   int64  `json:"o"`
			Metadata string `json:"m"`
			Time     int64  `json:"lc"` // Unix milliseconds
		}
		if err := json.Unmarshal(log[10:end], &entry); err != nil {
			return fmt.Errorf("parse groups.log entry: %w", err)
		}
		log = log[end:]
		if entry.Type == "commit" && entry.Group == group {
			fn(entry.Topic, time.UnixMilli(entry.Time), entry.Part, entry.Offset, entry.Metadata)
		}
	}
	return nil
}
