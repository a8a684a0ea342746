package consumer_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The tests below show differences between kfake and Apache Kafka with as few requests as possible,
// and that repairGroup or onKafkaRequest compensates for them. If a test fails because kfake has
// been fixed, remove the corresponding compensation.

// rawMember is a member of the classic protocol that sends single requests.
type rawMember struct {
	w       *world
	id      string
	conn    net.Conn
	session time.Duration // session timeout; zero means 10 seconds
}

// send writes a request, and gives the broker time to read it before the next one. receive reads
// the response.
func (m *rawMember) send(r kmsg.Request) {
	if m.conn == nil {
		conn, err := m.w.net.DialContext(m.w.t.Context(), "tcp",
			m.w.cluster.ListenAddrs()[m.w.cluster.CoordinatorFor(group)])
		if err != nil {
			m.w.t.Fatal(err)
		}
		m.conn = conn
	}
	if _, err := m.conn.Write(kmsg.NewRequestFormatter().AppendRequest(nil, r, 1)); err != nil {
		m.w.t.Fatal(err)
	}
	time.Sleep(time.Millisecond)
}

// receive reads the next response.
func (m *rawMember) receive(r kmsg.Response) {
	size := make([]byte, 4)
	if _, err := io.ReadFull(m.conn, size); err != nil {
		m.w.t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint32(size))
	if _, err := io.ReadFull(m.conn, body); err != nil {
		m.w.t.Fatal(err)
	}
	if err := r.ReadFrom(body[4:]); err != nil {
		m.w.t.Fatal(err)
	}
}

func (m *rawMember) close() {
	m.conn.Close()
	m.conn = nil
}

// join sends a JoinGroup request. The response to the first request of a member only assigns its
// ID, so join sends the request again.
func (m *rawMember) join() *kmsg.JoinGroupRequest {
	r := kmsg.NewPtrJoinGroupRequest()
	r.SetVersion(5)
	r.Group, r.MemberID, r.ProtocolType = group, m.id, "consumer"
	r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = 10_000, 60_000
	if m.session != 0 {
		r.SessionTimeoutMillis = int32(m.session.Milliseconds())
	}
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name = "range"
	r.Protocols = append(r.Protocols, p)
	m.send(r)
	if m.id == "" {
		resp := r.ResponseKind().(*kmsg.JoinGroupResponse)
		m.receive(resp)
		m.id = resp.MemberID
		return m.join()
	}
	return r
}

// awaitJoin waits for the response to join, and returns the generation and the time waited.
func (m *rawMember) awaitJoin(r *kmsg.JoinGroupRequest) (generation int32, took time.Duration) {
	began := time.Now()
	resp := r.ResponseKind().(*kmsg.JoinGroupResponse)
	m.receive(resp)
	if resp.ErrorCode != 0 {
		m.w.t.Fatalf("join: error %d", resp.ErrorCode)
	}
	return resp.Generation, time.Since(began)
}

// sync sends a SyncGroup request. The leader passes the members of the group.
func (m *rawMember) sync(generation int32, assign ...string) *kmsg.SyncGroupRequest {
	r := kmsg.NewPtrSyncGroupRequest()
	r.SetVersion(3)
	r.Group, r.MemberID, r.Generation = group, m.id, generation
	for _, id := range assign {
		a := kmsg.NewSyncGroupRequestGroupAssignment()
		a.MemberID = id
		r.GroupAssignment = append(r.GroupAssignment, a)
	}
	m.send(r)
	return r
}

// heartbeat sends a heartbeat, and returns the error code of the response.
func (m *rawMember) heartbeat(generation int32) int16 {
	r := kmsg.NewPtrHeartbeatRequest()
	r.SetVersion(3)
	r.Group, r.MemberID, r.Generation = group, m.id, generation
	m.send(r)
	resp := r.ResponseKind().(*kmsg.HeartbeatResponse)
	m.receive(resp)
	return resp.ErrorCode
}

func inRawWorld(t *testing.T, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, rand.New(rand.NewPCG(1, 1)), 1)
		defer w.close()
		test(w)
	})
}

// makeGhost creates a group of two members, one of which lost its connection while it waited in a
// join.
func makeGhost(w *world) (alive *rawMember, generation int32) {
	a, b := &rawMember{w: w}, &rawMember{w: w}
	a.awaitJoin(a.join())
	b.join()
	b.close()
	generation, _ = a.awaitJoin(a.join())
	r := a.sync(generation, a.id, b.id)
	a.receive(r.ResponseKind())
	return a, generation
}

// kfake starts the session timer of a member only if it could pass on the response to the join. For
// a closed connection, chance decides whether it can. A member without a timer stays in the group
// indefinitely, and keeps its partitions.
func TestKfakeKeepsMembersThatLostTheirConnectionInAJoin(t *testing.T) {
	ghosts := map[bool]int{}
	for i := range 40 {
		inRawWorld(t, func(w *world) {
			repaired := i%2 == 0
			if repaired {
				stop := make(chan struct{})
				defer close(stop)
				go w.repairGroup(stop)
			}
			a, generation := makeGhost(w)
			defer a.close()
			var code int16
			for range 200 {
				time.Sleep(3 * time.Second)
				if code = a.heartbeat(generation); code != 0 {
					break // REBALANCE_IN_PROGRESS, because the other member was removed
				}
			}
			if code == 0 {
				ghosts[repaired]++
			}
		})
	}
	t.Logf("%d of 20 ghosts left after ten minutes without repair", ghosts[false]) // occasionally none, by chance
	if ghosts[true] > 0 {
		t.Errorf("%d ghosts left after ten minutes with repair, want 0", ghosts[true])
	}
}

// In kfake, the session timer keeps running while the member waits in a rebalance. When it fires,
// it removes the member without a response.
func TestKfakeDropsMembersThatWaitInAJoin(t *testing.T) {
	inRawWorld(t, func(w *world) {
		a, b := &rawMember{w: w}, &rawMember{w: w}
		a.awaitJoin(a.join())
		rb := b.join()
		generation, _ := a.awaitJoin(a.join())
		b.awaitJoin(rb)
		b.receive(b.sync(a.sync(generation, a.id, b.id).Generation).ResponseKind())
		a.receive((&kmsg.SyncGroupRequest{Version: 3}).ResponseKind())
		a.join() // b does not join, so the rebalance times out after a minute
		for range 25 {
			time.Sleep(3 * time.Second)
			b.heartbeat(generation)
		}
		_ = a.conn.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := a.conn.Read(make([]byte, 1)); err == nil {
			t.Error("got a response to the join: kfake may have been fixed")
		}
		a.close()
		b.close()
	})
}

// If kfake removes a member that waits in SyncGroup, it decrements the number of members that wait
// in JoinGroup.
func TestKfakeMiscountsJoinedMembers(t *testing.T) {
	inRawWorld(t, func(w *world) {
		a, b := &rawMember{w: w, session: 2 * time.Minute}, &rawMember{w: w}
		a.awaitJoin(a.join())
		rb := b.join()
		generation, _ := a.awaitJoin(a.join())
		b.awaitJoin(rb)
		b.sync(generation) // waits for the leader's assignment
		time.Sleep(time.Second)
		w.expel(kfake.GroupMember{MemberID: b.id})
		if _, took := a.awaitJoin(a.join()); took < 30*time.Second {
			t.Errorf("the only member waited just %v: kfake may have been fixed", took)
		}
		a.close()
		b.close()
	})
}

// TestKfakeStoresCommitsFromBeforeALateJoin shows that kfake stores a commit that a member sent
// before it was removed, if a join of the same member arrives in the meantime. Apache Kafka rejects
// commits for partitions that are not assigned to the member.
func TestKfakeStoresCommitsFromBeforeALateJoin(t *testing.T) {
	inRawWorld(t, func(w *world) {
		cl := w.client()
		defer cl.Close()
		heartbeat := func(member string, epoch int32) int32 {
			r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
			r.Group, r.MemberID, r.MemberEpoch = group, member, epoch
			if epoch == 0 {
				r.RebalanceTimeoutMillis, r.SubscribedTopicNames = 60_000, []string{topic}
				r.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
			}
			resp, err := r.RequestWith(context.Background(), cl)
			if err != nil || resp.ErrorCode != 0 {
				t.Fatalf("heartbeat of %s with epoch %d: %v, error %d", member, epoch, err, resp.ErrorCode)
			}
			return resp.MemberEpoch
		}
		old := heartbeat("a", 0)
		heartbeat("a", old)
		heartbeat("a", -1)
		heartbeat("b", 0)
		heartbeat("a", 0)
		commit := func() error {
			r := kmsg.NewPtrOffsetCommitRequest()
			r.Group, r.MemberID, r.Generation = group, "a", old
			rt := kmsg.NewOffsetCommitRequestTopic()
			rt.Topic, rt.TopicID = topic, w.cluster.TopicInfo(topic).TopicID
			rp := kmsg.NewOffsetCommitRequestTopicPartition()
			rp.Offset = 1
			rt.Partitions = append(rt.Partitions, rp)
			r.Topics = append(r.Topics, rt)
			resp, err := r.RequestWith(context.Background(), cl)
			if err != nil {
				t.Fatal(err)
			}
			return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
		}
		if err := commit(); !errors.Is(err, kerr.StaleMemberEpoch) {
			t.Errorf("with the compensation: %v", err)
		}
		w.seenMu.Lock()
		clear(w.removedAt)
		w.seenMu.Unlock()
		if err := commit(); err != nil {
			t.Errorf("kfake has been fixed: %v", err)
		}
	})
}
