package consumer_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// onKafkaRequest runs before the brokers execute a request.
//
//nolint:revive // Control requires this order of results
func (w *world) onKafkaRequest(r kmsg.Request) (kmsg.Response, error, bool) {
	w.cluster.KeepControl()
	w.readCommits(true)
	var member string
	switch r := r.(type) {
	case *kmsg.OffsetCommitRequest:
		w.readMu.Lock()
		w.began, w.dirty = w.history.tick(), true
		w.readMu.Unlock()
		member = r.MemberID
		if w.precedesMembership(r) {
			return staleCommit(r), nil, true
		}
	case *kmsg.HeartbeatRequest:
		member = r.MemberID
	case *kmsg.SyncGroupRequest:
		member = r.MemberID
	case *kmsg.JoinGroupRequest:
		member = r.MemberID
	case *kmsg.ConsumerGroupHeartbeatRequest:
		member = r.MemberID
		w.noteEpoch(r.MemberID, r.MemberEpoch)
	}
	if member != "" {
		w.seenMu.Lock()
		w.seen[member] = time.Now()
		w.seenMu.Unlock()
	}
	return nil, nil, false
}

// noteEpoch records the epoch in a heartbeat. A join (epoch 0) that arrives late adds a member that
// was removed in the meantime.
func (w *world) noteEpoch(member string, epoch int32) {
	var added bool
	if epoch == 0 {
		info := w.cluster.GroupInfo(group)
		added = info == nil ||
			!slices.ContainsFunc(info.Members, func(m kfake.GroupMember) bool { return m.MemberID == member })
	}
	w.seenMu.Lock()
	defer w.seenMu.Unlock()
	if last := w.epochs[member]; added && last > 0 {
		w.removedAt[member] = last
	}
	w.epochs[member] = max(w.epochs[member], epoch)
}

// precedesMembership reports whether a member sent a commit before it was removed and added again.
// Apache Kafka rejects such a commit, because its epoch is older than the assignment of every
// partition of the member. kfake stores it for partitions that are not assigned to the member.
func (w *world) precedesMembership(r *kmsg.OffsetCommitRequest) bool {
	w.seenMu.Lock()
	defer w.seenMu.Unlock()
	epoch, ok := w.removedAt[r.MemberID]
	return ok && r.Generation >= 0 && r.Generation <= epoch
}

// staleCommit returns the response that rejects all partitions of a commit.
func staleCommit(r *kmsg.OffsetCommitRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.OffsetCommitResponse)
	for _, topic := range r.Topics {
		t := kmsg.NewOffsetCommitResponseTopic()
		t.Topic, t.TopicID = topic.Topic, topic.TopicID
		for _, partition := range topic.Partitions {
			p := kmsg.NewOffsetCommitResponseTopicPartition()
			p.Partition, p.ErrorCode = partition.Partition, kerr.StaleMemberEpoch.Code
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

// readCommits adds the stored commits to the history. It always runs before the next request is
// executed, so it misses no commit. executed must be set if all earlier requests have been
// executed.
func (w *world) readCommits(executed bool) {
	w.readMu.Lock()
	defer w.readMu.Unlock()
	if !w.dirty {
		return
	}
	w.dirty = !executed
	info := w.cluster.GroupInfo(group)
	if info == nil {
		return
	}
	for number, c := range info.Commits[topic] {
		cuts, id, err := parseMetadata(c.Offset, c.Metadata)
		if err != nil {
			w.reportBroken("metadata damaged", err.Error())
			continue
		}
		if id != ([16]byte{}) { // without an ID, the incarnation is unknown
			w.history.addCommit(place{id, number}, stored{from: w.began, offset: c.Offset, cuts: cuts})
		}
	}
}

// request sends a request to the coordinator of the group, bypassing all networks. It waits for the
// response for at most one second.
func (w *world) request(r kmsg.Request) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn, err := w.net.DialContext(ctx, "tcp", w.cluster.ListenAddrs()[w.cluster.CoordinatorFor(group)])
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write(kmsg.NewRequestFormatter().AppendRequest(nil, r, 1)); err != nil {
		return
	}
	size := make([]byte, 4)
	if _, err := io.ReadFull(conn, size); err == nil {
		_, _ = io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(size)))
	}
}

// expel removes a member from the group, like an administrator or a broker.
func (w *world) expel(m kfake.GroupMember) {
	if w.next {
		r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		r.SetVersion(1)
		r.Group, r.MemberID, r.MemberEpoch, r.InstanceID = group, m.MemberID, -1, m.InstanceID
		w.request(r)
		return
	}
	r := kmsg.NewPtrLeaveGroupRequest()
	r.SetVersion(5)
	r.Group = group
	lm := kmsg.NewLeaveGroupRequestMember()
	lm.MemberID, lm.InstanceID = m.MemberID, m.InstanceID
	r.Members = append(r.Members, lm)
	w.request(r)
}

// noteGroup adds the brokers' view of the group to the fault log, to distinguish broker bugs from
// bugs of the program.
func (w *world) noteGroup() {
	info := w.cluster.GroupInfo(group)
	if info == nil {
		return
	}
	w.note("group is %s in generation %d", info.State, info.Epoch)
	for _, m := range info.Members {
		w.seenMu.Lock()
		heard := time.Since(w.seen[m.MemberID])
		w.seenMu.Unlock()
		w.note("    %s %s owns %v, last request %v ago", m.ClientID, m.MemberID, m.Assignment, heard)
	}
	for _, m := range w.members {
		s := m.Status()
		w.note("    %s reports joined %v, problems %q", m.name, s.Joined, s.Problems)
		for _, p := range s.Partitions {
			w.note("        partition %d: %+v", p.Partition, p)
		}
	}
}

// repairGroup compensates for omissions of the embedded broker until stop is closed. Apache Kafka
// removes a member without heartbeats, and ends a rebalance after its timeout. kfake omits both in
// some cases (see explore_kfake_test.go). If a connection was lost before the response to the join,
// kfake may start no session timer for the member and keep assigning partitions to it. It miscounts
// joined members when it removes one that waits in SyncGroup. It also restarts the rebalance
// timeout on each join. In the consumer protocol, a static member that left temporarily (epoch -2)
// has no session timer and keeps its partitions, and a partition added at a bad moment stays
// unassigned until the next topic is created. repairGroup expels silent members, and all members if
// a rebalance takes longer than any client waits.
func (w *world) repairGroup(stop <-chan struct{}) {
	const silence = 80 * time.Second // JoinGroup may take up to 70 seconds
	met := map[string]time.Time{}    // when members without any request were first noticed
	preparing, whole, nudges := time.Now(), time.Now(), 0
	for {
		select {
		case <-stop:
			return
		case <-time.After(5 * time.Second):
		}
		info := w.cluster.GroupInfo(group)
		if info == nil {
			continue
		}
		if info.State != "PreparingRebalance" {
			preparing = time.Now()
		}
		assigned := 0
		for _, m := range info.Members {
			assigned += len(m.Assignment[topic])
		}
		if assigned == len(w.cluster.PartitionInfos(topic)) || len(info.Members) == 0 {
			whole = time.Now()
		}
		if w.next && time.Since(whole) > silence {
			nudges++
			w.note("repair: partitions reassigned")
			if err := w.cluster.CreateTopic(fmt.Sprint("nudge-", nudges), 1, nil); err != nil {
				w.t.Error(err)
			}
			whole = time.Now()
		}
		stuck := time.Since(preparing) > silence
		for _, m := range info.Members {
			w.seenMu.Lock()
			heard, ok := w.seen[m.MemberID]
			w.seenMu.Unlock()
			if w.next && m.InstanceID == nil {
				continue
			}
			if !ok {
				if heard = met[m.MemberID]; heard.IsZero() {
					heard = time.Now()
					met[m.MemberID] = heard
				}
			}
			if stuck || time.Since(heard) > silence {
				w.note("repair: %s expelled; rebalance stuck: %v", m.ClientID, stuck)
				w.expel(m)
			}
		}
	}
}
