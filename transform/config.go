package transform

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/segment-to-launchdarkly/forwarder/transform/jsonscan"
)

// Config configures a mapping. A path, such as "properties.value", is a list of names joined by
// dots, starting at the top level of the call. The prefix "$." of Segment's notation is ignored.
// Names that contain a dot cannot be part of a path.
type Config struct {
	// Unwrap lists the paths at which a document can contain calls, in order of precedence. The
	// first path present is used. If no path is present, the document itself is used. UnwrapAuto as
	// the only element selects the known envelopes. If Unwrap is empty, nothing is unwrapped.
	Unwrap []string

	// Schema is the version of LaunchDarkly's event schema, 3 or 4. Version 3 events have a
	// userKey, and version 4 events have contextKeys.
	Schema int

	// Contexts maps each context kind to the paths of the fields that can contain its key, in order
	// of precedence. The first field that contains a non-empty string or a number is used. Kinds
	// are rendered in sorted order. A metric counts an event only if the event's kind and key match
	// the context for which the SDK evaluates flags. Schema 4 requires at least one kind, and at
	// least one path per kind. Schema 3 ignores Contexts. The schema 3 key is userId, or
	// anonymousId if userId contains no key.
	Contexts map[string][]string

	// MetricValue lists the paths of the fields that can contain the metric's value, in order of
	// precedence. The first field that contains a finite number, or a string that Segment reads as
	// one, is used. If there is no such field, the event has no metricValue.
	MetricValue []string

	// IntegrationNames lists the names that refer to this destination in a call's integrations
	// object. If the object contains several of these names, the one listed first decides. If the
	// list is empty, only the object's All entry decides.
	IntegrationNames []string

	// HonorIntegrations filters out calls whose integrations object excludes this destination. If
	// HonorIntegrations is false, the object is ignored.
	HonorIntegrations bool

	// Filter selects calls. The zero Filter selects all calls.
	Filter Filter

	// Data selects the properties that become an event's data. The metric's value is read before
	// properties are removed.
	Data Data

	// MaxEventBytes is the maximum size of an event in bytes, excluding the comma after it. A
	// larger event is rejected. Zero means no limit.
	MaxEventBytes int
}

// Mapping is a compiled Config. It is immutable and safe for concurrent use.
type Mapping struct {
	fields *jsonscan.Fields

	// The fields below are listed in order of use.
	unwrapStrings    bool       // whether to unwrap documents that are strings
	envelopes        []envelope // in order of precedence; can themselves have a call type
	others           *envelopes // in documents that are not calls; nil for none
	typ, batch       *jsonscan.Field
	consent          *consentRule // nil if consent is not required
	honor            bool
	integrationNames []*jsonscan.Field // in order of precedence
	integrationsAll  *jsonscan.Field
	times            []*jsonscan.Field
	filters          *filters // the filters after the integrations object; nil for none
	event            *jsonscan.Field
	keyOpen          string // text before the first key
	keys             []keyRule
	keyClose         string // text after the last key
	noKey            string // detail of a call without a key
	metricValue      []*jsonscan.Field
	properties       *jsonscan.Field
	data             *dataRule // nil if all properties become data

	inherited     []*jsonscan.Field // fields that the calls in a batch inherit
	maxEventBytes int
}

// keyRule describes how to render one user key or context key.
type keyRule struct {
	name   string            // rendered name, with quotes and a colon
	fields []*jsonscan.Field // in order of precedence
}

// Compile validates cfg and returns its Mapping. The error has one line per problem, in the form
// "key: rule" or "key: rule, got value". The keys other than max_event_bytes are those of the
// configuration file, without the section.
func Compile(cfg Config) (*Mapping, error) {
	var errs []error
	var wanted jsonscan.Paths
	split := func(key, path string) []string {
		names := strings.Split(strings.TrimPrefix(path, "$."), ".")
		if slices.Contains(names, "") {
			errs = append(errs, fmt.Errorf("%s: must be a dotted path, got %q", key, path))
			return nil
		}
		return names
	}
	paths := func(key string, paths []string) (fields []*jsonscan.Field) {
		for _, path := range paths {
			if names := split(key, path); names != nil {
				fields = append(fields, wanted.Add(names...))
			}
		}
		return fields
	}

	m := &Mapping{
		typ:   wanted.Add("type"),
		batch: wanted.Add("batch"),
		honor: cfg.HonorIntegrations,
		event: wanted.Add("event"),
		times: []*jsonscan.Field{ // the first readable one is used
			wanted.Add("timestamp"), wanted.Add("receivedAt"), wanted.Add("originalTimestamp"), wanted.Add("sentAt"),
		},
		metricValue:   paths("metric_value", cfg.MetricValue),
		properties:    wanted.Add("properties"),
		data:          cfg.Data.compile(),
		maxEventBytes: cfg.MaxEventBytes,
	}

	if slices.Equal(cfg.Unwrap, []string{UnwrapAuto}) {
		m.unwrapStrings = true
		m.envelopes, m.others = []envelope{jitsu(&wanted)}, knownEnvelopes()
	} else {
		for _, path := range cfg.Unwrap {
			if path == UnwrapAuto {
				errs = append(errs, fmt.Errorf("unwrap: %s must not be combined with paths, got %q", UnwrapAuto, cfg.Unwrap))
			} else if names := split("unwrap", path); names != nil {
				m.envelopes = append(m.envelopes, envelopeAt(&wanted, path, names))
			}
		}
	}

	m.noKey = "no field in contexts is a non-empty string or a number"
	switch cfg.Schema {
	case 3:
		m.noKey = "neither userId nor anonymousId is a non-empty string or a number"
		m.keys = []keyRule{{`"userKey":`, []*jsonscan.Field{wanted.Add("userId"), wanted.Add("anonymousId")}}}
	case 4:
		m.keyOpen, m.keyClose = `"contextKeys":{`, `}`
		if len(cfg.Contexts) == 0 {
			errs = append(errs, errors.New("contexts: must have at least one kind for event_schema 4"))
		}
		for _, kind := range slices.Sorted(maps.Keys(cfg.Contexts)) {
			if !validKind(kind) {
				errs = append(errs, fmt.Errorf("contexts: each kind must contain only letters, digits, '.', '_', and '-', "+
					"and must be neither 'kind' nor 'multi', got %q", kind))
			}
			key := fmt.Sprintf("contexts: %q", kind)
			if len(cfg.Contexts[kind]) == 0 {
				errs = append(errs, errors.New(key+": must have at least one field"))
			}
			m.keys = append(m.keys, keyRule{`"` + kind + `":`, paths(key, cfg.Contexts[kind])})
		}
	default:
		errs = append(errs, fmt.Errorf("event_schema: must be 3 or 4, got %d", cfg.Schema))
	}

	if cfg.HonorIntegrations {
		m.integrationsAll = wanted.Add("integrations", "All")
		for _, name := range [...]string{"ALL", "ALl", "AlL", "aLL", "aLl", "alL", "all"} {
			wanted.Alias(name, "integrations", "All")
		}
		for _, name := range cfg.IntegrationNames {
			if strings.EqualFold(name, "all") {
				errs = append(errs, fmt.Errorf("integration_names: must not contain All, got %q", name))
				continue
			}
			m.integrationNames = append(m.integrationNames, wanted.Add("integrations", name))
		}
	}
	if cfg.MaxEventBytes < 0 {
		errs = append(errs, fmt.Errorf("max_event_bytes: must be at least 0, got %d", cfg.MaxEventBytes))
	}

	m.consent = cfg.Filter.Consent.compile(&wanted)
	var err error
	if m.filters, err = cfg.Filter.compile(paths); err != nil {
		errs = append(errs, err)
	}

	m.inherited = []*jsonscan.Field{wanted.Add("context"), wanted.Add("integrations")}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	m.fields = wanted.Compile()
	return m, nil
}

// validKind reports whether kind is a valid context kind under LaunchDarkly's rules.
func validKind(kind string) bool {
	if kind == "" || kind == "kind" || kind == "multi" {
		return false
	}
	for _, c := range []byte(kind) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}
