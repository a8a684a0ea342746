package consumer

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

// This file implements the release of partitions. The steps are, in order:
//
//	                      on a revoke or a stop      at the end of the session
//	1. intake             stops, seals               stops
//	2. new requests       start for DrainTimeout/2   do not start
//	3. in-flight requests may take DrainTimeout      are canceled
//	4. last commit        within lastCommitTimeout   is not sent
//	5. window             is fenced                  is fenced before all other steps
//	6. memory             is released                is released
//	7. group membership   ends on a stop             ends
//
// On a revoke or a stop, in-flight requests may finish, because the next owner would resend
// canceled ones. Unsent batches are left for the next owner, which forms the same batches. The last
// commit has its own timeout in addition to DrainTimeout, because without this commit the next
// owner would resend delivered batches.

const (
	lastCommitTimeout = 5 * time.Second // for the last commit before partitions are released
	leaveTimeout      = 3 * time.Second // for the request to leave the group while Run is stopping
)

// drain delivers the partitions' sealed batches, commits, and releases the partitions. The error
// describes any undelivered batches and dead letters, or the failure of the last commit. If the
// session has ended, drain returns errEnded.
func (s *session) drain(partitions []*partition) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.DrainTimeout)
	defer cancel()
	startCtx, cancelStart := context.WithTimeout(s.ctx, s.cfg.DrainTimeout/2)
	defer cancelStart()
	for _, p := range partitions {
		p.stopIntake()
	}
	for _, p := range partitions {
		p.waitDelivered(startCtx)
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
		return fmt.Errorf("%d batches and %d dead letters not delivered within the drain timeout of %v",
			batches, letters, s.cfg.DrainTimeout)
	case err != nil:
		return fmt.Errorf("last commit: %w", err)
	default:
		return nil
	}
}

// waitDelivered waits until intake has stopped and the window is empty. It returns early if ctx is
// done, or if p is canceled after intake has stopped.
func (p *partition) waitDelivered(ctx context.Context) {
	select {
	case <-p.stopped:
	case <-ctx.Done():
		return
	}
	p.window.wait(ctx, func() bool { return len(p.window.batches) == 0 || p.ctx.Err() != nil })
}

// drop releases partitions without draining them. It fences their windows, cancels their requests,
// waits for their goroutines, and releases their memory. Dropping a partition twice is a no-op.
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
		if none { // nothing is left to commit
			s.health.forgetCommitFailures()
		}
	}
}

// stop drains all partitions before Run returns.
func (s *session) stop() error {
	partitions := s.all()
	s.log.Info("stopping; delivering sealed batches", zap.Int("partitions", len(partitions)))
	return s.drain(partitions)
}

// leave closes the client and leaves the group. It cancels the client first. Otherwise, Close would
// wait for a join in progress, and the client could rejoin in the meantime. A static member of the
// classic protocol stays in the group, so that a restart causes no rebalance. Such a member leaves
// only if the group is waiting for it to rejoin, or if it has reached the end in Config.Until.
//
// While Run is stopping, leave blocks for at most leaveTimeout. Otherwise, leave retries for at
// most Config.SessionTimeout or leaveTimeout, whichever is longer.
func (s *session) leave(ctx context.Context) {
	member, _ := s.client.GroupMetadata()
	s.cancelClient()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		s.client.CloseAllowingRebalance() // unlike Close, does not hang after a canceled poll
	}()
	defer func() { <-closed }()

	s.mu.Lock()
	stays := s.cfg.InstanceID != "" && !s.cfg.ConsumerProtocol && !s.owesJoin &&
		(s.ends == nil || !s.ends.reached.Load())
	s.mu.Unlock()
	if member == "" || stays {
		return
	}
	leaveCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(s.cfg.SessionTimeout, leaveTimeout))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(leaveTimeout, cancel) })()
	if err := leaveGroup(leaveCtx, s.admin, s.cfg, member); err != nil {
		s.log.Info("cannot leave the consumer group; membership lasts until the session times out", zap.Error(err))
	}
}

// leaveGroup asks the group coordinator to remove the member.
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
	request.MemberEpoch = -1 // KIP-848: the member leaves permanently
	if instance != nil {
		request.MemberEpoch = -2 // a static member leaves temporarily; requires the instance ID, which kgo does not send
	}
	_, err := request.RequestWith(ctx, client)
	return err
}
