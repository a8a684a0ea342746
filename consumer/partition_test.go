package consumer

import (
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/segment-to-launchdarkly/forwarder/sink"
	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// still returns a partition without a goroutine, at offset 0, of a consumer without
// a client.
func still(t *testing.T, cuts ...int64) *partition {
	t.Helper()
	mapping, err := transform.Compile(transform.Config{Schema: 3})
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(Config{
		Topics: []string{testTopic}, Group: testGroup, MaxEvents: 10, MaxBytes: 1 << 20, MaxAge: time.Hour,
		Mapping: mapping, Sink: &sink.Client{}, Budget: sink.NewBudget(1 << 20), Registry: prometheus.NewRegistry(), Log: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c.newPartition(fetchedOffset{topicPartition: topicPartition{testTopic, 0}, cuts: cuts}, "member")
}

// takes has the partition take records of one event each, and returns the ends of
// the entries in its window.
func (p *partition) takes(offsets ...int64) (ends []int64) { return p.takesOf(0, offsets...) }

// takesOf is takes, for records of a leader epoch.
func (p *partition) takesOf(epoch int32, offsets ...int64) (ends []int64) {
	for _, offset := range offsets {
		p.take(&kgo.Record{Topic: p.topic, Offset: offset, Value: track(int(offset)), Timestamp: time.UnixMilli(1), LeaderEpoch: epoch})
	}
	p.account()
	p.publish()
	for _, e := range p.window.entries {
		ends = append(ends, e.next)
	}
	return ends
}

func span(from, to int64) (all []int64) {
	for ; from < to; from++ {
		all = append(all, from)
	}
	return all
}

func TestRangeUpToARecordedCutIsSealedWhole(t *testing.T) {
	p := still(t, 30, 45)
	p.takes(span(0, 20)...)
	p.ripe() // batch.max_age has passed, but more is to come
	p.leaderEnd, p.asked = 60, time.Now().Add(time.Second)
	p.ripe()
	p.leaderEnd, p.asked = 20, p.open.opened.Add(-time.Second) // before the range was opened
	p.ripe()
	if got := p.takes(span(20, 60)...); !slices.Equal(got, []int64{30, 45, 55}) {
		t.Errorf("sealed at %v, want at 30 and 45, as recorded, and at 55, as it is full", got)
	}
}

func TestCutThatTheLogDoesNotReachIsGivenUp(t *testing.T) {
	p := still(t, 30)
	p.takes(span(0, 20)...)
	p.leaderEnd, p.asked = 20, time.Now().Add(time.Second) // what was behind is gone
	p.ripe()
	if got := p.takes(); !slices.Equal(got, []int64{20}) {
		t.Errorf("sealed at %v, want at 20", got)
	}
}

func TestCutInAGapIsKept(t *testing.T) {
	p := still(t, 3, 6, 9)
	if got := p.takes(0, 1, 7, 8, 9); !slices.Equal(got, []int64{3, 9}) {
		t.Errorf("sealed at %v, want at 3 and 9; the range between holds nothing", got)
	}
	if e := p.window.entries[1]; e.first != 6 {
		t.Errorf("the second range begins at %d, want 6", e.first)
	}
}

func TestCommitNamesTheCutsThatAreStillToCome(t *testing.T) {
	p := still(t, 5, 10, 20)
	p.takes(span(0, 7)...)
	if s := p.window.snapshot(); s.offset != 0 || s.metadata != "v1 +5 +5 +10" {
		t.Errorf("%+v", s)
	}
	p.window.entries[0].delivered = true
	p.window.pop()
	if s := p.window.snapshot(); s.offset != 5 || s.metadata != "v1 +5 +10" {
		t.Errorf("%+v", s)
	}
}

func TestFloorStaysBetweenRecordedCuts(t *testing.T) {
	p := still(t, 10)
	page := func(offset int64) { p.take(&kgo.Record{Offset: offset, Value: page(0), Timestamp: time.UnixMilli(1)}) }
	page(0)
	page(1)
	p.publish()
	p.takes(span(2, 10)...)
	if e := p.window.entries[0]; e.first != 0 || e.next != 10 {
		t.Errorf("range %d to %d, want 0 to 10 as recorded", e.first, e.next)
	}
}

func TestTruncatedLogIsFollowedDown(t *testing.T) {
	p := still(t)
	p.takes(span(0, 5)...)
	if got := p.takesOf(1, span(3, 6)...); !slices.Equal(got, []int64{5}) {
		t.Errorf("sealed at %v, want at 5, where the old log ended", got)
	}
	if p.open == nil || p.open.first != 3 {
		t.Errorf("open range %+v, want from 3 on", p.open)
	}
}

func TestRecordsThatComeTwiceAreTakenOnce(t *testing.T) {
	p := still(t)
	p.takes(span(0, 5)...)
	if got := p.takes(span(2, 10)...); !slices.Equal(got, []int64{10}) {
		t.Errorf("sealed at %v, want at 10, as if nothing had come twice", got)
	}
	if n := p.window.entries[0].batch.Events; n != 10 {
		t.Errorf("%d events, want 10", n)
	}
}

// The client may go on reading where it is, so the committed offset would be followed
// by what looks like a gap.
func TestPartitionThatIsAssignedAgainWhileItIsReadIsNotTrusted(t *testing.T) {
	p := still(t)
	name := topicPartition{testTopic, 0}
	p.c.partitions[name] = p
	again := []fetchedOffset{{topicPartition: name, committed: true}}
	if _, replaced, err := p.c.start(again, "member"); err != nil || len(replaced) != 1 {
		t.Errorf("%d replaced, %v: want it to be replaced, since it has read nothing", len(replaced), err)
	}
	p = p.c.partitions[name]
	p.inbox.push(chunk{})
	if _, _, err := p.c.start(again, "member"); err == nil || p.c.partitions[name] != p || p.fenced {
		t.Errorf("%v: want an error, and nothing replaced", err)
	}
}

func TestPieceOfARecordedRangeIsLeftToTheNextOwner(t *testing.T) {
	p := still(t, 30)
	p.takes(span(0, 20)...)
	close(p.stop)
	p.run()
	if n := len(p.window.entries); n > 0 {
		t.Errorf("%d entries sealed", n)
	}
	if s := p.window.snapshot(); s.offset != 0 || s.metadata != "v1 +30" {
		t.Errorf("%+v", s)
	}
}

func TestBodyOfADeliveredBatchIsLetGoBehindAStuckOne(t *testing.T) {
	p := still(t)
	p.takes(span(0, 25)...)
	stuck, second := p.window.entries[0], p.window.entries[1]
	before, size := p.c.budget.Used(), int64(second.bytes)
	p.deliveries = 1
	p.c.posted(p, second, nil)
	if second.batch != nil || p.c.budget.Used() != before-size || p.window.watermark() != 0 {
		t.Errorf("%d bytes held, want %d; watermark %d", p.c.budget.Used(), before-size, p.window.watermark())
	}
	p.deliveries = 1
	p.c.posted(p, stuck, nil)
	if used := p.c.budget.Used(); used != int64(p.held) || p.window.bytes != 0 || p.window.watermark() != 20 {
		t.Errorf("%d bytes held, want the open buffer's %d; watermark %d", used, p.held, p.window.watermark())
	}
}
