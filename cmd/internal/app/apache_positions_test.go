//go:build linux

package app_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// These tests check where partitions start after the log has changed.

// recreate deletes the topic of the scene and creates it again.
func (s *scene) recreate(partitions int32) {
	s.t.Helper()
	_, err := s.kafka.admin.DeleteTopic(s.ctx, s.topic)
	s.must(err)
	for err := errors.New("not created"); err != nil && s.ctx.Err() == nil; { // deletion takes a while
		err = kafkatest.CreateTopic(s.ctx, s.kafka.Brokers(), s.topic, partitions, nil)
	}
}

// countedOnce waits until events first to last-1 are counted and fails if one is counted twice.
func (s *scene) countedOnce(first, last int) {
	s.t.Helper()
	missing := func() (n int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for i := first; i < last; i++ {
			if s.counted[strconv.Itoa(i)] == 0 {
				n++
			}
		}
		return n
	}
	for missing() > 0 {
		select {
		case <-s.ctx.Done():
			s.t.Fatalf("%d of events %d to %d are not counted", missing(), first, last-1)
		case <-time.After(50 * time.Millisecond):
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := first; i < last; i++ {
		if n := s.counted[strconv.Itoa(i)]; n != 1 {
			s.t.Errorf("event %d is counted %d times", i, n)
		}
	}
}

// testRecreationUnderLoad recreates the topic while batches are sealed, recorded, and in flight.
func testRecreationUnderLoad(t *testing.T, kafka apache) {
	s := newScene(t, kafka, "recreated-under-load", 3, nil).
		set("S2LD_BATCH_MAX_EVENTS=50", "S2LD_DELIVERY_MAX_IN_FLIGHT=4")
	s.ld.Random(1, 1, ldtest.Fault{Kind: ldtest.Slow, Accepted: true, For: 300 * time.Millisecond})
	s.produce(2000)
	p := s.start()
	for s.ld.Report().Processed < 300 {
		time.Sleep(10 * time.Millisecond)
	}
	s.recreate(3)
	first := s.produced
	s.produce(2000) // at first below the end offset of the old topic, finally beyond it
	s.ld.Random(1, 0)
	s.countedOnce(first, s.produced)
	if n := p.metric("topic_recreations_total"); n != 1 {
		t.Errorf("%v recreations counted, want 1", n)
	}
	p.leave()
	s.committed()
}

func testRecreationWithoutAMember(t *testing.T, kafka apache) {
	s := newScene(t, kafka, "recreated-unwatched", 2, nil)
	s.produce(1000)
	p := s.start()
	s.delivered(1000)
	p.leave()
	s.recreate(2)
	first := s.produced
	s.produce(500)
	p = s.start()
	s.produce(800)
	s.countedOnce(first, s.produced)
	p.leave()
	s.committed()
}

// testOffsetsBeyondTheEnd commits offsets beyond the end offset, as an operator can do by mistake.
func testOffsetsBeyondTheEnd(t *testing.T, kafka apache) {
	s := newScene(t, kafka, "beyond-the-end", 1, nil)
	s.produce(500)
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: s.topic, Partition: 0, At: 100_000, LeaderEpoch: -1})
	s.must(kafka.admin.CommitAllOffsets(s.ctx, s.topic, offsets))
	p := s.start()
	s.produce(500)
	s.countedOnce(0, 1000)
	if n := p.metric("position_moves_total"); n != 1 {
		t.Errorf("%v position moves counted, want 1", n)
	}
	p.leave()
	s.committed()
}

// An unclean election of a lagging follower loses records that were already delivered.
func TestUncleanElectionOnApacheKafka(t *testing.T) {
	cluster := kafkatest.NewApache(t, kafkatest.ApacheConfig{Nodes: 3})
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.Brokers()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	kafka := apache{cluster, kadm.NewClient(client)}
	for _, protocol := range []string{"classic", "consumer"} {
		t.Run(protocol, func(t *testing.T) { testUncleanElection(t, kafka, protocol) })
	}
}

func testUncleanElection(t *testing.T, kafka apache, protocol string) {
	configs := map[string]string{"min.insync.replicas": "1", "unclean.leader.election.enable": "true"}
	s := newScene(t, kafka, "unclean-"+protocol, 1, configs)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	s.ctx = ctx
	s.set("S2LD_KAFKA_REBALANCE_PROTOCOL="+protocol, "S2LD_KAFKA_BROKERS="+strings.Join(kafka.Brokers(), ","))
	// The topic has two replicas. The third node keeps the controller quorum.
	var move kadm.AlterPartitionAssignmentsReq
	move.Assign(s.topic, 0, []int32{0, 1})
	moved, err := kafka.admin.AlterPartitionAssignments(ctx, move)
	s.must(errors.Join(err, moved.Error()))
	leader := s.awaitReplicas(func(p kmsg.MetadataResponseTopicPartition) bool {
		return len(p.Replicas) == 2 && len(p.ISR) == 2
	})
	follower := 1 - leader
	s.produce(300)
	p := s.start()
	s.countedOnce(0, 300)

	s.must(kafka.Stop(follower))
	s.awaitReplicas(func(p kmsg.MetadataResponseTopicPartition) bool { return len(p.ISR) == 1 })
	s.produce(200) // only the leader stores them
	s.countedOnce(300, 500)
	p.ready(func(string) bool { return p.metric("committed_offset") == 500 })
	s.must(kafka.Kill(leader))
	s.must(kafka.Start(follower))
	s.awaitReplicas(func(p kmsg.MetadataResponseTopicPartition) bool { return int(p.Leader) == follower })
	s.must(kafka.Start(leader))
	s.must(kafka.Ready(ctx))
	s.produce(100) // at the offsets of the lost records
	s.countedOnce(500, 600)
	if n := p.metric("position_moves_total"); n == 0 {
		t.Error("no position move counted")
	}
	p.leave()
	s.committed()
}

// awaitReplicas waits until partition 0 satisfies the condition and returns its leader.
func (s *scene) awaitReplicas(satisfies func(kmsg.MetadataResponseTopicPartition) bool) int {
	s.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.kafka.Brokers()...))
	s.must(err)
	defer client.Close()
	for {
		request := kmsg.NewPtrMetadataRequest()
		request.Topics = []kmsg.MetadataRequestTopic{{Topic: &s.topic}}
		response, err := request.RequestWith(s.ctx, client)
		if err == nil && len(response.Topics[0].Partitions) > 0 && satisfies(response.Topics[0].Partitions[0]) {
			return int(response.Topics[0].Partitions[0].Leader)
		}
		if s.ctx.Err() != nil {
			s.t.Fatalf("condition on the replicas not met: %+v, %v", response, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
