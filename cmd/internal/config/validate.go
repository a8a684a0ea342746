package config

import (
	"errors"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"
)

// rebalanceTimeout is how long the group waits for a member that gives partitions up: the consumer's RebalanceTimeout.
const rebalanceTimeout = time.Minute

// validate checks each key by its tags, then what has to hold between keys.
func (l *loader) validate(use Use) {
	for _, f := range l.keys {
		if f.section || f.required && use == DryRun && f.v.Len() == 0 {
			continue
		}
		if must := f.broken(); must != "" {
			l.report(f, must)
		}
	}
	l.mappingRules()
	if use != DryRun {
		l.kafkaRules()
		l.deliveryRules()
	}
	if use == Service {
		l.fileRules()
	}
}

// broken returns the rule that f's value breaks, or "".
func (f field) broken() string {
	value := text(f.v)
	switch {
	case f.required && value == "":
		return "must be set, in the file or by " + f.env()
	case f.enum != nil && value != "":
		i := slices.IndexFunc(f.enum, func(e string) bool { return strings.EqualFold(e, value) })
		if i < 0 {
			last := len(f.enum) - 1
			return "must be " + strings.Join(f.enum[:last], ", ") + " or " + f.enum[last]
		}
		_ = setText(f.v, f.enum[i]) // in its one spelling
	case f.min != "" && f.v.Int() < f.bound(f.min):
		return "must be at least " + f.min
	case f.max != "" && f.v.Int() > f.bound(f.max):
		return "must be at most " + f.max
	case f.rule != "":
		r := rules[f.rule]
		for _, s := range f.texts() {
			if !r.holds(s) {
				return r.must
			}
		}
	}
	return ""
}

// bound parses a bound in the field's own type.
func (f field) bound(s string) int64 {
	v := reflect.New(f.v.Type()).Elem()
	if err := setText(v, s); err != nil {
		panic("config: bound of " + f.path + ": " + err.Error())
	}
	return v.Int()
}

// texts returns what the field's rule is asked about: a text that is not empty, a list's elements, the context kinds.
func (f field) texts() []string {
	switch x := f.v.Interface().(type) {
	case []string:
		return x
	case map[string][]string:
		var kinds []string
		for kind := range x {
			kinds = append(kinds, kind)
		}
		return kinds
	case string:
		if x != "" {
			return []string{x}
		}
	}
	return nil
}

// must reports rule at the key unless ok.
func (l *loader) must(ok bool, path, rule string) {
	if !ok {
		l.report(l.fields[path], rule)
	}
}

func (l *loader) mappingRules() {
	ld := l.c.LaunchDarkly
	for _, list := range ld.Contexts {
		l.must(len(list) > 0, "launchdarkly.contexts", "each kind must name the fields that may hold its key")
		for _, path := range list {
			l.must(rules["path"].holds(path), "launchdarkly.contexts", "each field "+rules["path"].must)
		}
	}
	l.must(ld.EventSchema != 4 || len(ld.Contexts) > 0, "launchdarkly.contexts", "must name a context kind for event_schema 4")
}

func (l *loader) kafkaRules() {
	k := l.c.Kafka
	topic := l.c.DeadLetters.Topic
	l.must(topic == "" || !slices.Contains(k.Topics, topic), "dead_letters.topic",
		"must not be one of kafka.topics: dead letters would be read again for ever")

	for _, path := range []string{"kafka.tls.ca_file", "kafka.tls.cert_file", "kafka.tls.key_file", "kafka.tls.server_name"} {
		l.must(k.TLS.Enabled || text(l.fields[path].v) == "", path, "has no effect unless kafka.tls.enabled is true")
	}
	l.must(k.TLS.KeyFile == "" || k.TLS.CertFile != "", "kafka.tls.cert_file", "must be set with kafka.tls.key_file")
	l.must(k.TLS.CertFile == "" || k.TLS.KeyFile != "", "kafka.tls.key_file", "must be set with kafka.tls.cert_file")

	s := k.SASL
	l.oneSecret("kafka.sasl.password", s.Password)
	l.oneSecret("kafka.sasl.token", s.Token)
	if s.Mechanism == "PLAIN" || strings.HasPrefix(s.Mechanism, "SCRAM") {
		l.must(s.Username != "", "kafka.sasl.username", "must be set for "+s.Mechanism)
		l.must(s.Password.IsSet(), "kafka.sasl.password", "it or password_file must be set for "+s.Mechanism)
	}
	l.must(s.Mechanism != "OAUTHBEARER" || s.Token.IsSet(), "kafka.sasl.token", "it or token_file must be set for OAUTHBEARER")
	l.must(s.Mechanism != "AWS_MSK_IAM" || k.TLS.Enabled, "kafka.tls.enabled", "must be true for AWS_MSK_IAM")
	l.must(s.Mechanism != "" || s.Username == "" && !s.Password.IsSet() && !s.Token.IsSet(), "kafka.sasl.mechanism",
		"must be set for a username, password or token to have an effect")
}

func (l *loader) deliveryRules() {
	ld, d := l.c.LaunchDarkly, l.c.Delivery
	l.oneSecret("launchdarkly.access_token", ld.AccessToken)
	switch ld.Endpoint {
	case "client_side":
		l.must(ld.ClientSideID != "", "launchdarkly.client_side_id", "must be set for client_side")
	case "metric_import":
		l.must(ld.ProjectKey != "", "launchdarkly.project_key", "must be set for metric_import")
		l.must(ld.EnvironmentKey != "", "launchdarkly.environment_key", "must be set for metric_import")
		l.must(ld.AccessToken.IsSet(), "launchdarkly.access_token", "it or access_token_file must be set for metric_import")
		l.must(ld.EventSchema == 4, "launchdarkly.event_schema", "must be 4 for metric_import")
	}
	l.must(d.MaxBuffered >= l.c.Batch.MaxBytes, "delivery.max_buffered", "must be at least batch.max_bytes")
	l.must(d.BackoffMin <= d.BackoffMax, "delivery.backoff_min", "must be at most delivery.backoff_max")
	l.must(d.DrainTimeout >= 0 && d.DrainTimeout < rebalanceTimeout, "delivery.drain_timeout",
		"must be 0s or more, and below 1m, the group's rebalance timeout")
}

func (l *loader) oneSecret(path string, s Secret) {
	l.must(s.Value == "" || s.File == "", path, "must not be set together with "+path+"_file")
}

// fileRules reads every file that the configuration names.
func (l *loader) fileRules() {
	for _, f := range l.keys {
		if f.rule != "file" || text(f.v) == "" {
			continue
		}
		content, err := os.ReadFile(text(f.v))
		switch {
		case err != nil:
			l.report(f, "cannot be read: "+reason(err))
		case len(strings.TrimSpace(string(content))) == 0:
			l.report(f, "must not be empty")
		}
	}
	if !slices.ContainsFunc(l.problems, func(p Problem) bool { return strings.HasPrefix(p.Key, "kafka.tls.") }) {
		var p Problem
		if _, err := l.c.Kafka.TLS.config(); errors.As(err, &p) {
			l.report(l.fields[p.Key], p.Rule)
		}
	}
}

// reason returns an error of the file system without the file's name.
func reason(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}
