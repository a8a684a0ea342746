package transform

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/segment-to-launchdarkly/forwarder/transform/jsonscan"
)

// Config describes how calls are mapped. A path consists of names separated by dots, from the top
// of the call, such as "properties.value". A path cannot lead to a name that contains a dot.
type Config struct {
	// Schema is LaunchDarkly's event schema: 3 writes userKey, 4 writes contextKeys. Required.
	Schema int

	// Contexts lists, per context kind, the paths of the fields that can hold its key. The first
	// field that holds a non-empty string or a number is used. Kinds are rendered in the order of
	// their names. A metric counts an event only if kind and key equal those with which the SDK
	// evaluates flags. Schema 4 requires at least one kind, and at least one path per kind. Schema
	// 3 ignores Contexts: its key is userId, or anonymousId if there is no userId.
	Contexts map[string][]string

	// MetricValue lists the paths of the fields that can hold the metric's value. The first field
	// that holds a finite number, or a string that is one, is used. If MetricValue is empty, events
	// have no metricValue.
	MetricValue []string

	// IntegrationNames are the names under which a call's integrations object can address this
	// destination. If the object holds several of them, the one listed first decides. If
	// IntegrationNames is empty, only All counts.
	IntegrationNames []string

	// HonorIntegrations filters the calls whose integrations object does not address this
	// destination. If it is false, the object is ignored.
	HonorIntegrations bool

	// MaxEventBytes is the maximum length of an event without its comma. A longer event is
	// rejected. 0 means no limit.
	MaxEventBytes int
}

// Mapping is a compiled Config. It never changes, so any number of goroutines can use it.
type Mapping struct {
	fields *jsonscan.Fields

	// The fields of the mapping table, in its order.
	typ, batch       *jsonscan.Field
	honor            bool
	integrationNames []*jsonscan.Field // by precedence
	integrationsAll  *jsonscan.Field
	event            *jsonscan.Field
	keyOpen          string // before the first key
	keys             []keyRule
	keyClose         string // after the last key
	times            []*jsonscan.Field
	metricValue      []*jsonscan.Field
	properties       *jsonscan.Field

	inherited     []*jsonscan.Field // by the calls of a batch
	maxEventBytes int
}

// keyRule renders one user key or context key.
type keyRule struct {
	name   string // as rendered: quoted, with a colon
	fields []*jsonscan.Field
}

// Compile validates cfg and returns its Mapping. The error lists every problem on a line of its
// own, as "field: value: rule". Fields have their names in the configuration file.
func Compile(cfg Config) (*Mapping, error) {
	var errs []error
	var wanted jsonscan.Paths
	paths := func(field string, paths []string) (fields []*jsonscan.Field) {
		for _, path := range paths {
			names := strings.Split(path, ".")
			if slices.Contains(names, "") {
				errs = append(errs, fmt.Errorf("%s: %q: names separated by single dots", field, path))
				continue
			}
			fields = append(fields, wanted.Add(names...))
		}
		return fields
	}

	m := &Mapping{
		typ:   wanted.Add("type"),
		batch: wanted.Add("batch"),
		honor: cfg.HonorIntegrations,
		event: wanted.Add("event"),
		times: []*jsonscan.Field{ // the first that is readable counts
			wanted.Add("timestamp"), wanted.Add("receivedAt"), wanted.Add("originalTimestamp"), wanted.Add("sentAt"),
		},
		metricValue:   paths("metric_value", cfg.MetricValue),
		properties:    wanted.Add("properties"),
		maxEventBytes: cfg.MaxEventBytes,
	}

	switch cfg.Schema {
	case 3:
		m.keys = []keyRule{{`"userKey":`, []*jsonscan.Field{wanted.Add("userId"), wanted.Add("anonymousId")}}}
	case 4:
		m.keyOpen, m.keyClose = `"contextKeys":{`, `}`
		if len(cfg.Contexts) == 0 {
			errs = append(errs, errors.New("contexts: none: at least one kind with schema 4"))
		}
		for _, kind := range slices.Sorted(maps.Keys(cfg.Contexts)) {
			if !validKind(kind) {
				errs = append(errs, fmt.Errorf(
					`contexts: %q: a kind is letters, digits, ".", "_" and "-", and neither "kind" nor "multi"`, kind))
			}
			if len(cfg.Contexts[kind]) == 0 {
				errs = append(errs, fmt.Errorf("contexts: %q: at least one path", kind))
			}
			m.keys = append(m.keys, keyRule{`"` + kind + `":`, paths("contexts: "+kind, cfg.Contexts[kind])})
		}
	default:
		errs = append(errs, fmt.Errorf("event_schema: %d: 3 or 4", cfg.Schema))
	}

	if cfg.HonorIntegrations {
		m.integrationsAll = wanted.Add("integrations", "All")
		for _, name := range [...]string{"ALL", "ALl", "AlL", "aLL", "aLl", "alL", "all"} {
			wanted.Alias(name, "integrations", "All")
		}
		for _, name := range cfg.IntegrationNames {
			if strings.EqualFold(name, "all") {
				errs = append(errs, fmt.Errorf("integration_names: %q: All stands for every integration", name))
				continue
			}
			m.integrationNames = append(m.integrationNames, wanted.Add("integrations", name))
		}
	}
	if cfg.MaxEventBytes < 0 {
		errs = append(errs, fmt.Errorf("max_event_bytes: %d: at least 0", cfg.MaxEventBytes))
	}

	m.inherited = []*jsonscan.Field{wanted.Add("context"), wanted.Add("integrations")}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	m.fields = wanted.Compile()
	return m, nil
}

// validKind follows LaunchDarkly's rules for context kinds.
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
