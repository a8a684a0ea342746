package preview

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// Bounds of a Summary's size.
const (
	maxNames   = 10_000    // event names, and also projects, counted separately
	maxFormats = 100       // formats counted separately, and also top-level names kept per format
	maxSizes   = 1_000_000 // record sizes kept, starting with the first record
)

// Summary counts records and their calls. It contains no values of properties and no user keys. The
// zero value is an empty summary.
type Summary struct {
	Records int                    // records read
	Calls   [transform.Reasons]int // calls by reason

	// Metrics holds the event names that a LaunchDarkly metric counts. If it is nil, they are
	// unknown.
	Metrics map[string]bool

	sizes         []int
	names         map[string]*nameCount
	noMetricValue int
	recordTime    int
	segment       int // calls with a Segment call type
	userID        int // Segment calls with a userId
	anonymousID   int // Segment calls with an anonymousId
	bothIDs       int
	projects      map[string]int
	oldest        time.Time // time of the oldest event
	newest        time.Time // time of the newest event
	foreign       map[Format]*foreignCount
}

type nameCount struct{ events, values int }

type foreignCount struct {
	calls int
	names map[string]bool
}

// Add counts a record and its calls, which are given in explained.
func (s *Summary) Add(r *kgo.Record, explained []transform.Explained) {
	s.Records++
	if len(s.sizes) < maxSizes {
		s.sizes = append(s.sizes, len(r.Value))
	}
	for _, call := range explained {
		s.Calls[call.Reason]++
		if call.Reason == transform.NotACall {
			s.addForeign(r.Value, call.Source)
			continue
		}
		if call.Source != nil {
			s.addCall(call.Source)
		}
		if call.Event != nil {
			s.addEvent(call)
		}
	}
}

func (s *Summary) addCall(source []byte) {
	var call map[string]json.RawMessage
	_ = json.Unmarshal(source, &call) // the source is a valid object
	var project string
	_ = json.Unmarshal(call["projectId"], &project) // another type is ignored
	user, anonymous := isKey(call["userId"]), isKey(call["anonymousId"])
	s.segment++
	s.userID += count(user)
	s.anonymousID += count(anonymous)
	s.bothIDs += count(user && anonymous)
	if project != "" && (len(s.projects) < maxNames || s.projects[project] > 0) {
		if s.projects == nil {
			s.projects = map[string]int{}
		}
		s.projects[project]++
	}
}

// isKey reports whether a value can be a user key: a non-empty string or a number.
func isKey(value json.RawMessage) bool {
	return len(value) > 2 && value[0] == '"' || len(value) > 0 && strings.IndexByte("-0123456789", value[0]) >= 0
}

func (s *Summary) addEvent(call transform.Explained) {
	var event struct {
		Key          string      `json:"key"`
		CreationDate int64       `json:"creationDate"`
		MetricValue  json.Number `json:"metricValue"`
	}
	_ = json.Unmarshal(call.Event, &event) // an event is valid JSON with these types
	s.noMetricValue += count(call.NoMetricValue)
	s.recordTime += count(call.RecordTime)
	at := time.UnixMilli(event.CreationDate).UTC()
	if s.oldest.IsZero() || at.Before(s.oldest) {
		s.oldest = at
	}
	if at.After(s.newest) {
		s.newest = at
	}
	if s.names == nil {
		s.names = map[string]*nameCount{}
	}
	n := s.names[event.Key]
	if n == nil {
		if len(s.names) == maxNames {
			return
		}
		n = &nameCount{}
		s.names[event.Key] = n
	}
	n.events++
	n.values += count(event.MetricValue != "")
}

func (s *Summary) addForeign(record, source []byte) {
	format, names := recognize(record, source)
	if s.foreign == nil {
		s.foreign = map[Format]*foreignCount{}
	}
	f := s.foreign[format]
	if f == nil {
		if len(s.foreign) == maxFormats {
			return
		}
		f = &foreignCount{names: map[string]bool{}}
		s.foreign[format] = f
	}
	f.calls++
	for _, name := range names {
		if len(f.names) < maxFormats {
			f.names[Cut(name, 40)] = true
		}
	}
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Total returns the number of calls.
func (s *Summary) Total() (n int) {
	for _, calls := range s.Calls {
		n += calls
	}
	return n
}

// Understood reports whether fewer than half of the calls are rejected or filtered as not_a_call.
func (s *Summary) Understood() bool {
	unknown := s.Calls[transform.NotACall]
	for reason, calls := range s.Calls {
		if transform.Reason(reason).Outcome() == transform.Rejected {
			unknown += calls
		}
	}
	return 2*unknown < s.Total()
}

// Events returns the number of events.
func (s *Summary) Events() int { return s.Calls[transform.None] }

// report is a Summary as it is printed. Shares are fractions of 1.
type report struct {
	Records       int             `json:"records"`
	MedianBytes   int             `json:"record_bytes_median"`
	P99Bytes      int             `json:"record_bytes_p99"`
	Calls         int             `json:"calls"`
	Outcomes      []outcomeReport `json:"outcomes"`
	NoMetricValue int             `json:"events_without_metric_value"`
	RecordTime    int             `json:"events_at_record_time"`
	Names         []nameReport    `json:"event_names"`
	OtherNames    int             `json:"other_event_names"`
	SegmentCalls  int             `json:"segment_calls"`
	UserID        int             `json:"segment_calls_with_user_id"`
	AnonymousID   int             `json:"segment_calls_with_anonymous_id"`
	BothIDs       int             `json:"segment_calls_with_both_ids"`
	Projects      []projectReport `json:"sources"`
	OldestEvent   *time.Time      `json:"oldest_event,omitempty"`
	NewestEvent   *time.Time      `json:"newest_event,omitempty"`
	Foreign       []foreignReport `json:"not_segment_calls"`
}

type outcomeReport struct {
	Outcome string  `json:"outcome"`
	Reason  string  `json:"reason,omitempty"`
	Calls   int     `json:"calls"`
	Share   float64 `json:"share"`
}

type nameReport struct {
	Name            string  `json:"name"`
	Events          int     `json:"events"`
	WithMetricValue float64 `json:"share_with_metric_value"`
	HasMetric       *bool   `json:"has_metric,omitempty"` // nil if the metrics are unknown
}

type projectReport struct {
	ProjectID string `json:"project_id"`
	Calls     int    `json:"calls"`
}

type foreignReport struct {
	Calls  int      `json:"calls"`
	Format string   `json:"looks_like,omitempty"`
	Unwrap string   `json:"unwrap,omitempty"`
	Names  []string `json:"top_level_names"`
}

const (
	shownNames    = 20 // event names in a report, and projects and formats in its text
	shownTopLevel = 12 // top-level names per format of records that are not Segment calls
)

func (s *Summary) report() report {
	slices.Sort(s.sizes)
	r := report{
		Records: s.Records, MedianBytes: quantile(s.sizes, 0.5), P99Bytes: quantile(s.sizes, 0.99),
		Calls: s.Total(), NoMetricValue: s.noMetricValue, RecordTime: s.recordTime,
		OtherNames:   max(0, len(s.names)-shownNames),
		SegmentCalls: s.segment, UserID: s.userID, AnonymousID: s.anonymousID, BothIDs: s.bothIDs,
		Outcomes: []outcomeReport{}, Names: []nameReport{}, Projects: []projectReport{}, Foreign: []foreignReport{},
	}
	for reason, calls := range s.Calls {
		if reason := transform.Reason(reason); calls > 0 || reason == transform.None {
			r.Outcomes = append(r.Outcomes, outcomeReport{
				reason.Outcome().String(), reason.String(), calls, share(calls, r.Calls),
			})
		}
	}
	slices.SortStableFunc(r.Outcomes, func(a, b outcomeReport) int {
		return cmp.Or(cmp.Compare(a.Outcome, b.Outcome), cmp.Compare(b.Calls, a.Calls))
	})
	for name, n := range s.names {
		var hasMetric *bool
		if s.Metrics != nil {
			hasMetric = new(s.Metrics[name])
		}
		r.Names = append(r.Names, nameReport{name, n.events, share(n.values, n.events), hasMetric})
	}
	slices.SortFunc(r.Names, func(a, b nameReport) int {
		return cmp.Or(cmp.Compare(b.Events, a.Events), cmp.Compare(a.Name, b.Name))
	})
	r.Names = r.Names[:min(len(r.Names), shownNames)]
	for project, calls := range s.projects {
		r.Projects = append(r.Projects, projectReport{project, calls})
	}
	slices.SortFunc(r.Projects, func(a, b projectReport) int {
		return cmp.Or(cmp.Compare(b.Calls, a.Calls), cmp.Compare(a.ProjectID, b.ProjectID))
	})
	if !s.oldest.IsZero() {
		r.OldestEvent, r.NewestEvent = &s.oldest, &s.newest
	}
	for format, f := range s.foreign {
		names := slices.Sorted(maps.Keys(f.names))
		r.Foreign = append(r.Foreign, foreignReport{
			f.calls, format.Name, format.Unwrap, names[:min(len(names), shownTopLevel)],
		})
	}
	slices.SortFunc(r.Foreign, func(a, b foreignReport) int {
		return cmp.Or(cmp.Compare(b.Calls, a.Calls), cmp.Compare(a.Format, b.Format), cmp.Compare(a.Unwrap, b.Unwrap))
	})
	return r
}

// quantile returns the q-quantile of sorted values, or 0 if there are none.
func quantile(sorted []int, q float64) int {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1))]
}

func share(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}
