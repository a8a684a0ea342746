package consumer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// What ends a session, and that it costs a rejoin and nothing else.

// onBothProtocols runs a test in a world of its own for each group protocol.
func onBothProtocols(t *testing.T, partitions int32, test func(w *world, protocol func(*Config))) {
	onBothProtocolsOf(t, 1, partitions, test)
}

func onBothProtocolsOf(t *testing.T, brokers int, partitions int32, test func(w *world, protocol func(*Config))) {
	for _, server := range []bool{false, true} {
		t.Run(map[bool]string{false: "classic", true: "consumer"}[server], func(t *testing.T) {
			inWorldOf(t, brokers, partitions, func(w *world) { test(w, func(c *Config) { c.ConsumerProtocol = server }) })
		})
	}
}

// ended returns how many of a member's sessions have ended for a cause.
func (m *member) ended(cause string) float64 {
	return testutil.ToFloat64(m.metrics.sessionsEnded.WithLabelValues(cause))
}

// lateCommit holds the first commit that records cuts, has the client's side of the connection fail, and
// delivers the bytes to the broker when it is released, as a proxy or a kernel would.
type lateCommit struct {
	release, delivered chan struct{}

	mu    sync.Mutex
	armed bool
}

func (l *lateCommit) dialer(dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
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
	dead chan struct{} // closed: the client's side has failed
}

func (c *lateConn) Write(b []byte) (int, error) {
	c.late.mu.Lock()
	hit := c.late.armed && len(b) > 8 && binary.BigEndian.Uint16(b[4:6]) == keyOffsetCommit && strings.Contains(string(b), " +")
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
		_ = c.SetReadDeadline(time.Time{})
		_, _ = c.Conn.Write(held)
		_, _ = c.Conn.Read(make([]byte, 1<<16)) // the broker's response, which nobody waits for
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
		return nil // the bytes are still on their way
	default:
		return c.Conn.Close()
	}
}

// A commit that the client has given up on is applied by the broker minutes later. If it were accepted,
// it would take back the cuts of batches that were sent since, and the next owner would cut elsewhere.
func TestCommitThatArrivesLateUndoesNoCuts(t *testing.T) {
	onBothProtocols(t, 1, func(w *world, protocol func(*Config)) {
		w.ld.Down(ldtest.Fault{Kind: ldtest.Reset, Accepted: true}) // accepted, and never answered
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
			w.t.Errorf("%d events were sent before the commit arrives, want 220", n)
		}
		w.mu.Unlock()
		close(late.release)
		<-late.delivered
		time.Sleep(100 * time.Millisecond)
		if a.ended(endUnanswered)+a.ended(endLost) == 0 { // a heartbeat that broke with the connection may be first
			w.t.Error("the session goes on: the test shows nothing")
		}
		a.kill()
		b := w.join(func(c *Config, _ *sink.Config) { protocol(c) })
		w.ld.Up()
		w.settled(5 * time.Minute)
		b.finish(w.t)
		a.abort()
		a.end()
	})
}

// The broker answers for one partition that it cannot say where the group is.
func TestFailedOffsetFetchStallsNoPartition(t *testing.T) {
	for _, e := range []*kerr.Error{kerr.TopicAuthorizationFailed, kerr.UnknownTopicOrPartition, kerr.UnknownServerError} {
		t.Run(e.Message, func(t *testing.T) {
			onBothProtocols(t, 2, func(w *world, protocol func(*Config)) {
				failed := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Topic: testTopic, Partitions: []int32{0}, Err: e, Count: 1})
				m := w.join(func(c *Config, _ *sink.Config) { protocol(c) })
				w.produce(100, nil)
				w.settled(time.Minute)
				if failed.Hits() == 0 || m.ended(endOffsets) != 1 {
					w.t.Errorf("%d fetches failed, %v sessions ended", failed.Hits(), m.ended(endOffsets))
				}
				if p := m.Status().Problems; len(p) > 0 {
					w.t.Errorf("problems: %v", p)
				}
				m.leave(w.t)
			})
		})
	}
}

// The brokers accept connections and never respond, or are gone, while a member is told to stop.
func TestStoppingTakesABoundedTimeWhateverTheBrokersDo(t *testing.T) {
	brokers := map[string]func(w *world, m *member, run int32){
		"commits are not answered":        func(w *world, _ *member, _ int32) { w.mute(int16(kmsg.OffsetCommit), 0, 1, 2) },
		"nothing is answered":             func(w *world, _ *member, _ int32) { w.mute(-1, 0, 1, 2) },
		"two of three brokers are silent": func(w *world, _ *member, run int32) { w.mute(-1, run%3, (run+1)%3) },
		"connections are refused":         func(_ *world, m *member, _ int32) { m.killKafka() },
	}
	for name, fail := range brokers {
		for run := range int32(20) {
			t.Run(fmt.Sprint(name, "/", run), func(t *testing.T) {
				onBothProtocolsOf(t, 3, 3, func(w *world, protocol func(*Config)) {
					slow(w, 300*time.Millisecond)
					m := w.join(func(c *Config, _ *sink.Config) { protocol(c); c.SessionTimeout = 45 * time.Second })
					w.produce(3000, mixed)
					time.Sleep(2 * time.Second)
					fail(w, m, run)
					time.Sleep(time.Duration(run) * 600 * time.Millisecond)
					told := time.Now()
					m.stop()
					err := <-m.done
					if took := time.Since(told); took > m.cfg.DrainTimeout+15*time.Second {
						w.t.Errorf("stopping took %v: %v", took, err)
					}
					m.end()
				})
			})
		}
	}
}

// mute has brokers answer no request with the given key, -1: no request at all.
func (w *world) mute(key int16, brokers ...int32) {
	w.cluster.ControlKey(key, func(kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		return nil, nil, slices.Contains(brokers, w.cluster.CurrentNode())
	})
}

// The time that a commit may take includes a new connection.
func TestCommitIsGivenUpInTimeOnASlowConnection(t *testing.T) {
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
		w.settled(time.Minute)
		w.mute(int16(kmsg.OffsetCommit), 0)
		close(slow)
		close(broken)
		time.Sleep(50 * time.Millisecond)
		w.produce(1, nil)
		sealed := time.Now()
		for m.ended(endUnanswered) == 0 && time.Since(sealed) < time.Minute {
			time.Sleep(100 * time.Millisecond)
		}
		// A batch is sealed within MaxAge, after a fetch on a new connection.
		if took := time.Since(sealed); took > 8*time.Second+m.cfg.MaxAge+commitTimeout {
			w.t.Errorf("the commit was given up after %v", took)
		}
		m.abort()
		m.end()
	})
}

// A coordinator that has moved is found by the next commit, in the same session.
func TestCommitsFollowTheCoordinator(t *testing.T) {
	onBothProtocolsOf(t, 3, 3, func(w *world, protocol func(*Config)) {
		m := w.join(func(c *Config, _ *sink.Config) { protocol(c) })
		w.produce(100, nil)
		w.settled(time.Minute)
		before := m.ended(endUnanswered) + m.ended(endLost)
		was := w.cluster.CoordinatorFor(testGroup)
		for w.cluster.CoordinatorFor(testGroup) == was {
			w.cluster.RehashCoordinators()
		}
		w.produce(100, nil)
		moved := time.Now()
		w.settled(time.Minute)
		if took := time.Since(moved); took > 10*time.Second {
			w.t.Errorf("committed after %v", took)
		}
		if n := m.ended(endUnanswered) + m.ended(endLost); n != before {
			w.t.Errorf("%v sessions ended", n-before)
		}
		m.leave(w.t)
	})
}

// A revoke must not wait for ever behind a commit that is not answered.
func TestRevokeBehindACommitThatHangs(t *testing.T) {
	onBothProtocols(t, 4, func(w *world, protocol func(*Config)) {
		slow(w, 300*time.Millisecond)
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
			w.t.Errorf("the second member got its partitions after %v", took)
		}
		w.settled(5 * time.Minute)
		a.leave(w.t)
		b.leave(w.t)
	})
}

// A static member that restarts cleanly is back at once: the broker is told that it comes back.
func TestStaticMemberRestartsWithoutAStall(t *testing.T) {
	onBothProtocols(t, 3, func(w *world, protocol func(*Config)) {
		static := func(c *Config, _ *sink.Config) { protocol(c); c.InstanceID = "one" }
		// Kafka rejects the leave of a static member without its instance ID; the embedded broker does not.
		w.cluster.ControlKey(int16(kmsg.ConsumerGroupHeartbeat), func(r kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			if h := r.(*kmsg.ConsumerGroupHeartbeatRequest); h.MemberEpoch == -2 && (h.InstanceID == nil || *h.InstanceID != "one") {
				response := h.ResponseKind().(*kmsg.ConsumerGroupHeartbeatResponse)
				response.ErrorCode = kerr.InvalidRequest.Code
				return response, nil, true
			}
			return nil, nil, false
		})
		a := w.join(static)
		w.produce(500, mixed)
		w.settled(time.Minute)
		a.leave(w.t)
		w.produce(500, nil)
		restarted := time.Now()
		b := w.join(static)
		w.settled(time.Minute)
		if took := time.Since(restarted); took > 6*time.Second {
			w.t.Errorf("the first event after the restart took %v", took)
		}
		b.leave(w.t)
		w.sentOnce()
	})
}

// Two processes with one instance ID: the group lets one of them in at a time, and nothing counts twice.
func TestTwoMembersWithOneInstanceIDLoseAndDoubleNothing(t *testing.T) {
	onBothProtocols(t, 3, func(w *world, protocol func(*Config)) {
		static := func(c *Config, _ *sink.Config) { protocol(c); c.InstanceID = "one" }
		a := w.join(static)
		w.produce(500, mixed)
		time.Sleep(10 * time.Second)
		b := w.join(static)
		told := false
		for range 100 {
			w.produce(20, mixed)
			time.Sleep(time.Second)
			problems := strings.Join(append(a.Status().Problems, b.Status().Problems...), "\n")
			told = told || strings.Contains(problems, "another member uses the same kafka.instance_id")
		}
		if !told {
			w.t.Error("no problem was reported")
		}
		a.abort()
		a.end()
		w.settled(5 * time.Minute)
		b.abort() // the last turn may just have ended
		b.end()
	})
}

func TestConsumerProtocolNeedsBrokersThatOfferIt(t *testing.T) {
	t.Run("an older broker", func(t *testing.T) {
		inWorld(t, 1, func(w *world) {
			m := w.join(func(c *Config, _ *sink.Config) {
				c.ConsumerProtocol = true
				w.cluster.ControlKey(int16(kmsg.ApiVersions), func(r kmsg.Request) (kmsg.Response, error, bool) {
					w.cluster.KeepControl()
					response := r.ResponseKind().(*kmsg.ApiVersionsResponse)
					kversion.V3_9_0().EachMaxKeyVersion(func(k, v int16) {
						response.ApiKeys = append(response.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: k, MaxVersion: v})
					})
					return response, nil, true
				})
			})
			if err := <-m.done; !errors.Is(err, errNoServerSideGroups) {
				t.Errorf("ended with %v", err)
			}
			m.end()
		})
	})
	t.Run("a broker that does not enable it", func(t *testing.T) {
		inWorld(t, 1, func(w *world) {
			w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ConsumerGroupHeartbeat}, Err: kerr.UnsupportedVersion, TopLevel: true, Count: -1})
			m := w.join(func(c *Config, _ *sink.Config) { c.ConsumerProtocol = true })
			if err := <-m.done; !errors.Is(err, errNoServerSideGroups) {
				t.Errorf("ended with %v", err)
			}
			m.end()
		})
	})
}

func TestNothingBeginsAfterTheEnd(t *testing.T) {
	s := stillSession(t)
	s.end(endLost, errRemoved)
	if begun, err := s.begin([]start{{topicPartition: topicPartition{testTopic, 0}}}); !errors.Is(err, errEnded) || len(begun) > 0 || len(s.all()) > 0 {
		t.Errorf("%d partitions begun, %v", len(begun), err)
	}
}

func TestErrorOfAPartitionThatIsNotOursIsNoProblem(t *testing.T) {
	s := stillSession(t)
	s.poller.pollError(topicPartition{testTopic, 3}, kerr.UnknownServerError)
	if p := s.health.status().Problems; len(p) > 0 {
		t.Errorf("problems: %v", p)
	}
}

// A broker that has just started knows no topics.
func TestTopicThatOneBrokerDoesNotKnowIsNotDeleted(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		m := w.join(nil)
		w.produce(100, nil)
		w.settled(time.Minute)
		for range 10 {
			once := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: testTopic, Err: kerr.UnknownTopicOrPartition, Count: 1})
			time.Sleep(watchInterval)
			once.Remove()
			time.Sleep(watchInterval)
		}
		if n := m.ended(endTopics); n > 0 {
			t.Errorf("%v sessions ended", n)
		}
		m.leave(t)
	})
}

// A member whose join is rejected was in no group, so it has lost nothing and nothing has to begin anew.
func TestRejectedJoinEndsNoSession(t *testing.T) {
	onBothProtocols(t, 2, func(w *world, protocol func(*Config)) {
		rejected := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup, kmsg.ConsumerGroupHeartbeat}, Err: kerr.GroupAuthorizationFailed, TopLevel: true, Count: -1})
		m := w.join(func(c *Config, _ *sink.Config) { protocol(c) })
		time.Sleep(2 * time.Second)
		if p := strings.Join(m.Status().Problems, "\n"); !strings.Contains(p, "grant READ on the group") {
			w.t.Errorf("problems: %q", p)
		}
		rejected.Remove()
		w.produce(100, nil)
		w.settled(time.Minute)
		if rejected.Hits() < 3 || m.ended(endLost) > 0 || testutil.ToFloat64(m.metrics.rebalances.WithLabelValues(rebalanceLost)) > 0 {
			w.t.Errorf("%d joins rejected, %v sessions lost", rejected.Hits(), m.ended(endLost))
		}
		if p := m.Status().Problems; len(p) > 0 {
			w.t.Errorf("problems: %v", p)
		}
		m.leave(w.t)
	})
}
