package transform

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// reference maps one record by the same rules as Transformer. It is a simple implementation on top
// of encoding/json, which validates, unescapes names, and keeps the last value of a repeated name.
// The tests require that both agree.
type reference struct {
	cfg  Config
	dst  []byte
	made []Call
}

func (r *reference) append(value []byte, timestamp int64) ([]byte, []Call) {
	if value == nil {
		r.skip(Tombstone)
		return r.dst, r.made
	}
	if len(value) >= 5 && value[0] == 0 {
		value = value[5:]
	}
	if !utf8.Valid(value) || !json.Valid(value) {
		r.skip(Malformed)
		return r.dst, r.made
	}
	switch kind(value) {
	case '[':
		r.calls(value, nil, timestamp)
	case '{':
		call := object(value)
		if call["type"] == nil && kind(call["batch"]) == '[' {
			r.calls(call["batch"], call, timestamp)
		} else {
			r.call(call, timestamp)
		}
	default:
		r.skip(Malformed)
	}
	return r.dst, r.made
}

func (r *reference) calls(array []byte, batch map[string]json.RawMessage, timestamp int64) {
	var items []json.RawMessage
	must(json.Unmarshal(array, &items))
	if len(items) == 0 {
		r.skip(NoCalls)
	}
	for _, item := range items {
		if kind(item) != '{' {
			r.skip(Malformed)
			continue
		}
		call := object(item)
		for _, name := range []string{"context", "integrations"} {
			if call[name] == nil && batch[name] != nil {
				call[name] = batch[name]
			}
		}
		r.call(call, timestamp)
	}
}

func (r *reference) skip(reason Reason) {
	r.made = append(r.made, Call{Reason: reason, End: len(r.dst)})
}

func (r *reference) call(call map[string]json.RawMessage, timestamp int64) {
	if kind(call["type"]) != '"' || !asciiEqualFold(text(call["type"]), "track") {
		r.skip(NotTrack)
		return
	}
	if r.cfg.HonorIntegrations && !r.enabled(call["integrations"]) {
		r.skip(Integrations)
		return
	}
	name := key(call["event"])
	if name == "" {
		r.skip(NoEventName)
		return
	}
	keys := r.keys(call)
	if keys == "" {
		r.skip(NoUserKey)
		return
	}
	at := timestamp
	for _, field := range []string{"sentAt", "originalTimestamp", "receivedAt", "timestamp"} {
		if ms := readTime(call[field]); ms > 0 {
			at = ms
		}
	}
	if at <= 0 {
		r.skip(NoTimestamp)
		return
	}
	properties := call["properties"]
	switch kind(properties) {
	case 0, 'n':
		properties = json.RawMessage("{}")
	case '{':
	default:
		r.skip(PropertiesNotObject)
		return
	}
	event := `{"kind":"custom","key":` + name + `,` + keys + `,"creationDate":` + strconv.FormatInt(at, 10)
	for _, path := range r.cfg.MetricValue {
		if value := metricValue(follow(call, path)); value != "" {
			event += `,"metricValue":` + value
			break
		}
	}
	event += `,"data":` + string(properties) + `}`
	if r.cfg.MaxEventBytes > 0 && len(event) > r.cfg.MaxEventBytes {
		r.skip(TooLarge)
		return
	}
	r.dst = append(r.dst, event+","...)
	r.made = append(r.made, Call{End: len(r.dst)})
}

// keys renders userKey or contextKeys. It returns "" if there is no key.
func (r *reference) keys(call map[string]json.RawMessage) string {
	if r.cfg.Schema == 3 {
		for _, field := range []string{"userId", "anonymousId"} {
			if k := key(call[field]); k != "" {
				return `"userKey":` + k
			}
		}
		return ""
	}
	var keys []string
	for _, kind := range slices.Sorted(maps.Keys(r.cfg.Contexts)) {
		for _, path := range r.cfg.Contexts[kind] {
			if k := key(follow(call, path)); k != "" {
				keys = append(keys, `"`+kind+`":`+k)
				break
			}
		}
	}
	if keys == nil {
		return ""
	}
	return `"contextKeys":{` + strings.Join(keys, ",") + `}`
}

func (r *reference) enabled(integrations json.RawMessage) bool {
	if kind(integrations) != '{' {
		return true
	}
	names := object(integrations)
	for _, name := range r.cfg.IntegrationNames {
		if setting := names[name]; setting != nil {
			return string(setting) != "false"
		}
	}
	// All can be in any letter case, and the last one counts. A map does not keep their order, so the
	// names are decoded again in order.
	send := true
	d := json.NewDecoder(bytes.NewReader(integrations))
	must1(d.Token())
	for d.More() {
		name := must1(d.Token()).(string)
		var setting json.RawMessage
		must(d.Decode(&setting))
		if asciiEqualFold(name, "all") {
			send = string(setting) != "false"
		}
	}
	return send
}

// key renders a non-empty string or a number as a string. It returns "" for anything else.
func key(value json.RawMessage) string {
	switch c := kind(value); {
	case c == '"' && text(value) != "":
		return string(value)
	case c == '0':
		return `"` + string(value) + `"`
	}
	return ""
}

func metricValue(value json.RawMessage) string {
	number := string(value)
	if kind(value) == '"' {
		number = text(value)
	}
	if !regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`).MatchString(number) {
		return ""
	}
	if f, _ := strconv.ParseFloat(number, 64); math.IsInf(f, 0) {
		return ""
	}
	return number
}

var dateShape = regexp.MustCompile(`^\d{4}-\d\d-\d\d([Tt ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?` +
	`([Zz]|[-+]([01]\d|2[0-3]):?[0-5]\d)?)?$`)

// readTime returns Unix milliseconds. The result is 0 or less if value is not a readable time.
func readTime(value json.RawMessage) int64 {
	number := string(value)
	switch kind(value) {
	case '"':
		number = text(value)
		if dateShape.MatchString(number) {
			return parseDate(strings.ToUpper(number))
		}
		if !regexp.MustCompile(`^[0-9]+$`).MatchString(number) {
			return 0
		}
	case '0':
	default:
		return 0
	}
	if i := strings.IndexAny(number, "eE"); i >= 0 { // big.Rat would expand a huge exponent
		if exponent, err := strconv.Atoi(number[i+1:]); err != nil || max(exponent, -exponent) > 10_000 {
			return 0
		}
	}
	n, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0
	}
	if n.Cmp(big.NewRat(31_557_600_000, 1)) < 0 {
		n.Mul(n, big.NewRat(1000, 1))
	}
	ms := new(big.Int).Quo(n.Num(), n.Denom())
	if ms.Sign() <= 0 || ms.Cmp(big.NewInt(8_640_000_000_000_000)) > 0 {
		return 0
	}
	return ms.Int64()
}

func parseDate(s string) int64 {
	s = strings.Replace(s, " ", "T", 1)
	for _, layout := range []string{time.DateOnly, "2006-01-02T15:04", "2006-01-02T15:04:05"} {
		for _, offset := range []string{"", "Z07:00", "Z0700"} {
			if at, err := time.Parse(layout+offset, s); err == nil {
				return at.UnixMilli()
			}
		}
	}
	return 0 // the month does not have that day
}

// follow returns the value at a dotted path, or nil.
func follow(call map[string]json.RawMessage, path string) json.RawMessage {
	name, rest, nested := strings.Cut(path, ".")
	value := call[name]
	if !nested {
		return value
	}
	if kind(value) != '{' {
		return nil
	}
	return follow(object(value), rest)
}

// kind returns the first byte of a value: '{' '[' '"' 't' 'f' 'n', '0' for any number, or 0 if
// value is nil.
func kind(value json.RawMessage) byte {
	value = bytes.TrimLeft(value, " \t\r\n")
	if len(value) == 0 {
		return 0
	}
	if strings.IndexByte("-0123456789", value[0]) >= 0 {
		return '0'
	}
	return value[0]
}

func object(value json.RawMessage) (names map[string]json.RawMessage) {
	must(json.Unmarshal(value, &names))
	return names
}

func text(value json.RawMessage) (s string) {
	must(json.Unmarshal(value, &s))
	return s
}

// asciiEqualFold is like strings.EqualFold, but does not match letters outside ASCII, such as the
// Kelvin sign, with ASCII letters.
func asciiEqualFold(a, b string) bool {
	return len(a) == len(b) && strings.EqualFold(a, b)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func must1[T any](v T, err error) T {
	must(err)
	return v
}
