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

// Cluster is a Kafka cluster that a run may use.
type Cluster interface {
	Brokers() []string
	MoveLeader(ctx context.Context, topic string, partition int32) (to int, err error)
	// Position returns where the log of all commits ends now.
	Position(ctx context.Context) (Position, error)
	// Commits calls each with what a group has committed since a position, those of one partition
	// in order.
	Commits(ctx context.Context, group string, since Position, each func(topic string, at time.Time, partition int32, offset int64, metadata string)) error
}

// Position is a position in the log of all commits, by partition. Nil is its start.
type Position map[int32]int64

// breakable is a cluster whose brokers can be killed.
type breakable interface {
	Kill(broker int) error
	Start(broker int) error
	Ready(ctx context.Context) error
	Coordinator(ctx context.Context, group string) (broker int, err error)
}

// Apache is a cluster of Apache Kafka.
type Apache struct{ *kafkatest.Apache }

// ApacheProperties are the settings that a cluster of [Apache] needs for a session timeout: KIP-848
// takes it from the brokers. The log of the commits stays in one segment, because only that is
// never compacted.
func ApacheProperties(session time.Duration) map[string]string {
	ms := strconv.FormatInt(session.Milliseconds(), 10)
	return map[string]string{
		"group.consumer.session.timeout.ms":    ms,
		"group.consumer.heartbeat.interval.ms": strconv.FormatInt(min(session/3, time.Second).Milliseconds(), 10),
		"offsets.topic.segment.bytes":          "1073741824",
	}
}

// Position returns the end of __consumer_offsets.
func (a Apache) Position(ctx context.Context) (Position, error) {
	return kafkatest.EndOffsets(ctx, a.Brokers(), "__consumer_offsets")
}

// Commits reads the log of __consumer_offsets, in which the coordinators write each commit.
func (a Apache) Commits(ctx context.Context, group string, since Position, each func(string, time.Time, int32, int64, string)) error {
	var failed error
	err := kafkatest.ReadFrom(ctx, a.Brokers(), "__consumer_offsets", since, func(r *kgo.Record) {
		if len(r.Key) < 2 || r.Key[0] != 0 || r.Key[1] > 1 || r.Value == nil || failed != nil { // not an offset, or the end of one
			return
		}
		key, value := kmsg.NewOffsetCommitKey(), kmsg.NewOffsetCommitValue()
		if err := errors.Join(key.ReadFrom(r.Key), value.ReadFrom(r.Value)); err != nil {
			failed = fmt.Errorf("read a stored commit: %w", err)
			return
		}
		if key.Group == group {
			each(key.Topic, r.Timestamp, key.Partition, value.Offset, value.Metadata)
		}
	})
	return errors.Join(err, failed)
}

// newCommit reads the cuts in a commit's metadata, "v1 +10 +20 @topic", on its own: the checker
// shares no code with what it checks. Commits without metadata are those of an operator.
func newCommit(at time.Time, partition int32, offset int64, metadata string) (Commit, error) {
	c := Commit{Time: at, Partition: partition, Offset: offset, Operator: metadata == ""}
	if c.Operator {
		return c, nil
	}
	words := strings.Fields(metadata)
	if len(words) == 0 || words[0] != "v1" {
		return c, fmt.Errorf("commit of partition %d, offset %d: metadata %q", partition, offset, metadata)
	}
	for _, word := range words[1:] {
		if id, found := strings.CutPrefix(word, "@"); found {
			c.TopicID = id
			break
		}
		length, err := strconv.ParseInt(strings.TrimPrefix(word, "+"), 10, 64)
		if err != nil || length <= 0 {
			return c, fmt.Errorf("commit of partition %d, offset %d: metadata %q", partition, offset, metadata)
		}
		offset += length
		c.Cuts = append(c.Cuts, offset)
	}
	return c, nil
}

// Embedded is a cluster in this process. Its brokers cannot be killed.
type Embedded struct {
	cluster *kfake.Cluster
	dir     string
}

// NewEmbedded starts an embedded cluster of three brokers, which keeps its files in dir. Close it.
func NewEmbedded(dir string, session time.Duration) (*Embedded, error) {
	cluster, err := kafkatest.NewEmbedded(kfake.NumBrokers(3), kfake.DataDir(dir), kfake.GroupMinSessionTimeout(min(session, time.Second)),
		kfake.BrokerConfigs(map[string]string{
			"group.initial.rebalance.delay.ms":     "0",
			"group.consumer.session.timeout.ms":    strconv.FormatInt(session.Milliseconds(), 10),
			"group.consumer.heartbeat.interval.ms": strconv.FormatInt(min(session/3, time.Second).Milliseconds(), 10),
			"state.log.compact.bytes":              "1073741824", // never: it holds each commit
		}))
	if err != nil {
		return nil, err
	}
	return &Embedded{cluster, dir}, nil
}

// Close ends the cluster.
func (e *Embedded) Close() { e.cluster.Close() }

// Brokers are the brokers' addresses.
func (e *Embedded) Brokers() []string { return e.cluster.ListenAddrs() }

// MoveLeader moves a partition to the next broker.
func (e *Embedded) MoveLeader(_ context.Context, topic string, partition int32) (int, error) {
	to := (e.cluster.LeaderFor(topic, partition) + 1) % 3
	return int(to), e.cluster.MoveTopicPartition(topic, partition, to)
}

// Position is the start: the log of an embedded cluster is short.
func (e *Embedded) Position(context.Context) (Position, error) { return nil, nil }

// Commits reads kfake's log of groups, in which the coordinators write each commit. An entry is
// JSON after a length (4 bytes, of what follows the checksum), a checksum (4 bytes), and a version
// (2 bytes).
func (e *Embedded) Commits(_ context.Context, group string, _ Position, each func(string, time.Time, int32, int64, string)) error {
	log, err := os.ReadFile(filepath.Join(e.dir, "groups.log"))
	if err != nil {
		return fmt.Errorf("commits: %w", err)
	}
	for len(log) >= 10 {
		end := 8 + int(binary.LittleEndian.Uint32(log))
		if end > len(log) { // the last is being written
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
			return fmt.Errorf("entry of the groups' log: %w", err)
		}
		log = log[end:]
		if entry.Type == "commit" && entry.Group == group {
			each(entry.Topic, time.UnixMilli(entry.Time), entry.Part, entry.Offset, entry.Metadata)
		}
	}
	return nil
}
