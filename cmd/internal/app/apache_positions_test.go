//go:build linux

package app_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segment-to-launchdarkly/forwarder/consumer/kafkatest"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// Where partitions start when the log is not what it was.

// recreate deletes the scene's topic and creates it again.
func (s *scene) recreate(partitions int32) {
	s.t.Helper()
	_, err := s.kafka.admin.DeleteTopic(s.ctx, s.topic)
	s.must(err)
	for err := errors.New("there"); err != nil && s.ctx.Err() == nil; { // the name is free only after a while
		err = kafkatest.CreateTopic(s.ctx, s.kafka.Brokers(), s.topic, partitions, nil)
	}
}

// countedOnce waits until the events with numbers from first to last-1 count, and fails if one counts twice.
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
			s.t.Fatalf("%d of events %d to %d do not count", missing(), first, last-1)
		case <-time.After(50 * time.Millisecond):
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := first; i < last; i++ {
		if n := s.counted[strconv.Itoa(i)]; n != 1 {
			s.t.Errorf("event %d counts %d times", i, n)
		}
	}
}

// Batches of the old topic are sealed, recorded and in flight when the topic is replaced.
func testRecreationUnderLoad(t *testing.T, kafka apache) {
	s := newScene(t, kafka, "recreated-under-load", 3, nil).set("S2LD_BATCH_MAX_EVENTS=50", "S2LD_DELIVERY_MAX_IN_FLIGHT=4")
	s.ld.Random(1, 1, ldtest.Fault{Kind: ldtest.Slow, Accepted: true, For: 300 * time.Millisecond})
	s.produce(2000)
	p := s.start()
	for s.ld.Report().Processed < 300 {
		time.Sleep(10 * time.Millisecond)
	}
	s.recreate(3)
	first := s.produced
	s.produce(2000) // below the old topic's end at first, and beyond it in the end
	s.ld.Random(1, 0)
	s.countedOnce(first, s.produced)
	if n := p.metric("topic_recreations_total"); n != 1 {
		t.Errorf("%v recreations counted", n)
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

// An operator sets the offsets beyond the end of the log; or it is the group of another cluster.
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
		t.Errorf("%v moves counted", n)
	}
	p.leave()
	s.committed()
}

// A follower that lags is elected, and the records that it lacks are gone, although they were delivered.
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
	s := newScene(t, kafka, "unclean-"+protocol, 1, map[string]string{"min.insync.replicas": "1", "unclean.leader.election.enable": "true"})
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	s.ctx = ctx
	s.set("S2LD_KAFKA_REBALANCE_PROTOCOL="+protocol, "S2LD_KAFKA_BROKERS="+kafka.Brokers()[0]+","+kafka.Brokers()[1]+","+kafka.Brokers()[2])
	// Two replicas: the third node keeps the controllers' quorum.
	var move kadm.AlterPartitionAssignmentsReq
	move.Assign(s.topic, 0, []int32{0, 1})
	moved, err := kafka.admin.AlterPartitionAssignments(ctx, move)
	s.must(errors.Join(err, moved.Error()))
	leader := s.awaitReplicas(func(p kmsg.MetadataResponseTopicPartition) bool { return len(p.Replicas) == 2 && len(p.ISR) == 2 })
	follower := 1 - leader
	s.produce(300)
	p := s.start()
	s.countedOnce(0, 300)

	s.must(kafka.Stop(follower))
	s.awaitReplicas(func(p kmsg.MetadataResponseTopicPartition) bool { return len(p.ISR) == 1 })
	s.produce(200) // only the leader has them
	s.countedOnce(300, 500)
	p.ready(func(string) bool { return p.metric("committed_offset") == 500 })
	s.must(kafka.Kill(leader))
	s.must(kafka.Start(follower))
	s.awaitReplicas(func(p kmsg.MetadataResponseTopicPartition) bool { return int(p.Leader) == follower })
	s.must(kafka.Start(leader))
	s.must(kafka.Ready(ctx))
	s.produce(100) // at the offsets of those that are gone
	s.countedOnce(500, 600)
	if n := p.metric("position_moves_total"); n == 0 {
		t.Error("no move counted")
	}
	p.leave()
	s.committed()
}

// awaitReplicas waits until the replicas of partition 0 are as they should be, and returns their leader.
func (s *scene) awaitReplicas(are func(kmsg.MetadataResponseTopicPartition) bool) int {
	s.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.kafka.Brokers()...))
	s.must(err)
	defer client.Close()
	for {
		request := kmsg.NewPtrMetadataRequest()
		request.Topics = []kmsg.MetadataRequestTopic{{Topic: &s.topic}}
		response, err := request.RequestWith(s.ctx, client)
		if err == nil && len(response.Topics[0].Partitions) > 0 && are(response.Topics[0].Partitions[0]) {
			return int(response.Topics[0].Partitions[0].Leader)
		}
		if s.ctx.Err() != nil {
			s.t.Fatalf("the replicas are not as they should be: %+v, %v", response, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
