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
	event, calls := mapping.NewTransformer().Append(nil, nil, []byte(call), 1600000000000)
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
