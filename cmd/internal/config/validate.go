package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/segment-to-launchdarkly/forwarder/transform"
)

// rebalanceTimeout is the time that the group gives a member to release its partitions. It equals
// RebalanceTimeout in package consumer.
const rebalanceTimeout = time.Minute

// validate checks each key against its tags, and then the rules that involve several keys.
func (l *loader) validate(use Use) {
	partial := use == DryRun || use == REST
	for _, f := range l.keys {
		if f.section || f.required && partial && f.v.Len() == 0 {
			continue
		}
		if rule, value := f.validate(); rule != "" {
			l.add(f, rule, value)
		}
	}
	l.validateMapping()
	if use != Offline && use != REST { // the metrics command writes the list
		l.loadEvents()
	}
	if !partial {
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
				must := r.must
				if r.hint != nil {
					must += r.hint(s)
				}
				return must, displayed(s)
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
// list, or the names in a mapping.
func (f field) texts() []string {
	switch x := f.v.Interface().(type) {
	case []string:
		return x
	case map[string][]string:
		return slices.Sorted(maps.Keys(x))
	case map[string]string:
		return slices.Sorted(maps.Keys(x))
	case map[string]Secret:
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
	l.validateFilters()
	l.require(l.c.LaunchDarkly.EventSchema != 4 || len(l.c.LaunchDarkly.Contexts) > 0, path,
		"must have at least one context kind for event_schema 4")
}

// validateFilters checks the conditions and the consent.
func (l *loader) validateFilters() {
	s := l.c.Segment
	topic := ""
	for i, c := range s.Only {
		rule := transform.Condition(c).Invalid()
		if rule == "" && c.Topic != "" && topic != "" && c.Topic != topic {
			rule = "must not name a second topic, because all conditions must hold"
		}
		topic = cmp.Or(topic, c.Topic)
		if rule == "" && c.Field != "" && !rules["path"].holds(strings.TrimPrefix(c.Field, "$.")) {
			rule = "field " + rules["path"].must
		}
		if rule != "" {
			l.add(l.fields["segment.only"], fmt.Sprintf("condition %d: %s", i+1, rule), "")
		}
	}
	l.require(len(s.Consent.Categories) == 0 || s.Consent.Missing != "", "segment.consent.missing",
		"must be send or drop if segment.consent.categories is set")
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
	l.validateOAuth(s)
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

func (l *loader) validateOAuth(s SASL) {
	const section = "kafka.sasl.oauth."
	o := s.OAuth
	used := false // whether any key of the section is set
	for _, f := range l.keys {
		own := strings.HasPrefix(f.path, section)
		if (own || f.path == "kafka.sasl.extensions") && f.v.Len() > 0 {
			l.require(s.Mechanism == "OAUTHBEARER", f.path, "must not be set unless kafka.sasl.mechanism is OAUTHBEARER")
			used = used || own
		}
	}
	for _, value := range s.Extensions {
		l.require(extensionValue.MatchString(value), "kafka.sasl.extensions",
			"each value must consist of visible ASCII characters, spaces, tabs, and line breaks")
	}
	if s.Mechanism != "OAUTHBEARER" {
		return
	}
	l.require(used || s.Token.IsSet(), "kafka.sasl.token",
		"must be set for OAUTHBEARER, inline or by token_file, unless kafka.sasl.oauth.token_url is set")
	if !used {
		return
	}
	l.require(!s.Token.IsSet(), "kafka.sasl.token", "must not be set together with kafka.sasl.oauth")
	l.require(o.TokenURL != "", section+"token_url", "must be set for kafka.sasl.oauth")
	l.require(o.ClientID != "", section+"client_id", "must be set for kafka.sasl.oauth")
	l.validateSecret(section+"client_secret", o.ClientSecret)
	l.require(!o.ClientSecret.IsSet() || o.AssertionFile == "", section+"assertion_file",
		"must not be set together with client_secret or client_secret_file")
	l.require(o.ClientSecret.IsSet() || o.AssertionFile != "", section+"client_secret",
		"must be set for kafka.sasl.oauth, inline or by client_secret_file, unless assertion_file is set")
}

func (l *loader) validateDelivery() {
	ld, d := l.c.LaunchDarkly, l.c.Delivery
	l.validateSecret("launchdarkly.access_token", ld.AccessToken)
	l.validateToken("launchdarkly.access_token", ld.AccessToken)
	l.validateSecret("launchdarkly.api_token", ld.APIToken)
	l.validateToken("launchdarkly.api_token", ld.APIToken)
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
	l.validateHeaders(ld)
	l.requireValue(d.MaxBuffered >= l.c.Batch.MaxBytes, "delivery.max_buffered",
		"must be at least batch.max_bytes ("+l.c.Batch.MaxBytes.String()+")")
	l.requireValue(d.BackoffMin <= d.BackoffMax, "delivery.backoff_min",
		"must be at most delivery.backoff_max ("+durationText(d.BackoffMax)+")")
	l.requireValue(d.DrainTimeout >= 0 && d.DrainTimeout < rebalanceTimeout, "delivery.drain_timeout",
		"must be at least 0s and less than 1m")
}

// validateHeaders checks that no header is set twice, and that each inline value is a single line.
func (l *loader) validateHeaders(ld LaunchDarkly) {
	seen := map[string]bool{"Authorization": ld.Endpoint == "metric_import"}
	for _, path := range []string{"launchdarkly.headers", "launchdarkly.header_files"} {
		for _, name := range l.fields[path].texts() {
			name = http.CanonicalHeaderKey(name)
			l.require(!seen[name], path, "must not set "+name+" a second time")
			seen[name] = true
		}
	}
	for _, value := range ld.Headers {
		l.require(isLine(value.Value), "launchdarkly.headers",
			"each value must be a single, non-empty line without control characters")
	}
}

// isLine reports whether s is a single line that is not empty and contains no control characters.
func isLine(s string) bool { return s != "" && !strings.ContainsFunc(s, unicode.IsControl) }

func (l *loader) validateSecret(path string, s Secret) {
	l.require(s.Value == "" || s.File == "", path, "must not be set together with "+path+"_file")
}

func (l *loader) validateToken(path string, s Secret) {
	if rule := tokenProblem(s.Value); rule != "" {
		l.add(l.fields[path], rule, "")
	}
}

// validateFiles reads every file named in the configuration, except for the token of the REST API,
// which the run command does not use.
func (l *loader) validateFiles() {
	var p Problem
	for _, f := range l.keys {
		if f.rule != "file" || text(f.v) == "" || f.path == "launchdarkly.api_token_file" {
			continue
		}
		if strings.HasSuffix(f.path, "ca_file") {
			if _, err := certPool(f.path, text(f.v)); errors.As(err, &p) {
				l.add(f, p.Rule, "")
			}
			continue
		}
		content, rule := readFile(text(f.v))
		if rule == "" && strings.HasSuffix(f.path, "token_file") {
			rule = tokenProblem(content)
		}
		if rule != "" {
			l.add(f, rule, "")
		}
	}
	headers := l.fields["launchdarkly.header_files"]
	for _, name := range headers.texts() {
		path := l.c.LaunchDarkly.HeaderFiles[name]
		content, rule := readFile(path)
		if rule == "" && !isLine(strings.TrimRight(content, "\r\n")) {
			rule = path + " must contain a single line without control characters"
		}
		if rule != "" {
			l.add(headers, rule, "")
		}
	}
	pair := l.c.Kafka.TLS
	pair.CAFile = "" // which is checked above
	if !slices.ContainsFunc(l.problems, func(p Problem) bool { return strings.HasPrefix(p.Key, "kafka.tls.") }) {
		if _, err := pair.config(); errors.As(err, &p) {
			l.add(l.fields[p.Key], p.Rule, "")
		}
	}
}

// readFile returns the content of a file, or the rule that it breaks: it must be readable and must
// not be empty.
func readFile(path string) (content, broken string) {
	b, err := os.ReadFile(path)
	switch {
	case err != nil:
		return "", unreadable(path, err)
	case len(bytes.TrimSpace(b)) == 0:
		return "", path + " is empty"
	}
	return string(b), ""
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
