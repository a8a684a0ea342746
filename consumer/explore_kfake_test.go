package consumer_test

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The tests below show what kfake does otherwise than Apache Kafka, in the fewest requests, and
// that repairGroup makes up for it. When one of them fails because kfake has been fixed, that part
// of repairGroup can go.

// rawMember is a classic member of the group that consists of nothing but requests.
type rawMember struct {
	w       *world
	id      string
	conn    net.Conn
	session time.Duration // zero: 10 seconds
}

// send writes a request, and lets the broker take it before another member's. Its response is read
// by receive.
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

// join sends a JoinGroup. The first one of a member is answered immediately, with its ID, and is
// sent again.
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

// joined waits for the response to join and returns how long that took.
func (m *rawMember) awaitJoin(r *kmsg.JoinGroupRequest) (generation int32, took time.Duration) {
	began := time.Now()
	resp := r.ResponseKind().(*kmsg.JoinGroupResponse)
	m.receive(resp)
	if resp.ErrorCode != 0 {
		m.w.t.Fatalf("join: error %d", resp.ErrorCode)
	}
	return resp.Generation, time.Since(began)
}

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

// ghost makes a group of two members, one of which broke its connection while it waited to join.
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

// kfake starts a member's session timer only if it could hand over the response to the join, and
// whether it can to a connection that is closed is decided by chance. Without a timer the member
// stays for good, with its partitions.
func TestKfakeKeepsMembersWhoseConnectionBrokeInAJoin(t *testing.T) {
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
			var told int16
			for range 200 {
				time.Sleep(3 * time.Second)
				if told = a.heartbeat(generation); told != 0 {
					break // REBALANCE_IN_PROGRESS, because a member is gone
				}
			}
			if told == 0 {
				ghosts[repaired]++
			}
		})
	}
	t.Logf("ten minutes later %d ghosts are left of 20", ghosts[false]) // none, now and then: chance decides
	if ghosts[true] > 0 {
		t.Errorf("%d ghosts are left where they are repaired", ghosts[true])
	}
}

// A session timer runs on while its member waits for a rebalance, and takes it out of the group
// without a response.
func TestKfakeDropsMembersThatWaitInAJoin(t *testing.T) {
	inRawWorld(t, func(w *world) {
		a, b := &rawMember{w: w}, &rawMember{w: w}
		a.awaitJoin(a.join())
		rb := b.join()
		generation, _ := a.awaitJoin(a.join())
		b.awaitJoin(rb)
		b.receive(b.sync(a.sync(generation, a.id, b.id).Generation).ResponseKind())
		a.receive((&kmsg.SyncGroupRequest{Version: 3}).ResponseKind())
		a.join() // and b does not: the rebalance ends after a minute
		for range 25 {
			time.Sleep(3 * time.Second)
			b.heartbeat(generation)
		}
		_ = a.conn.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := a.conn.Read(make([]byte, 1)); err == nil {
			t.Error("the join was answered")
		}
		a.close()
		b.close()
	})
}

// A member that is removed while it waits in SyncGroup is taken for one less that waits in
// JoinGroup.
func TestKfakeMiscountsWhoHasJoined(t *testing.T) {
	inRawWorld(t, func(w *world) {
		a, b := &rawMember{w: w, session: 2 * time.Minute}, &rawMember{w: w}
		a.awaitJoin(a.join())
		rb := b.join()
		generation, _ := a.awaitJoin(a.join())
		b.awaitJoin(rb)
		b.sync(generation) // waits for the leader's
		time.Sleep(time.Second)
		w.expel(kfake.GroupMember{MemberID: b.id})
		if _, took := a.awaitJoin(a.join()); took < 30*time.Second {
			t.Errorf("the only member waited %v", took)
		}
		a.close()
		b.close()
	})
}
