package consumer

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

// The ways in which the ownership of a partition ends, and what happens in which order:
//
//	                              revoked, stopped       session ended
//	1. intake                     stops and seals        stops
//	2. new requests start for     DrainTimeout / 2       not at all
//	3. requests in flight         have DrainTimeout      are canceled
//	4. last commit                lastCommitTimeout      none
//	5. window                     is fenced              is fenced first of all
//	6. memory                     is released            is released
//	7. group                      is left if stopped     is left
//
// On a revoke or a stop, no request in flight is canceled while it may finish in time, because the
// next owner would send it again. What was not sent is left to the next owner, which forms the same
// batches. lastCommitTimeout comes on top of DrainTimeout: without the last commit, the next owner
// would send again what was delivered.

const (
	lastCommitTimeout = 5 * time.Second // of the commit before partitions are released
	leaveTimeout      = 3 * time.Second // of telling the group that the member leaves, while Run stops
)

// drain delivers what partitions have sealed, commits, and releases them. The error describes what is
// left to the next owner.
func (s *session) drain(partitions []*partition) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.DrainTimeout)
	defer cancel()
	startCtx, cancelStart := context.WithTimeout(s.ctx, s.cfg.DrainTimeout/2)
	defer cancelStart()
	for _, p := range partitions {
		p.stopIntake()
	}
	for _, p := range partitions {
		p.drained(startCtx)
	}
	for _, p := range partitions {
		p.stopSending()
	}
	for _, p := range partitions {
		p.window.wait(ctx, func() bool { return p.window.sends == 0 || p.ctx.Err() != nil })
	}
	for _, p := range partitions {
		p.cancel()
		<-p.stopped
	}
	commitCtx, cancelCommit := context.WithTimeout(s.ctx, lastCommitTimeout)
	defer cancelCommit()
	err := s.committer.commitLast(commitCtx, partitions)
	batches, letters := 0, 0
	for _, p := range partitions {
		status := p.window.status()
		batches, letters = batches+status.batches, letters+status.unwritten
	}
	s.drop(partitions)
	switch {
	case s.over():
		return errEnded
	case batches+letters > 0:
		return fmt.Errorf("%d batches and %d dead letters left after half of the drain timeout of %v", batches, letters, s.cfg.DrainTimeout)
	case err != nil:
		return fmt.Errorf("last commit: %w", err)
	default:
		return nil
	}
}

// drained waits until a partition whose intake was stopped has delivered everything.
func (p *partition) drained(ctx context.Context) {
	select {
	case <-p.stopped:
	case <-ctx.Done():
		return
	}
	p.window.wait(ctx, func() bool { return len(p.window.batches) == 0 || p.ctx.Err() != nil })
}

// drop releases partitions at once: it fences them, cancels what is in flight, waits until nothing of
// them runs, and gives back what they hold. Releasing a partition again does nothing.
func (s *session) drop(partitions []*partition) {
	for _, p := range partitions {
		p.window.fence()
		p.cancel()
	}
	for _, p := range partitions {
		<-p.stopped
		p.window.wait(context.Background(), func() bool { return p.window.sends == 0 })
		p.queue.close()
		p.window.release()
		p.releaseOnce.Do(p.releaseIntake)
		s.mu.Lock()
		if s.partitions[p.topicPartition] == p {
			delete(s.partitions, p.topicPartition)
		}
		none := len(s.partitions) == 0
		s.mu.Unlock()
		s.health.forget(pollSubject(p.topicPartition))
		if none { // nothing is left that a commit could fail for
			s.health.forgetCommit()
		}
	}
}

// stop drains all partitions, because Run is about to return.
func (s *session) stop() error {
	partitions := s.all()
	s.log.Info("stopping: delivering what is sealed", zap.Int("partitions", len(partitions)))
	return s.drain(partitions)
}

// leave closes the client and tells the group that the member has left. The client is cut off first:
// by itself it would wait for a join in progress, for as long as other members take to release
// partitions, and could join again meanwhile. A static member of the classic protocol stays in the
// group, so that a restart changes nothing, unless the group waits for it to join.
//
// While Run stops, it blocks for at most leaveTimeout. Otherwise it tries to tell the group for as long
// as the group would keep the member by itself.
func (s *session) leave(ctx context.Context) {
	member, _ := s.client.GroupMetadata()
	s.cut()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		s.client.CloseAllowingRebalance() // Close can hang behind a poll that was canceled
	}()
	defer func() { <-closed }()

	s.mu.Lock()
	stays := s.cfg.InstanceID != "" && !s.cfg.ConsumerProtocol && !s.owesJoin
	s.mu.Unlock()
	if member == "" || stays {
		return
	}
	leaveCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(s.cfg.SessionTimeout, leaveTimeout))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(leaveTimeout, cancel) })()
	if err := leaveGroup(leaveCtx, s.admin, s.cfg, member); err != nil {
		s.log.Info("could not tell the group that this member leaves; its session times out", zap.Error(err))
	}
}

// leaveGroup tells the group that a member leaves.
func leaveGroup(ctx context.Context, client *kgo.Client, cfg *Config, member string) error {
	var instance *string
	if cfg.InstanceID != "" {
		instance = &cfg.InstanceID
	}
	if !cfg.ConsumerProtocol {
		request := kmsg.NewPtrLeaveGroupRequest()
		request.Group, request.MemberID = cfg.Group, member
		request.Members = []kmsg.LeaveGroupRequestMember{{MemberID: member, InstanceID: instance}}
		_, err := request.RequestWith(ctx, client)
		return err
	}
	request := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	request.Group, request.MemberID, request.InstanceID = cfg.Group, member, instance
	request.MemberEpoch = -1 // KIP-848: the member leaves
	if instance != nil {
		request.MemberEpoch = -2 // and comes back; the broker wants the instance ID, which the client does not send
	}
	_, err := request.RequestWith(ctx, client)
	return err
}
