package transform_test

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/segment-to-launchdarkly/forwarder/transform"
)

func ExampleCompile() {
	mapping, err := transform.Compile(transform.Config{
		Schema: 4,
		Contexts: map[string][]string{
			"user":   {"userId", "anonymousId"},
			"device": {"context.device.id"},
		},
		MetricValue: []string{"properties.revenue", "properties.value"},
	})
	if err != nil {
		panic(err)
	}

	call := `{"type":"track","event":"Signed Up","anonymousId":"a-1",` +
		`"context":{"device":{"id":"d-7"}},"properties":{"value":5}}`
	record := transform.Record{Value: []byte(call), Timestamp: 1_600_000_000_000}
	event, calls := mapping.NewTransformer().Append(nil, nil, record)
	fmt.Println(calls[0].Reason.Outcome())
	var indented bytes.Buffer
	if err := json.Indent(&indented, bytes.TrimSuffix(event, []byte(",")), "", "  "); err != nil {
		panic(err)
	}
	fmt.Println(&indented)
	// Output:
	// event
	// {
	//   "kind": "custom",
	//   "key": "Signed Up",
	//   "contextKeys": {
	//     "device": "d-7",
	//     "user": "a-1"
	//   },
	//   "creationDate": 1600000000000,
	//   "metricValue": 5,
	//   "data": {
	//     "value": 5
	//   }
	// }
}

func ExampleCompile_invalid() {
	_, err := transform.Compile(transform.Config{Schema: 2, MetricValue: []string{"properties..value"}})
	fmt.Println(err)
	// Output:
	// metric_value: must be a dotted path, got "properties..value"
	// event_schema: must be 3 or 4, got 2
}

// Unwrap finds the calls in envelopes that UnwrapAuto does not know, such as Debezium's.
func ExampleConfig_unwrap() {
	mapping, err := transform.Compile(transform.Config{Schema: 3, Unwrap: []string{"payload.after", "after"}})
	if err != nil {
		panic(err)
	}
	transformer := mapping.NewTransformer()
	for _, record := range []string{
		`{"payload":{"op":"c","after":{"type":"track","event":"Signed Up","userId":"u-1"}}}`,
		`{"op":"c","after":"{\"type\":\"track\",\"event\":\"Ordered\",\"userId\":\"u-2\"}"}`,
		`{"type":"track","event":"Not wrapped","userId":"u-3"}`,
		`{"op":"d","after":null}`,
	} {
		for _, call := range transformer.Explain(transform.Record{Value: []byte(record), Timestamp: 1_592_588_370_692}) {
			fmt.Println(call.Reason.Outcome(), call.Reason, string(call.Event))
		}
	}
	// Output:
	// event  {"kind":"custom","key":"Signed Up","userKey":"u-1","creationDate":1592588370692,"data":{}}
	// event  {"kind":"custom","key":"Ordered","userKey":"u-2","creationDate":1592588370692,"data":{}}
	// event  {"kind":"custom","key":"Not wrapped","userKey":"u-3","creationDate":1592588370692,"data":{}}
	// filtered tombstone
}
