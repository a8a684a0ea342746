package jsonscan_test

import (
	"fmt"

	"github.com/segment-to-launchdarkly/forwarder/transform/jsonscan"
)

func Example() {
	var paths jsonscan.Paths
	id := paths.Add("context", "device", "id")
	name := paths.Add("name")
	scanner := paths.Compile().NewScanner()

	for _, document := range []string{
		`{"name": "Jo\u00eb", "context": {"device": {"id": 7, "name": "phone"}}}`,
		`{"context": {"device": null}}`,
		`{"name": "Joë",}`,
	} {
		if _, err := scanner.Scan([]byte(document), nil); err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Printf("id %q, name %q\n", scanner.Bytes(id), scanner.Bytes(name))
		if raw := scanner.Bytes(name); raw != nil {
			fmt.Printf("hello, %s\n", scanner.Text(raw))
		}
	}
	// Output:
	// id "7", name "\"Jo\\u00eb\""
	// hello, Joë
	// id "", name ""
	// byte 16: not JSON
}

func ExampleScanner_Items() {
	var paths jsonscan.Paths
	batch, user := paths.Add("batch"), paths.Add("user")
	place, city := paths.Add("place"), paths.Add("place", "city")
	scanner := paths.Compile().NewScanner()

	document := `{"place": {"city": "Bern"}, "batch": ` +
		`[{"user": 1}, {"user": 2, "place": {"city": "Chur"}}, {"place": null}]}`
	if _, err := scanner.Scan([]byte(document), nil); err != nil {
		panic(err)
	}
	scanner.Items(batch, []*jsonscan.Field{place}, func(offset int, _ []byte) {
		fmt.Printf("byte %d: user %q in %q\n", offset, scanner.Bytes(user), scanner.Bytes(city))
	})
	// Output:
	// byte 38: user "1" in "\"Bern\""
	// byte 51: user "2" in "\"Chur\""
	// byte 91: user "" in ""
}
