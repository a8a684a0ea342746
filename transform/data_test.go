package transform

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// member generates a member of a JSON object: its name and its text.
var member = rapid.Custom(func(t *rapid.T) (m struct{ name, text string }) {
	m.name = rapid.SampledFrom([]string{"a", "b", "value", "ä\"", "", "long name with blanks", "\u0000"}).Draw(t, "name")
	name := string(must1(json.Marshal(m.name)))
	if m.name == "value" && rapid.Bool().Draw(t, "escaped") {
		name = `"v\u0061lue"`
	}
	space := rapid.SampledFrom([]string{"", " ", "\n\t"})
	value := rapid.SampledFrom([]string{
		`1`, `-2.50e+3`, `"x"`, `"}\",{"`, `true`, `false`, `null`, `{}`, `[]`, `{"a":[1,{"b":null}]}`, `[ "a" , {} ]`,
	}).Draw(t, "value")
	m.text = name + space.Draw(t, "before the colon") + ":" + space.Draw(t, "after the colon") + value
	return m
})

func TestDataContainsTheSelectedPropertiesVerbatim(t *testing.T) {
	names := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "value", "ä\"", "", "absent"}), 0, 3)
	rapid.Check(t, func(t *rapid.T) {
		data := Data{names.Draw(t, "only"), names.Draw(t, "except"), rapid.Bool().Draw(t, "scalars only")}
		members := rapid.SliceOfN(member, 0, 6).Draw(t, "members")
		separator := rapid.SampledFrom([]string{",", " , ", "\n,"}).Draw(t, "separator")
		var all, selected []string
		values := map[string]any{} // decoded by encoding/json, if no name is repeated
		repeated := false
		for _, m := range members {
			all = append(all, m.text)
			var decoded map[string]any
			must(json.Unmarshal([]byte("{"+m.text+"}"), &decoded))
			_, isObject := decoded[m.name].(map[string]any)
			_, isArray := decoded[m.name].([]any)
			switch {
			case len(data.Only) > 0 && !slices.Contains(data.Only, m.name), slices.Contains(data.Except, m.name):
			case data.ScalarsOnly && (isObject || isArray || decoded[m.name] == nil):
			default:
				selected = append(selected, m.text)
				_, seen := values[m.name]
				repeated = repeated || seen
				values[m.name] = decoded[m.name]
			}
		}
		properties := "{" + strings.Join(all, separator) + "}"
		call := `{"type":"track","event":"E","userId":"u","properties":` + properties + `}`
		event, calls := newTransformer(Config{Schema: 3, MetricValue: []string{"properties.value"}, Data: data}).
			Append(nil, nil, recordAt([]byte(call), recordTimestamp))
		if len(calls) != 1 || calls[0].Reason != None {
			t.Fatalf("%s: %v", call, calls)
		}
		_, got, _ := strings.Cut(strings.TrimSuffix(string(event), "},"), `"data":`)
		if want := "{" + strings.Join(selected, ",") + "}"; len(data.Only)+len(data.Except) > 0 || data.ScalarsOnly {
			if got != want {
				t.Fatalf("%+v, %s:\n%s, want\n%s", data, properties, got, want)
			}
		} else if got != properties {
			t.Fatalf("%s: %s", properties, got)
		}
		var decoded map[string]any
		must(json.Unmarshal([]byte(got), &decoded))
		if !repeated && !reflect.DeepEqual(decoded, values) {
			t.Fatalf("%+v, %s: %v, want %v", data, properties, decoded, values)
		}
	})
}
