package consumer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"go.uber.org/zap"

	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// The tests in this file end sessions and check that this costs no more than a rejoin.

// onBothProtocols runs a test once per group protocol, each in a new world.
func onBothProtocols(t *testing.T, partitions int32, test func(w *world, protocol func(*Config))) {
	onBothProtocolsOf(t, 1, partitions, test)
}

// onBothProtocolsOf is like onBothProtocols, with the given number of brokers.
func onBothProtocolsOf(t *testing.T, brokers int, partitions int32, test func(w *world, protocol func(*Config))) {
	for _, server := range []bool{false, true} {
		t.Run(map[bool]string{false: "classic", true: "consumer"}[server], func(t *testing.T) {
			inWorldOf(t, brokers, partitions,
				func(w *world) { test(w, func(c *Config) { c.ConsumerProtocol = server }) })
		})
	}
}

// endedSessions returns the number of a member's sessions that ended for one of the given causes.
func (m *member) endedSessions(causes ...string) (n float64) {
	for _, cause := range causes {
		n += testutil.ToFloat64(m.metrics.sessionsEnded.WithLabelValues(cause))
	}
	return n
}

// lateCommit delays the first commit that records cuts. It breaks the client's side of the
// connection, and delivers the bytes to the broker when release is closed, as a proxy or a kernel
// might.
type lateCommit struct {
	release, delivered chan struct{}

	mu    sync.Mutex // guards the fields below
	armed bool       // delay the next commit that records cuts
}

// dialer returns a dialer that passes connections through l.
func (l *lateCommit) dialer(
	dial func(context.Context, string, string) (net.Conn, error),
) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &lateConn{Conn: conn, late: l, dead: make(chan struct{})}, nil
	}
}

type lateConn struct {
	net.Conn
	late *lateCommit
	dead chan struct{} // closed when the client's side has failed
}

func (c *lateConn) Write(b []byte) (int, error) {
	c.late.mu.Lock()
	hit := c.late.armed && len(b) > 8 && binary.BigEndian.Uint16(b[4:6]) == keyOffsetCommit &&
		strings.Contains(string(b), " +")
	if hit {
		c.late.armed = false
	}
	c.late.mu.Unlock()
	if !hit {
		return c.Conn.Write(b)
	}
	close(c.dead)
	_ = c.SetReadDeadline(time.Now())
	held := append([]byte(nil), b...)
	go func() {
		<-c.late.release
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = c.Conn.Write(held)
		_, _ = c.Conn.Read(make([]byte, 1<<16)) // discards the broker's response, if any
		c.Conn.Close()
		close(c.late.delivered)
	}()
	return len(b), nil
}

func (c *lateConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	select {
	case <-c.dead:
		return 0, errors.New("connection reset by peer")
	default:
		return n, err
	}
}

func (c *lateConn) Close() error {
	select {
	case <-c.dead:
		return nil // the bytes are still in flight
	default:
		return c.Conn.Close()
	}
}

// A commit reaches the broker minutes after the client timed out. If the broker accepted it, the
// commit would undo the cuts of batches sent since, and the next owner would cut at different
// offsets.
func TestLateCommitUndoesNoCuts(t *testing.T) {
	onBothProtocols(t, 1, func(w *world, protocol func(*Config)) {
		w.ld.Down(ldtest.Fault{Kind: ldtest.Reset, Accepted: true}) // accepted, but no response
		late := &lateCommit{release: make(chan struct{}), delivered: make(chan struct{})}
		a := w.join(func(c *Config, _ *sink.Config) {
			protocol(c)
			c.Client = []kgo.Opt{kgo.SeedBrokers(w.brokers...), kgo.Dialer(late.dialer(w.net.DialContext))}
		})
		time.Sleep(5 * time.Second)
		late.mu.Lock()
		late.armed = true
		late.mu.Unlock()
		for _, n := range []int{70, 60, 90} { // three batches, sealed by age
			w.produce(n, nil)
			time.Sleep(20 * time.Second)
		}
		w.mu.Lock()
		if n := len(w.counted); n != 220 {
			w.t.Errorf("%d events counted before the late commit, want 220", n)
		}
		w.mu.Unlock()
		close(late.release)
		<-late.delivered
		time.Sleep(100 * time.Millisecond)
		// The broken heartbeat may be detected first.
		if a.endedSessions(endUnanswered, endHeartbeat, endLost) == 0 {
			w.t.Error("test has no effect: the session did not end")
		}
		a.kill()
		b := w.join(func(c *Config, _ *sink.Config) { protocol(c) })
		w.ld.Up()
		w.awaitDelivered(5 * time.Minute)
		b.finish(w.t)
		a.abort()
		a.end()
	})
}

// The broker returns an error for the offset of one partition.
func TestFailedOffsetFetchBlocksNoPartition(t *testing.T) {
	for _, e := range []*kerr.Error{kerr.TopicAuthorizationFailed, kerr.UnknownTopicOrPartition,
		kerr.UnknownServerError} {
		t.Run(e.Message, func(t *testing.T) {
			onBothProtocols(t, 2, func(w *world, protocol func(*Config)) {
				failed := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Topic: testTopic,
					Partitions: []int32{0}, Err: e, Count: 1})
				m := w.join(func(c *Config, _ *sink.Config) { protocol(c) })
				w.produce(100, nil)
				w.awaitDelivered(time.Minute)
				if failed.Hits() == 0 || m.endedSessions(endOffsets) != 1 {
					w.t.Errorf("%d fetches failed, %v sessions ended", failed.Hits(), m.endedSessions(endOffsets))
				}
				if p := m.Status().Problems; len(p) > 0 {
					w.t.Errorf("problems: %v", p)
				}
				m.leave(w.t)
			})
		})
	}
}

// The brokers never respond, or refuse connections, while a member shuts down. CI sets
// SHUTDOWN_RUNS to 20.
func TestShutdownIsBoundedWhenBrokersNeverRespond(t *testing.T) {
	const spare = 5 * time.Second // for TLS and SASL, which this test lacks
	runs := int32(4)
	_, _ = fmt.Sscan(os.Getenv("SHUTDOWN_RUNS"), &runs) // no change if it is not set
	brokers := map[string]func(w *world, m *member, run int32){
		"no response to commits": func(w *world, _ *member, _ int32) {
			w.mute(int16(kmsg.OffsetCommit), 0, 1, 2)
		},
		"no response at all":              func(w *world, _ *member, _ int32) { w.mute(-1, 0, 1, 2) },
		"two of three brokers are silent": func(w *world, _ *member, run int32) { w.mute(-1, run%3, (run+1)%3) },
		"connections are refused":         func(_ *world, m *member, _ int32) { m.killKafka() },
	}
	for name, fail := range brokers {
		for run := range runs {
			t.Run(fmt.Sprint(name, "/", run), func(t *testing.T) {
				onBothProtocolsOf(t, 3, 3, func(w *world, protocol func(*Config)) {
					delayRequests(w, 300*time.Millisecond)
					m := w.join(func(c *Config, _ *sink.Config) { protocol(c); c.SessionTimeout = 45 * time.Second })
					w.produce(3000, mixed)
					time.Sleep(2 * time.Second)
					fail(w, m, run)
					time.Sleep(time.Duration(run) * 12 * time.Second / time.Duration(runs))
					stopping := time.Now()
					m.stop()
					err := <-m.done
					if took := time.Since(stopping); took > m.cfg.DrainTimeout+ShutdownTimeout-spare {
						w.t.Errorf("shutdown took %v (%v)", took, err)
					}
					m.end()
				})
			})
		}
	}
}

// mute makes brokers ignore all requests with the given key, or all requests if key is -1.
func (w *world) mute(key int16, brokers ...int32) {
	w.cluster.ControlKey(key, func(kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		return nil, nil, slices.Contains(brokers, w.cluster.CurrentNode())
	})
}

// commitTimeout includes the time to connect.
func TestCommitTimeoutIncludesASlowConnection(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		broken, slow := make(chan struct{}), make(chan struct{})
		m := w.join(func(c *Config, _ *sink.Config) {
			c.SessionTimeout = 45 * time.Second
			dial := cuttable(broken, w.net.DialContext)
			c.Client = append(c.Client, kgo.Dialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
				select {
				case <-slow:
					select {
					case <-time.After(7 * time.Second):
						return w.net.DialContext(ctx, network, addr)
					case <-ctx.Done():
						return nil, ctx.Err()
					}
				default:
					return dial(ctx, network, addr)
				}
			}))
		})
		w.produce(100, nil)
		w.awaitDelivered(time.Minute)
		w.mute(int16(kmsg.OffsetCommit), 0)
		close(slow)
		close(broken)
		time.Sleep(50 * time.Millisecond)
		w.produce(1, nil)
		await := func(done func() bool) {
			for began := time.Now(); !done() && time.Since(began) < time.Minute; {
				time.Sleep(100 * time.Millisecond)
			}
		}
		await(func() bool { return m.partition(0).status().InFlight > 0 }) // takes one or two connections
		sealed := time.Now()
		await(func() bool { return m.endedSessions(endUnanswered, endHeartbeat) > 0 })
		if took := time.Since(sealed); took > commitTimeout+time.Second {
			w.t.Errorf("the commit timed out after %v", took)
		}
		m.abort()
		m.end()
	})
}

// The next commit finds a moved coordinator, in the same session.
func TestCommitsFollowTheCoordinator(t *testing.T) {
	onBothProtocolsOf(t, 3, 3, func(w *world, protocol func(*Config)) {
		m := w.join(func(c *Config, _ *sink.Config) { protocol(c) })
		w.produce(100, nil)
		w.awaitDelivered(time.Minute)
		before := m.endedSessions(endUnanswered, endHeartbeat, endLost)
		was := w.cluster.CoordinatorFor(testGroup)
		for w.cluster.CoordinatorFor(testGroup) == was {
			w.cluster.RehashCoordinators()
		}
		w.produce(100, nil)
		moved := time.Now()
		w.awaitDelivered(time.Minute)
		if took := time.Since(moved); took > 10*time.Second {
			w.t.Errorf("committed after %v, want at most 10s", took)
		}
		if n := m.endedSessions(endUnanswered, endHeartbeat, endLost); n != before {
			w.t.Errorf("%v sessions ended", n-before)
		}
		m.leave(w.t)
	})
}

// A revoke must not wait indefinitely for a commit that gets no response.
func TestRevokeIsBoundedWhileACommitHangs(t *testing.T) {
	onBothProtocols(t, 4, func(w *world, protocol func(*Config)) {
		delayRequests(w, 300*time.Millisecond)
		a := w.join(func(c *Config, _ *sink.Config) { protocol(c) })
		w.produce(1000, nil)
		time.Sleep(3 * time.Second)
		muted := 0
		w.cluster.ControlKey(int16(kmsg.OffsetCommit), func(kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			muted++
			return nil, nil, muted == 1
		})
		w.produce(1000, nil)
		time.Sleep(time.Second)
		b := w.join(func(c *Config, _ *sink.Config) { protocol(c) })
		joined := time.Now()
		for len(b.Status().Partitions) == 0 && time.Since(joined) < 5*time.Minute {
			time.Sleep(time.Second)
		}
		if took := time.Since(joined); took > 30*time.Second {
			w.t.Errorf("second member acquired its partitions after %v, want at most 30s", took)
		}
		w.awaitDelivered(5 * time.Minute)
		time.Sleep(commitTimeout) // the hung commit must not be the last one of the first member
		a.leave(w.t)
		b.leave(w.t)
	})
}

// A static member that restarts cleanly continues immediately, because the group keeps its
// membership.
func TestStaticMemberRestartsWithoutDelay(t *testing.T) {
	onBothProtocols(t, 3, func(w *world, protocol func(*Config)) {
		static := func(c *Config, _ *sink.Config) { protocol(c); c.InstanceID = "one" }
		// Kafka rejects a static member that leaves without its instance ID. The embedded broker
		// does not.
		w.cluster.ControlKey(int16(kmsg.ConsumerGroupHeartbeat), func(r kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			if h := r.(*kmsg.ConsumerGroupHeartbeatRequest); h.MemberEpoch == -2 &&
				(h.InstanceID == nil || *h.InstanceID != "one") {
				response := h.ResponseKind().(*kmsg.ConsumerGroupHeartbeatResponse)
				response.ErrorCode = kerr.InvalidRequest.Code
				return response, nil, true
			}
			return nil, nil, false
		})
		a := w.join(static)
		w.produce(500, mixed)
		w.awaitDelivered(time.Minute)
		a.leave(w.t)
		w.produce(500, nil)
		restarted := time.Now()
		b := w.join(static)
		w.awaitDelivered(time.Minute)
		if took := time.Since(restarted); took > 6*time.Second {
			w.t.Errorf("delivery after the restart took %v, want at most 6s", took)
		}
		b.leave(w.t)
		w.checkSentOnce()
	})
}

// If two processes have the same instance ID, the group accepts one of them at a time, and no event
// counts twice.
func TestTwoMembersWithOneInstanceIDLoseAndDuplicateNothing(t *testing.T) {
	onBothProtocols(t, 3, func(w *world, protocol func(*Config)) {
		static := func(c *Config, _ *sink.Config) { protocol(c); c.InstanceID = "one" }
		a := w.join(static)
		w.produce(500, mixed)
		time.Sleep(10 * time.Second)
		b := w.join(static)
		reported := false
		for range 100 {
			w.produce(20, mixed)
			time.Sleep(time.Second)
			problems := strings.Join(append(a.Status().Problems, b.Status().Problems...), "\n")
			reported = reported || strings.Contains(problems, "Another member uses the same kafka.instance_id")
		}
		if !reported {
			w.t.Error("no problem was reported")
		}
		a.abort()
		a.end()
		w.awaitDelivered(5 * time.Minute)
		b.abort() // its last session may have ended only now
		b.end()
	})
}

func TestConsumerProtocolNeedsBrokersThatSupportIt(t *testing.T) {
	t.Run("older broker", func(t *testing.T) {
		inWorld(t, 1, func(w *world) {
			m := w.join(func(c *Config, _ *sink.Config) {
				c.ConsumerProtocol = true
				w.cluster.ControlKey(int16(kmsg.ApiVersions), func(r kmsg.Request) (kmsg.Response, error, bool) {
					w.cluster.KeepControl()
					response := r.ResponseKind().(*kmsg.ApiVersionsResponse)
					kversion.V3_9_0().EachMaxKeyVersion(func(k, v int16) {
						response.ApiKeys = append(response.ApiKeys,
							kmsg.ApiVersionsResponseApiKey{ApiKey: k, MaxVersion: v})
					})
					return response, nil, true
				})
			})
			if err := <-m.done; !errors.Is(err, errNoServerSideGroups) {
				t.Errorf("Run returned %v", err)
			}
			m.end()
		})
	})
	t.Run("protocol disabled", func(t *testing.T) {
		inWorld(t, 1, func(w *world) {
			w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ConsumerGroupHeartbeat}, Err: kerr.UnsupportedVersion,
				TopLevel: true, Count: -1})
			m := w.join(func(c *Config, _ *sink.Config) { c.ConsumerProtocol = true })
			if err := <-m.done; !errors.Is(err, errNoServerSideGroups) {
				t.Errorf("Run returned %v", err)
			}
			m.end()
		})
	})
}

func TestNoPartitionStartsAfterTheSessionEnded(t *testing.T) {
	s := idleSession(t)
	s.end(endLost, errRemoved)
	started, err := s.startPartitions([]start{{topicPartition: topicPartition{testTopic, 0}}})
	if !errors.Is(err, errEnded) || len(started) > 0 || len(s.all()) > 0 {
		t.Errorf("%d partitions started, %v", len(started), err)
	}
}

func TestErrorOfAnUnownedPartitionIsNoProblem(t *testing.T) {
	s := idleSession(t)
	s.poller.onPollError(topicPartition{testTopic, 3}, kerr.UnknownServerError)
	if p := s.health.status().Problems; len(p) > 0 {
		t.Errorf("problems: %v", p)
	}
}

func TestBatchOverTheFetchBudgetIsNoProblem(t *testing.T) {
	s := idleSession(t)
	in := s.newPartition(start{topicPartition: topicPartition{testTopic, 3}, committed: true}, "member")
	s.partitions[in.topicPartition] = in.partition
	for err, problems := range map[error]int{kgo.ErrMaxDecompress: 1, errFetchBudget: 0} {
		s.health = newHealth(zap.NewNop())
		s.poller.onPollError(in.topicPartition, fmt.Errorf("unable to decompress batch: %w", err))
		if got := s.health.status().Problems; len(got) != problems {
			t.Errorf("%v: problems: %v", err, got)
		}
	}
}

// A broker that has just started knows no topics yet.
func TestTopicUnknownToOneBrokerDoesNotCountAsDeleted(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		m := w.join(nil)
		w.produce(100, nil)
		w.awaitDelivered(time.Minute)
		for range 10 {
			once := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: testTopic,
				Err: kerr.UnknownTopicOrPartition, Count: 1})
			time.Sleep(watchInterval)
			once.Remove()
			time.Sleep(watchInterval)
		}
		if n := m.endedSessions(endTopics); n > 0 {
			t.Errorf("%v sessions ended", n)
		}
		m.leave(t)
	})
}

// A member whose join is rejected was not in the group. It has lost no partitions, so its session
// continues.
func TestRejectedJoinEndsNoSession(t *testing.T) {
	onBothProtocols(t, 2, func(w *world, protocol func(*Config)) {
		rejected := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup, kmsg.ConsumerGroupHeartbeat},
			Err: kerr.GroupAuthorizationFailed, TopLevel: true, Count: -1})
		m := w.join(func(c *Config, _ *sink.Config) { protocol(c) })
		time.Sleep(2 * time.Second)
		if p := strings.Join(m.Status().Problems, "\n"); !strings.Contains(p, "Grant READ on the group") {
			w.t.Errorf("problems: %q", p)
		}
		rejected.Remove()
		w.produce(100, nil)
		w.awaitDelivered(time.Minute)
		if rejected.Hits() < 3 || m.endedSessions(endLost) > 0 ||
			testutil.ToFloat64(m.metrics.rebalances.WithLabelValues(rebalanceLost)) > 0 {
			w.t.Errorf("%d joins rejected, %v sessions lost", rejected.Hits(), m.endedSessions(endLost))
		}
		if p := m.Status().Problems; len(p) > 0 {
			w.t.Errorf("problems: %v", p)
		}
		m.leave(w.t)
	})
}

// A heartbeat without the topic's ID makes the group reassign partitions that are still drained.
func TestPartitionsWithoutTopicIDAreFencedBeforeTheyAreReassigned(t *testing.T) {
	inWorld(t, 4, func(w *world) {
		w.produce(400, track)
		w.ld.Down(ldtest.Fault{Kind: ldtest.Hang})
		m := w.join(func(c *Config, _ *sink.Config) { c.ConsumerProtocol, c.DrainTimeout = true, 20*time.Second })
		time.Sleep(10*time.Second + 500*time.Millisecond)
		broken := w.cluster.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.Metadata}, Err: kerr.TopicAuthorizationFailed, Topic: testTopic, Count: -1,
		})
		m.group().ForceMetadataRefresh()
		time.Sleep(50 * time.Millisecond)
		other := newHeartbeater(w)
		defer other.client.Close()
		for range 10 {
			for number := range other.heartbeat() {
				for _, p := range m.Status().Partitions {
					if p.Partition == number {
						t.Errorf("partition %d is assigned while another member still drains it", number)
					}
				}
			}
			time.Sleep(500 * time.Millisecond)
		}
		if len(other.assigned) == 0 {
			t.Error("no partition was reassigned")
		}
		if n := m.endedSessions(endMetadata); n != 1 {
			t.Errorf("%v sessions ended because of an unknown topic ID, want 1", n)
		}
		broken.Remove()
		other.leave()
		w.ld.Up()
		w.awaitDelivered(2 * time.Minute)
		m.leave(t)
		w.check()
	})
}

// heartbeater is a member of the consumer protocol that only sends heartbeats.
type heartbeater struct {
	w        *world
	client   *kgo.Client
	epoch    int32
	assigned map[int32]bool
}

func newHeartbeater(w *world) *heartbeater {
	client, err := kgo.NewClient(w.kafka()...)
	if err != nil {
		w.t.Fatal(err)
	}
	return &heartbeater{w: w, client: client}
}

// heartbeat sends a heartbeat that accepts the last assignment, and returns the current assignment.
func (h *heartbeater) heartbeat() map[int32]bool {
	r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	r.Group, r.MemberID, r.MemberEpoch = testGroup, "heartbeater", h.epoch
	if h.epoch == 0 {
		r.RebalanceTimeoutMillis, r.SubscribedTopicNames = 60_000, []string{testTopic}
		r.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	response, err := r.RequestWith(h.w.t.Context(), h.client)
	if err == nil {
		err = kerr.ErrorForCode(response.ErrorCode)
	}
	if err != nil {
		h.w.t.Fatal(err)
	}
	h.epoch = response.MemberEpoch
	if response.Assignment != nil {
		h.assigned = map[int32]bool{}
		for _, topic := range response.Assignment.Topics {
			for _, number := range topic.Partitions {
				h.assigned[number] = true
			}
		}
	}
	return h.assigned
}

func (h *heartbeater) leave() {
	h.epoch = -1
	h.heartbeat()
}

// A heartbeat without a response can arrive late and release partitions that are still drained.
func TestUnansweredHeartbeatEndsTheSession(t *testing.T) {
	inWorld(t, 4, func(w *world) {
		m := w.join(func(c *Config, _ *sink.Config) { c.ConsumerProtocol = true })
		w.produce(100, nil)
		w.awaitDelivered(time.Minute)
		var muted atomic.Bool
		w.cluster.ControlKey(keyConsumerGroupHeartbeat, func(kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			return nil, nil, muted.CompareAndSwap(true, false)
		})
		time.Sleep(10 * time.Second)
		if n := m.endedSessions(endHeartbeat); n != 0 {
			t.Errorf("%v sessions ended although every heartbeat was answered", n)
		}
		muted.Store(true)
		before, _ := m.group().GroupMetadata()
		time.Sleep(time.Minute)
		if n := m.endedSessions(endHeartbeat); n != 1 {
			t.Errorf("%v sessions ended by an unanswered heartbeat, want 1", n)
		}
		if after, _ := m.group().GroupMetadata(); after == before {
			t.Error("the member ID did not change")
		}
		w.produce(100, nil)
		w.awaitDelivered(time.Minute)
		m.leave(t)
		w.check()
	})
}
