//go:build linux

package chaos

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxFrame is the maximum accepted size of a Kafka frame. Frames in a run are much smaller.
const maxFrame = 64 << 20

// readFrame reads one Kafka frame, including its length prefix.
func readFrame(from io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > maxFrame {
		return nil, fmt.Errorf("frame too large: %d bytes", n)
	}
	b := make([]byte, 4+n)
	copy(b, length[:])
	_, err := io.ReadFull(from, b[4:])
	return b, err
}

// pendingRequest is a request whose response has not arrived yet.
type pendingRequest struct {
	key     kmsg.Key
	version int16
	late    bool
}

// inspectRequest parses a request frame's header and, for an offset commit, the body. It reports
// whether the request is an offset commit that must arrive late.
func (c *conn) inspectRequest(frame []byte) (late bool, err error) {
	if len(frame) < 14 {
		return false, fmt.Errorf("frame too short: %d bytes", len(frame))
	}
	q := pendingRequest{
		key:     kmsg.Key(binary.BigEndian.Uint16(frame[4:])),
		version: int16(binary.BigEndian.Uint16(frame[6:])),
	}
	correlation := int32(binary.BigEndian.Uint32(frame[8:]))
	if q.key == kmsg.OffsetCommit {
		request := kmsg.NewPtrOffsetCommitRequest()
		request.Version = q.version
		body := frame[14+max(0, int(int16(binary.BigEndian.Uint16(frame[12:])))):] // after the client ID
		if request.IsFlexible() {
			if body, err = skipTags(body); err != nil {
				return false, err
			}
		}
		if err := request.ReadFrom(body); err != nil {
			return false, fmt.Errorf("parse offset commit: %w", err)
		}
		c.link.wire.net.seen.recordCommit(c.link.wire.member, request)
		q.late = c.link.takeLate()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending[correlation] = q
	return q.late, nil
}

// skipTags returns the bytes after a header's tagged fields.
func skipTags(b []byte) ([]byte, error) {
	tags, n := binary.Uvarint(b)
	if n <= 0 {
		return nil, errors.New("header without tagged fields")
	}
	for b = b[n:]; tags > 0; tags-- {
		_, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, errors.New("tagged field without a tag")
		}
		b = b[n:]
		size, n := binary.Uvarint(b)
		if n <= 0 || uint64(len(b)-n) < size {
			return nil, errors.New("truncated tagged field")
		}
		b = b[n+int(size):]
	}
	return b, nil
}

// rewriteResponse replaces broker addresses in a response frame with those of the member's links.
// It also counts errors from the group coordinator.
func (c *conn) rewriteResponse(frame []byte) ([]byte, error) {
	if len(frame) < 8 {
		return nil, errors.New("response without a header")
	}
	correlation := int32(binary.BigEndian.Uint32(frame[4:]))
	c.mu.Lock()
	q, known := c.pending[correlation]
	delete(c.pending, correlation)
	c.mu.Unlock()
	if !known {
		return nil, fmt.Errorf("response to an unknown request, correlation ID %d", correlation)
	}
	if !isInspected(q.key) {
		return frame, nil
	}
	response := kmsg.ResponseForKey(int16(q.key))
	response.SetVersion(q.version)
	body := frame[8:]
	if response.IsFlexible() {
		var err error
		if body, err = skipTags(body); err != nil {
			return nil, err
		}
	}
	if err := response.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("parse %s response: %w", q.key.Name(), err)
	}
	c.link.wire.net.seen.recordResponse(q, response)
	if q.late {
		c.reset()
	}
	changed, err := c.readdress(response)
	if !changed || err != nil {
		return frame, err
	}
	out := make([]byte, 8, len(frame)+64)
	copy(out[4:], frame[4:8])
	if response.IsFlexible() {
		out = append(out, 0) // no tagged fields
	}
	out = response.AppendTo(out)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	return out, nil
}

// isInspected reports whether the proxy parses responses to requests of this kind, because they can
// contain broker addresses or errors to count.
func isInspected(key kmsg.Key) bool {
	switch key {
	case kmsg.Metadata, kmsg.FindCoordinator, kmsg.DescribeCluster, kmsg.Produce, kmsg.Fetch,
		kmsg.OffsetCommit, kmsg.JoinGroup, kmsg.SyncGroup, kmsg.Heartbeat, kmsg.ConsumerGroupHeartbeat:
		return true
	}
	return false
}

// readdress replaces broker addresses in a response and reports whether it replaced any.
func (c *conn) readdress(response kmsg.Response) (changed bool, err error) {
	replace := func(host *string, port *int32) {
		if *host == "" || err != nil {
			return
		}
		changed = true
		*host, *port, err = c.link.wire.proxyAddr(*host, *port)
	}
	switch r := response.(type) {
	case *kmsg.MetadataResponse:
		for i := range r.Brokers {
			replace(&r.Brokers[i].Host, &r.Brokers[i].Port)
		}
	case *kmsg.FindCoordinatorResponse:
		replace(&r.Host, &r.Port)
		for i := range r.Coordinators {
			replace(&r.Coordinators[i].Host, &r.Coordinators[i].Port)
		}
	case *kmsg.DescribeClusterResponse:
		for i := range r.Brokers {
			replace(&r.Brokers[i].Host, &r.Brokers[i].Port)
		}
	case *kmsg.ProduceResponse:
		for i := range r.Brokers {
			replace(&r.Brokers[i].Host, &r.Brokers[i].Port)
		}
	case *kmsg.FetchResponse:
		for i := range r.Brokers {
			replace(&r.Brokers[i].Host, &r.Brokers[i].Port)
		}
	}
	return changed, err
}

// traffic records the members' commits and the coordinator's errors.
type traffic struct {
	mu       sync.Mutex // guards the fields below
	commits  map[commitKey][]sender
	errors   map[string]int // by request and error
	late     int            // late commits
	applied  int            // late commits stored by the broker, counted per partition
	rejected map[string]int // late commits rejected by the broker, counted per partition, by error
	fault    error          // first proxy error
}

// commitKey identifies a partition's commit by its content.
type commitKey struct {
	topic     string // topic name, or the topic ID if the request has no name
	partition int32
	offset    int64
	metadata  string
}

// sender describes which member sent a commit, and when.
type sender struct {
	time       time.Time
	member     string // name
	memberID   string
	generation int32
}

func newTraffic() *traffic {
	return &traffic{commits: map[commitKey][]sender{}, errors: map[string]int{}, rejected: map[string]int{}}
}

// recordCommit records a commit's sender.
func (t *traffic) recordCommit(member string, r *kmsg.OffsetCommitRequest) {
	by := sender{time.Now(), member, r.MemberID, r.Generation}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, topic := range r.Topics {
		for _, p := range topic.Partitions {
			a := commitKey{topic: topic.Topic, partition: p.Partition, offset: p.Offset}
			if a.topic == "" {
				a.topic = base64.RawURLEncoding.EncodeToString(topic.TopicID[:])
			}
			if p.Metadata != nil {
				a.metadata = *p.Metadata
			}
			t.commits[a] = append(t.commits[a], by)
		}
	}
}

// sentBy returns the sender of the partition's commit stored at the given time. If an identical
// commit had been sent more than once by then, sentBy returns the latest sender.
func (t *traffic) sentBy(
	topic, id string, partition int32, offset int64, metadata string, at time.Time,
) (by sender, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, name := range []string{topic, id} {
		for _, s := range t.commits[commitKey{name, partition, offset, metadata}] {
			if s.time.Truncate(time.Millisecond).After(at) {
				break
			}
			by, known = s, true
		}
	}
	return by, known
}

func (t *traffic) recordLate() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.late++
}

func (t *traffic) recordError(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fault == nil {
		t.fault = err
	}
}

// recordResponse counts the errors in a coordinator's response and the outcomes of late commits.
func (t *traffic) recordResponse(q pendingRequest, response kmsg.Response) {
	t.mu.Lock()
	defer t.mu.Unlock()
	count := func(code int16) {
		if err := kerr.TypedErrorForCode(code); err != nil {
			t.errors[q.key.Name()+" "+err.Message]++
		}
	}
	switch r := response.(type) {
	case *kmsg.OffsetCommitResponse:
		for _, topic := range r.Topics {
			for _, p := range topic.Partitions {
				count(p.ErrorCode)
				switch err := kerr.TypedErrorForCode(p.ErrorCode); {
				case q.late && err == nil:
					t.applied++
				case q.late:
					t.rejected[err.Message]++
				}
			}
		}
	case *kmsg.JoinGroupResponse:
		count(r.ErrorCode)
	case *kmsg.SyncGroupResponse:
		count(r.ErrorCode)
	case *kmsg.HeartbeatResponse:
		count(r.ErrorCode)
	case *kmsg.ConsumerGroupHeartbeatResponse:
		count(r.ErrorCode)
	}
}

// fenced returns how often the coordinator fenced a static member or prevented one from joining.
func (t *traffic) fenced() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, count := range t.errors {
		if strings.HasSuffix(name, kerr.FencedInstanceID.Message) ||
			strings.HasSuffix(name, kerr.UnreleasedInstanceID.Message) {
			n += count
		}
	}
	return n
}

// addTo adds the recorded traffic to a report and returns the first proxy error.
func (t *traffic) addTo(r *Report) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	r.LateCommits, r.LateApplied = t.late, t.applied
	maps.Copy(r.LateRejected, t.rejected)
	maps.Copy(r.Errors, t.errors)
	return t.fault
}
