package config

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// rebalanceTimeout is the time that the group gives a member to release its partitions. It equals
// RebalanceTimeout in package consumer.
const rebalanceTimeout = time.Minute

// validate checks each key against its tags, and then the rules that involve several keys.
func (l *loader) validate(use Use) {
	for _, f := range l.keys {
		if f.section || f.required && use == DryRun && f.v.Len() == 0 {
			continue
		}
		if rule, value := f.validate(); rule != "" {
			l.add(f, rule, value)
		}
	}
	l.validateMapping()
	if use != DryRun {
		l.validateKafka()
		l.validateDelivery()
	}
	if use == Service {
		l.validateFiles()
	}
}

// validate returns the rule that f breaks and the value to display, which for a list is the invalid
// element. If f is valid, both are "". validate also changes an enumeration value to its canonical
// spelling.
func (f field) validate() (broken, value string) {
	value = text(f.v)
	switch {
	case f.required && value == "":
		return "must be set in the file or by " + f.env(), ""
	case f.enum != nil && value != "":
		i := slices.IndexFunc(f.enum, func(e string) bool { return strings.EqualFold(e, value) })
		if i < 0 {
			return "must be " + alternatives(f.enum), displayed(value)
		}
		_ = setText(f.v, f.enum[i]) // cannot fail: the value is valid
	case f.min != "" && f.v.Int() < f.bound(f.min):
		return "must be at least " + f.min, displayed(value)
	case f.max != "" && f.v.Int() > f.bound(f.max):
		return "must be at most " + f.max, displayed(value)
	case f.rule != "":
		r := rules[f.rule]
		for _, s := range f.texts() {
			if !r.holds(s) {
				return r.must, displayed(s)
			}
		}
	}
	return "", ""
}

// alternatives joins the values as "a or b" or "a, b, or c".
func alternatives(values []string) string {
	last := len(values) - 1
	if last == 1 {
		return values[0] + " or " + values[1]
	}
	return strings.Join(values[:last], ", ") + ", or " + values[last]
}

// bound parses a bound as a value of the field's type.
func (f field) bound(s string) int64 {
	v := reflect.New(f.v.Type()).Elem()
	if err := setText(v, s); err != nil {
		panic("config: bound of " + f.path + ": " + err.Error())
	}
	return v.Int()
}

// texts returns the strings that the field's rule applies to: a non-empty string, the elements of a
// list, or the context kinds.
func (f field) texts() []string {
	switch x := f.v.Interface().(type) {
	case []string:
		return x
	case map[string][]string:
		return slices.Sorted(maps.Keys(x))
	case string:
		if x != "" {
			return []string{x}
		}
	}
	return nil
}

// requireValue adds a problem if ok is false. The problem displays the key's value.
func (l *loader) requireValue(ok bool, path, rule string) {
	if f := l.fields[path]; !ok {
		l.add(f, rule, displayed(text(f.v)))
	}
}

// require adds a problem if ok is false. The problem does not display the key's value.
func (l *loader) require(ok bool, path, rule string) {
	if !ok {
		l.add(l.fields[path], rule, "")
	}
}

func (l *loader) validateMapping() {
	unwrap := l.c.Segment.Unwrap
	l.requireValue(len(unwrap) < 2 || !slices.Contains(unwrap, transform.UnwrapAuto), "segment.unwrap",
		"must be auto or a list of paths, not both")
	const path = "launchdarkly.contexts"
	for _, list := range l.c.LaunchDarkly.Contexts {
		l.requireValue(len(list) > 0, path, "each kind must have at least one field")
		for _, name := range list {
			l.requireValue(rules["path"].holds(name), path, "each field "+rules["path"].must)
		}
	}
	l.require(l.c.LaunchDarkly.EventSchema != 4 || len(l.c.LaunchDarkly.Contexts) > 0, path,
		"must have at least one context kind for event_schema 4")
}

func (l *loader) validateKafka() {
	k := l.c.Kafka
	topic := l.c.DeadLetters.Topic
	l.requireValue(topic == "" || !slices.Contains(k.Topics, topic), "dead_letters.topic",
		"must not be one of kafka.topics")

	for _, key := range []string{"ca_file", "cert_file", "key_file", "server_name"} {
		path := "kafka.tls." + key
		l.require(k.TLS.Enabled || text(l.fields[path].v) == "", path, "must not be set unless kafka.tls.enabled is true")
	}
	l.require(k.TLS.KeyFile == "" || k.TLS.CertFile != "", "kafka.tls.cert_file",
		"must be set if kafka.tls.key_file is set")
	l.require(k.TLS.CertFile == "" || k.TLS.KeyFile != "", "kafka.tls.key_file",
		"must be set if kafka.tls.cert_file is set")

	s := k.SASL
	l.validateSecret("kafka.sasl.password", s.Password)
	l.validateSecret("kafka.sasl.token", s.Token)
	l.validateToken("kafka.sasl.token", s.Token)
	if s.Mechanism == "PLAIN" || strings.HasPrefix(s.Mechanism, "SCRAM") {
		l.require(s.Username != "", "kafka.sasl.username", "must be set for "+s.Mechanism)
		l.require(s.Password.IsSet(), "kafka.sasl.password",
			"must be set for "+s.Mechanism+", inline or by password_file")
	}
	l.require(s.Mechanism != "OAUTHBEARER" || s.Token.IsSet(), "kafka.sasl.token",
		"must be set for OAUTHBEARER, inline or by token_file")
	l.require(s.Mechanism != mskIAM || k.TLS.Enabled, "kafka.tls.enabled", "must be true for AWS_MSK_IAM")
	for _, key := range []string{"region", "role_arn", "external_id", "session_name", "profile"} {
		path := "kafka.sasl.aws." + key
		l.require(s.Mechanism == mskIAM || text(l.fields[path].v) == "", path,
			"must not be set unless kafka.sasl.mechanism is AWS_MSK_IAM")
	}
	for _, key := range []string{"external_id", "session_name"} {
		path := "kafka.sasl.aws." + key
		l.require(s.AWS.RoleARN != "" || text(l.fields[path].v) == "", path,
			"must not be set unless kafka.sasl.aws.role_arn is set")
	}
	l.require(s.Mechanism != "" || s.Username == "" && !s.Password.IsSet() && !s.Token.IsSet(), "kafka.sasl.mechanism",
		"must be set if a username, password, or token is set")
}

func (l *loader) validateDelivery() {
	ld, d := l.c.LaunchDarkly, l.c.Delivery
	l.validateSecret("launchdarkly.access_token", ld.AccessToken)
	l.validateToken("launchdarkly.access_token", ld.AccessToken)
	switch ld.Endpoint {
	case "client_side":
		l.require(ld.ClientSideID != "", "launchdarkly.client_side_id", "must be set for endpoint client_side")
	case "metric_import":
		l.require(ld.ProjectKey != "", "launchdarkly.project_key", "must be set for endpoint metric_import")
		l.require(ld.EnvironmentKey != "", "launchdarkly.environment_key", "must be set for endpoint metric_import")
		l.require(ld.AccessToken.IsSet(), "launchdarkly.access_token",
			"must be set for endpoint metric_import, inline or by access_token_file")
		l.requireValue(ld.EventSchema == 4, "launchdarkly.event_schema", "must be 4 for endpoint metric_import")
	}
	l.requireValue(d.MaxBuffered >= l.c.Batch.MaxBytes, "delivery.max_buffered",
		"must be at least batch.max_bytes ("+l.c.Batch.MaxBytes.String()+")")
	l.requireValue(d.BackoffMin <= d.BackoffMax, "delivery.backoff_min",
		"must be at most delivery.backoff_max ("+durationText(d.BackoffMax)+")")
	l.requireValue(d.DrainTimeout >= 0 && d.DrainTimeout < rebalanceTimeout, "delivery.drain_timeout",
		"must be at least 0s and less than 1m")
}

func (l *loader) validateSecret(path string, s Secret) {
	l.require(s.Value == "" || s.File == "", path, "must not be set together with "+path+"_file")
}

func (l *loader) validateToken(path string, s Secret) {
	if rule := tokenProblem(s.Value); rule != "" {
		l.add(l.fields[path], rule, "")
	}
}

// validateFiles reads every file named in the configuration.
func (l *loader) validateFiles() {
	for _, f := range l.keys {
		if f.rule != "file" || text(f.v) == "" {
			continue
		}
		content, err := os.ReadFile(text(f.v))
		switch {
		case err != nil:
			l.add(f, unreadable(text(f.v), err), "")
		case len(strings.TrimSpace(string(content))) == 0:
			l.add(f, text(f.v)+" is empty", "")
		case strings.HasSuffix(f.path, "token_file"):
			if rule := tokenProblem(string(content)); rule != "" {
				l.add(f, rule, "")
			}
		}
	}
	if !slices.ContainsFunc(l.problems, func(p Problem) bool { return strings.HasPrefix(p.Key, "kafka.tls.") }) {
		var p Problem
		if _, err := l.c.Kafka.TLS.config(); errors.As(err, &p) {
			l.add(l.fields[p.Key], p.Rule, "")
		}
	}
}

// unreadable describes a failure to read the file at path.
func unreadable(path string, err error) string { return "cannot read " + path + ": " + reason(err) }

// reason returns the text of a file system error without the file name.
func reason(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}
