package consumer

import (
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

// health tracks the consumer's state apart from its partitions: group membership, the last poll and
// commit, and the problems that an operator should look at. It outlives sessions and is safe for
// concurrent use.
type health struct {
	log *zap.Logger

	mu           sync.Mutex // guards the fields below
	joined       bool
	leaving      bool // Run is stopping
	lastPoll     time.Time
	lastCommit   time.Time          // time of the last successful commit
	failingSince time.Time          // when commits began to fail; zero if no partition's commit is failing
	problems     map[string]problem // by subject
}

// problem is a condition that an operator should look at.
type problem struct {
	message string      // log message, constant for each kind of problem
	text    string      // text for operators; shown by /readyz and on the status page
	advice  string      // how to fix the problem; appended to the text by report, and logged; empty if unknown
	fields  []zap.Field // log fields
}

// failure returns a problem caused by err.
func failure(message string, err error, advice string) problem {
	fields := []zap.Field{zap.Error(err)}
	return problem{message: message, text: message + ": " + err.Error(), advice: advice, fields: fields}
}

func newHealth(log *zap.Logger) *health { return &health{log: log, problems: map[string]problem{}} }

// report records a subject's problem until it is resolved. It logs the problem if its text is new.
// However, it does not log a new cause with the same message and advice, because causes can
// alternate, for example between the addresses of unreachable brokers.
func (h *health) report(subject string, p problem) {
	h.mu.Lock()
	defer h.mu.Unlock()
	fields := append([]zap.Field{zap.String("subject", subject)}, p.fields...)
	if p.advice != "" {
		p.text = strings.TrimRight(p.text, ".") + ". " + p.advice
		fields = append(fields, zap.String("advice", p.advice))
	}
	old := h.problems[subject]
	h.problems[subject] = p
	if old.text != p.text && (p.advice == "" || p.advice != old.advice || p.message != old.message) {
		h.log.Error(p.message, fields...)
	}
}

// resolve removes a subject's problem, if any, and logs that it is resolved.
func (h *health) resolve(subject string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.problems[subject]; ok {
		delete(h.problems, subject)
		h.log.Info("problem resolved", zap.String("subject", subject))
	}
}

// forget removes a subject's problem without logging, because this member no longer owns the
// subject.
func (h *health) forget(subject string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.problems, subject)
}

// setJoined records whether the consumer is a member of the group.
func (h *health) setJoined(joined bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.joined = joined
}

// setLeaving records that Run is stopping.
func (h *health) setLeaving() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leaving = true
}

// recordPoll records that the poll loop is alive.
func (h *health) recordPoll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lastPoll = time.Now()
}

// recordCommit records a successful commit. none reports whether no partition's commit is failing.
func (h *health) recordCommit(none bool) {
	h.mu.Lock()
	h.lastCommit = time.Now()
	if none {
		h.failingSince = time.Time{}
	}
	h.mu.Unlock()
	if none {
		h.resolve(subjectCommit)
	}
}

// committedSince reports whether a commit has succeeded since t.
func (h *health) committedSince(t time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lastCommit.After(t)
}

// recordCommitFailure records a failed commit and returns how long commits have been failing.
func (h *health) recordCommitFailure() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failingSince.IsZero() {
		h.failingSince = time.Now()
	}
	return time.Since(h.failingSince)
}

// forgetCommitFailures forgets all failed commits, because nothing is left to commit.
func (h *health) forgetCommitFailures() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failingSince = time.Time{}
	delete(h.problems, subjectCommit)
}

// status returns a [Status] without partitions.
func (h *health) status() Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := Status{Joined: h.joined, Leaving: h.leaving, LastPoll: h.lastPoll, LastCommit: h.lastCommit}
	for _, p := range h.problems {
		s.Problems = append(s.Problems, p.text)
	}
	slices.Sort(s.Problems)
	return s
}

// These are problem subjects. Topics and partitions have subjects of their own; see topics.report,
// formatSubject, and pollSubject.
const (
	subjectBrokers     = "brokers"
	subjectGroup       = "group"
	subjectAssignment  = "assignment"
	subjectCommit      = "commit"
	subjectDeadLetters = "dead letters"
)

// These topic kinds appear in problem subjects and texts.
const (
	kindTopic           = "topic"
	kindDeadLetterTopic = "dead-letter topic"
)

// cannotJoin returns the problem to report if the member cannot join the group.
func cannotJoin(err error) problem {
	return failure("cannot join the consumer group", err, Advice(err))
}
