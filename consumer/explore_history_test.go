package consumer_test

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// history records, in order, all steps that the brokers and LaunchDarkly observed. It contains no
// data from the program itself. It is checked at the end, because an event may reach LaunchDarkly
// before its producer knows the offset.
type history struct {
	mu       sync.Mutex // guards the fields below
	now      int        // number of the last entry
	events   map[int]*event
	stored   map[place][]stored
	requests []request
	deleted  map[place]bool    // partitions of deleted topics
	starts   map[place][]int64 // start offsets set by retention
}

// place is a partition in one incarnation of a topic.
type place struct {
	topic     [16]byte
	partition int32
}

func (p place) String() string { return fmt.Sprintf("%x/%d", p.topic[:3], p.partition) }

type event struct {
	place
	offset  int64
	never   bool // must never be counted, because the mapping or LaunchDarkly rejects it
	inBody  bool // is part of a request body
	counted []int
	lost    int // entry in which retention deleted it before it was counted; 0 if it did not
}

// stored is a commit stored by the broker at some point between the entries from and by.
type stored struct {
	from, by int
	offset   int64
	cuts     []int64
	late     bool // stored after the topic was deleted
}

type request struct {
	at     int
	events []int
	taken  bool // accepted, and not a duplicate
}

func newHistory() *history {
	return &history{events: map[int]*event{}, stored: map[place][]stored{}, deleted: map[place]bool{},
		starts: map[place][]int64{}}
}

// tick reserves the number of the next entry, and returns it.
func (h *history) tick() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now++
	return h.now
}

// addEvent adds an event.
func (h *history) addEvent(n int, e event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events[n] = &e
}

// locate sets the position of an event.
func (h *history) locate(n int, at place, offset int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events[n].place, h.events[n].offset = at, offset
}

// addCommit adds a stored commit, unless it equals the previous commit of the partition.
func (h *history) addCommit(at place, s stored) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.late = h.deleted[at]
	if all := h.stored[at]; len(all) > 0 && all[len(all)-1].offset == s.offset &&
		slices.Equal(all[len(all)-1].cuts, s.cuts) {
		return
	}
	h.now++
	s.by = h.now
	h.stored[at] = append(h.stored[at], s)
}

// addRequest adds a request to LaunchDarkly.
func (h *history) addRequest(r ldtest.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now++
	q := request{at: h.now, taken: r.Accepted && !r.Duplicate}
	for _, name := range r.Identities {
		n, err := strconv.Atoi(name)
		if err != nil || h.events[n] == nil {
			panic("event was never produced: " + name)
		}
		q.events = append(q.events, n)
		if q.taken {
			h.events[n].counted = append(h.events[n].counted, h.now)
		}
	}
	if len(q.events) > 0 {
		h.requests = append(h.requests, q)
	}
}

// deleteTopic records that a topic is deleted.
func (h *history) deleteTopic(topic [16]byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.events {
		if e.topic == topic {
			h.deleted[e.place] = true
		}
	}
}

// expire records that retention deletes all records below an offset.
func (h *history) expire(at place, start int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now++
	h.starts[at] = append(h.starts[at], start)
	for _, e := range h.events {
		if e.place == at && e.offset < start && !e.never && len(e.counted) == 0 && e.lost == 0 {
			e.lost = h.now
		}
	}
}

// outstanding returns the number of events that LaunchDarkly must still count.
func (h *history) outstanding() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.events {
		if !e.never && len(e.counted) == 0 && e.lost == 0 && !h.deleted[e.place] {
			n++
		}
	}
	return n
}

// check reports all broken invariants. If whole is set, no request may hold only a part of a batch.
func (h *history) check(whole bool, broken func(invariant, detail string)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := map[place][]int{} // event numbers by partition, in offset order
	for _, n := range slices.Sorted(maps.Keys(h.events)) {
		e := h.events[n]
		at[e.place] = append(at[e.place], n)
		switch {
		case len(e.counted) > 1:
			broken("counted twice", fmt.Sprintf("event %d at %v offset %d: %d times", n, e.place, e.offset,
				len(e.counted)))
		case e.never && len(e.counted) > 0:
			broken("counted although rejected", fmt.Sprintf("event %d at %v offset %d", n, e.place, e.offset))
		case !e.never && len(e.counted) == 0 && e.lost == 0 && !h.deleted[e.place]:
			broken("missing", fmt.Sprintf("event %d at %v offset %d", n, e.place, e.offset))
		}
	}
	for p, ns := range at {
		sort.SliceStable(ns, func(i, j int) bool { return h.events[ns[i]].offset < h.events[ns[j]].offset })
		h.checkCommits(p, ns, broken)
	}
	h.checkRequests(at, whole, broken)
}

// checkCommits checks that no stored commit passes an uncounted event, that offsets never decrease,
// and that a cut stays recorded until the offset passes it.
func (h *history) checkCommits(p place, ns []int, broken func(invariant, detail string)) {
	var last stored
	for _, s := range h.stored[p] {
		if s.late { // irrelevant for the deleted log, and not trusted for the new one
			continue
		}
		if s.offset < last.offset {
			broken("stored offset went back", fmt.Sprintf("%v: from %d to %d", p, last.offset, s.offset))
		}
		for _, cut := range last.cuts {
			if cut > s.offset && !slices.Contains(s.cuts, cut) {
				broken("cut lost", fmt.Sprintf("%v: %d is not in %d %v", p, cut, s.offset, s.cuts))
			}
		}
		for _, n := range ns {
			e := h.events[n]
			if e.offset < last.offset || e.offset >= s.offset || e.never {
				continue
			}
			counted := len(e.counted) > 0 && e.counted[0] <= s.from
			if !counted && (e.lost == 0 || e.lost > s.by) {
				broken("commit passed an undelivered event",
					fmt.Sprintf("%v: commit %d, event %d at offset %d", p, s.offset, n, e.offset))
			}
		}
		last = s
	}
}

// checkRequests checks that the events of each request are exactly those between two adjacent
// offsets stored before the request. The start of a log counts as a stored offset.
func (h *history) checkRequests(at map[place][]int, whole bool, broken func(invariant, detail string)) {
	bounds := map[place][]int64{} // ascending
	next := map[place]int{}
	for _, r := range h.requests {
		p := h.events[r.events[0]].place
		if bounds[p] == nil {
			bounds[p] = []int64{0}
		}
		for all := h.stored[p]; next[p] < len(all) && all[next[p]].by < r.at; next[p]++ {
			for _, b := range append([]int64{all[next[p]].offset}, all[next[p]].cuts...) {
				if i, found := slices.BinarySearch(bounds[p], b); !found {
					bounds[p] = slices.Insert(bounds[p], i, b)
				}
			}
		}
		low, high := h.events[r.events[0]].offset, int64(-1)
		for _, n := range r.events {
			e := h.events[n]
			if e.place != p {
				broken("request spans partitions", fmt.Sprintf("%v and %v", p, e.place))
			}
			low, high = min(low, e.offset), max(high, e.offset)
		}
		i, _ := slices.BinarySearch(bounds[p], low+1) // the first bound above low
		switch {
		case i == len(bounds[p]):
			broken("request before its cut",
				fmt.Sprintf("%v: offsets %d to %d, last cut %d", p, low, high, bounds[p][i-1]))
		case bounds[p][i] <= high && r.taken:
			broken("request across a cut", fmt.Sprintf("%v: offsets %d to %d, cut %d", p, low, high, bounds[p][i]))
		case whole && bounds[p][i] > high &&
			!h.fills(at[p], r.events, append(slices.Clone(h.starts[p]), bounds[p][i-1]), bounds[p][i]):
			broken("request is not the range between two cuts",
				fmt.Sprintf("%v: offsets %d to %d, cuts %d and %d", p, low, high, bounds[p][i-1], bounds[p][i]))
		}
	}
}

// fills reports whether got holds all events between one of the starts and end.
func (h *history) fills(ns, got []int, starts []int64, end int64) bool {
	return slices.ContainsFunc(starts, func(start int64) bool {
		var want []int
		for _, n := range ns {
			if e := h.events[n]; e.inBody && e.offset >= start && e.offset < end {
				want = append(want, n)
			}
		}
		return slices.Equal(want, got)
	})
}

// parseMetadata parses commit metadata such as "v1 +1000 +437 @ID". It shares no code with the
// program.
func parseMetadata(offset int64, metadata string) (cuts []int64, topic [16]byte, err error) {
	for i, word := range strings.Fields(metadata) {
		switch {
		case i == 0 && word == "v1":
		case i > 0 && word[0] == '+' && topic == [16]byte{}:
			length, err := strconv.ParseInt(word[1:], 10, 64)
			if err != nil || length <= 0 {
				return nil, topic, fmt.Errorf("metadata %q: length %q", metadata, word)
			}
			offset += length
			cuts = append(cuts, offset)
		case i > 0 && word[0] == '@' && topic == [16]byte{}:
			id, err := base64.RawURLEncoding.DecodeString(word[1:])
			if err != nil || len(id) != len(topic) {
				return nil, topic, fmt.Errorf("metadata %q: topic %q", metadata, word)
			}
			copy(topic[:], id)
		default:
			return nil, topic, fmt.Errorf("metadata %q: word %q", metadata, word)
		}
	}
	return cuts, topic, nil
}

// Each history in the table breaks at most one invariant.
func TestHistoryReportsBrokenInvariants(t *testing.T) {
	at := place{topic: [16]byte{1}}
	send := func(taken bool, duplicate bool, names ...string) func(*history) {
		return func(h *history) {
			h.addRequest(ldtest.Request{Identities: names, Accepted: taken, Duplicate: duplicate})
		}
	}
	commit := func(offset int64, cuts ...int64) func(*history) {
		return func(h *history) { h.addCommit(at, stored{from: h.tick(), offset: offset, cuts: cuts}) }
	}
	deliver := send(true, false, "0", "1")
	rest := send(true, false, "2", "3")
	for _, test := range []struct {
		name  string
		steps []func(*history)
		want  []string
	}{
		{"none", []func(*history){commit(0, 2), deliver, commit(2, 4), send(false, false, "2", "3"), rest,
			send(true, true, "2", "3"), commit(4)}, nil},
		{"missing", []func(*history){commit(0, 2), deliver, commit(2, 4)}, []string{"missing", "missing"}},
		{"counted twice", []func(*history){commit(0, 2, 4), deliver, rest, rest},
			[]string{"counted twice", "counted twice"}},
		{"passed", []func(*history){commit(0, 2, 4), deliver, commit(4), rest},
			[]string{"commit passed an undelivered event", "commit passed an undelivered event"}},
		{"back", []func(*history){commit(0, 2, 4), deliver, rest, commit(4), commit(2, 4)},
			[]string{"stored offset went back"}},
		{"lost cut", []func(*history){commit(0, 2, 4), deliver, rest, commit(0, 4), commit(4)}, []string{"cut lost"}},
		{"no cut", []func(*history){commit(0, 2), deliver, rest, commit(2, 4), commit(4)},
			[]string{"request before its cut"}},
		{"across a cut", []func(*history){commit(0, 2, 4), send(true, false, "0", "1", "2", "3")},
			[]string{"request across a cut"}},
		{"a part", []func(*history){commit(0, 2, 4), send(true, false, "0"), send(true, false, "1"), rest},
			[]string{"request is not the range between two cuts", "request is not the range between two cuts"}},
		{"retention", []func(*history){commit(0, 2, 4), deliver, func(h *history) { h.expire(at, 4) }, commit(4)}, nil},
		{"retention later", []func(*history){commit(0, 2, 4), deliver, commit(4), func(h *history) { h.expire(at, 4) }},
			[]string{"commit passed an undelivered event", "commit passed an undelivered event"}},
		{"deleted", []func(*history){commit(0, 2, 4), deliver, func(h *history) { h.deleteTopic(at.topic) }}, nil},
		{"rejected", []func(*history){func(h *history) { h.events[3].never = true }, commit(0, 4), commit(0, 2, 4),
			deliver, rest, commit(4)},
			[]string{"counted although rejected"}},
	} {
		h := newHistory()
		for n := range 4 {
			h.addEvent(n, event{inBody: true})
			h.locate(n, at, int64(n))
		}
		for _, step := range test.steps {
			step(h)
		}
		var got []string
		h.check(true, func(invariant, _ string) { got = append(got, invariant) })
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: broken invariants %q, want %q", test.name, got, test.want)
		}
	}
}

func TestParseMetadata(t *testing.T) {
	cuts, id, err := parseMetadata(7, "v1 +3 +10 @AQAAAAAAAAAAAAAAAAAAAA")
	if err != nil || !slices.Equal(cuts, []int64{10, 20}) || id != ([16]byte{1}) {
		t.Errorf("parsed cuts %v, ID %v (%v)", cuts, id, err)
	}
	for _, bad := range []string{"v2", "v1 3", "v1 +0", "v1 +3 @AQ", "v1 @AQAAAAAAAAAAAAAAAAAAAA +3"} {
		if _, _, err := parseMetadata(0, bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}
