//go:build unix

package kafkatest

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestMissingKafkaIsAnError(t *testing.T) {
	t.Setenv("KAFKA_LIBS", t.TempDir())
	_, err := StartApache(t.Context(), ApacheConfig{Dir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "make kafka") {
		t.Errorf("error %v does not mention make kafka", err)
	}
}

func TestReadmeStatesTheTestedVersions(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	oldest := regexp.MustCompile(`(?m)^oldest_kafka := ((\d+\.\d+)\.\d+)$`).FindSubmatch(makefile)
	if oldest == nil {
		t.Fatal("the Makefile names no oldest version")
	}
	for _, text := range []string{
		"The program requires Kafka " + string(oldest[2]) + " or later.",
		"The tests run on Kafka " + newestVersion + ", and the tests of permissions, transactions, recreated topics, " +
			"and crashes also run on Kafka " + string(oldest[1]) + ".",
	} {
		if !strings.Contains(strings.Join(strings.Fields(string(readme)), " "), text) {
			t.Errorf("README.md does not state: %s", text)
		}
	}
}

func TestApache(t *testing.T) {
	a := NewApache(t, ApacheConfig{})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	restart := func(t *testing.T, node int) {
		must(t, a.Start(node))
		must(t, a.Ready(ctx))
	}

	t.Run("admin", func(t *testing.T) { testAdmin(t, a.Brokers()) })

	t.Run("a killed leader loses no acknowledged records", func(t *testing.T) {
		const topic, records = "killed", 10_000
		must(t, CreateTopic(ctx, a.Brokers(), topic, 3, nil))
		victim, err := a.Leader(ctx, topic, 0)
		must(t, err)
		defer restart(t, victim)
		must(t, Produce(ctx, a.Brokers(), topic, 0, records, func(n int) []byte {
			switch n {
			case records / 3:
				must(t, a.Kill(victim))
			case records * 2 / 3:
				must(t, a.Start(victim))
			}
			return fmt.Appendf(nil, "value %d", n)
		}))
		must(t, a.Ready(ctx))
		if now, err := a.Leader(ctx, topic, 0); err != nil || now == victim {
			t.Errorf("leader after node %d was killed: %d (%v)", victim, now, err)
		}
		for range 2 { // one of the moves makes the victim the leader again
			_, err := a.MoveLeader(ctx, topic, 0)
			must(t, err)
		}
		all, err := ReadAll(ctx, a.Brokers(), topic)
		must(t, err)
		checkNumbers(t, all, records)
	})

	t.Run("only the leader of the given partition moves", func(t *testing.T) {
		const topic = "moved"
		must(t, CreateTopic(ctx, a.Brokers(), topic, 2, nil))
		before, err := a.Leader(ctx, topic, 0)
		must(t, err)
		other, err := a.Leader(ctx, topic, 1)
		must(t, err)
		to, err := a.MoveLeader(ctx, topic, 0)
		must(t, err)
		now, err := a.Leader(ctx, topic, 0)
		must(t, err)
		if to == before || now != to {
			t.Errorf("moved from node %d to node %d, but the leader is node %d", before, to, now)
		}
		if now, err := a.Leader(ctx, topic, 1); err != nil || now != other {
			t.Errorf("leader of the other partition moved from node %d to node %d (%v)", other, now, err)
		}
	})

	t.Run("a stopped coordinator is replaced and keeps the offsets", func(t *testing.T) {
		const group, topic = "stopped", "stopped"
		must(t, CreateTopic(ctx, a.Brokers(), topic, 1, nil))
		want := kadm.Offset{Topic: topic, At: 17, Metadata: "v1 +3"}
		must(t, a.adm.CommitAllOffsets(ctx, group, kadm.Offsets{topic: {0: want}}))
		before, err := a.Coordinator(ctx, group)
		must(t, err)
		must(t, a.Stop(before))
		defer restart(t, before)
		now := before
		must(t, a.wait(ctx, func() error {
			if now, err = a.Coordinator(ctx, group); now == before {
				err = fmt.Errorf("node %d is still the coordinator", before)
			}
			return err
		}))
		committed, err := Committed(ctx, a.Brokers(), group)
		must(t, err)
		if got, _ := committed.Lookup(topic, 0); got.At != want.At || got.Metadata != want.Metadata {
			t.Errorf("node %d returned %+v, want %+v", now, got, want)
		}
	})

	t.Run("a paused leader is replaced and rejoins", func(t *testing.T) {
		const topic = "paused"
		must(t, CreateTopic(ctx, a.Brokers(), topic, 1, nil))
		before, err := a.Leader(ctx, topic, 0)
		must(t, err)
		must(t, a.Pause(before))
		value := func(int) []byte { return nil }
		must(t, Produce(ctx, a.Brokers(), topic, 0, 10, value, // the default timeout is 20 seconds
			kgo.ProduceRequestTimeout(time.Second), kgo.RequestTimeoutOverhead(time.Second)))
		must(t, a.Continue(before))
		must(t, a.Ready(ctx))
		now, err := a.Leader(ctx, topic, 0)
		must(t, err)
		if now == before {
			t.Errorf("node %d is still the leader", before)
		}
	})
}
