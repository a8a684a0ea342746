package consumer

import (
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// health is what the consumer knows of itself apart from its partitions: whether it is a member of
// the group, when it last polled and committed, and the problems that an operator should look at. It
// outlives sessions and is safe for concurrent use.
type health struct {
	log *zap.Logger

	mu           sync.Mutex // guards the fields below
	joined       bool
	leaving      bool
	lastPoll     time.Time
	lastCommit   time.Time         // of the last successful commit
	failingSince time.Time         // time of the first failed commit since lastCommit; zero if there is none
	problems     map[string]string // by subject
}

func newHealth(log *zap.Logger) *health { return &health{log: log, problems: map[string]string{}} }

// report notes a problem until it is resolved, and logs it if it is new.
func (h *health) report(subject, problem string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.problems[subject] != problem {
		h.problems[subject] = problem
		h.log.Error("problem", zap.String("subject", subject), zap.String("problem", problem))
	}
}

// resolve ends a problem.
func (h *health) resolve(subject string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if problem, ok := h.problems[subject]; ok {
		delete(h.problems, subject)
		h.log.Info("problem resolved", zap.String("subject", subject), zap.String("problem", problem))
	}
}

// forget drops a problem whose subject is no longer this member's.
func (h *health) forget(subject string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.problems, subject)
}

// setJoined notes whether the consumer is a member of the group.
func (h *health) setJoined(joined bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.joined = joined
}

// setLeaving notes that Run is about to return.
func (h *health) setLeaving() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leaving = true
}

// polled notes that the poll loop is alive.
func (h *health) polled() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lastPoll = time.Now()
}

// committed notes a successful commit.
func (h *health) committed() {
	h.mu.Lock()
	h.lastCommit, h.failingSince = time.Now(), time.Time{}
	h.mu.Unlock()
	h.resolve(subjectCommit)
}

// committedSince reports whether a commit has succeeded since the given time.
func (h *health) committedSince(t time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lastCommit.After(t)
}

// commitFailed notes a failed commit and returns for how long commits have been failing.
func (h *health) commitFailed() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failingSince.IsZero() {
		h.failingSince = time.Now()
	}
	return time.Since(h.failingSince)
}

// forgetCommit drops what is known of failing commits, because there is nothing to commit any more.
func (h *health) forgetCommit() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failingSince = time.Time{}
	delete(h.problems, subjectCommit)
}

// status returns the part of a [Status] that health knows.
func (h *health) status() Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	return Status{
		Joined: h.joined, Leaving: h.leaving, LastPoll: h.lastPoll, LastCommit: h.lastCommit,
		Problems: slices.Sorted(maps.Values(h.problems)),
	}
}

// Subjects of problems. Those of topics and partitions are made by functions.
const (
	subjectBrokers     = "brokers"
	subjectGroup       = "group"
	subjectAssignment  = "assignment"
	subjectCommit      = "commit"
	subjectDeadLetters = "dead letters"
)
