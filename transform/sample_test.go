package transform

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// sample generates n calls whose sizes and shapes are typical in practice. The median size is 0.8
// KB, and three in five are track calls.
func sample(n int) (records [][]byte) {
	r := rand.New(rand.NewPCG(1, 2))
	id := func() string {
		return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x",
			r.Uint32(), r.IntN(1<<16), r.IntN(1<<12), r.IntN(1<<12), r.Int64N(1<<48))
	}
	for i := range n {
		typ := "track"
		if r.IntN(5) >= 3 {
			typ = []string{"identify", "page", "screen", "group"}[r.IntN(4)]
		}
		var b strings.Builder
		fmt.Fprintf(&b, `{"type":%q,"messageId":"ajs-%s","anonymousId":%q,"userId":"user-%d",`+
			`"event":"Order Completed","channel":"client",`, typ, id(), id(), r.IntN(10_000))
		fmt.Fprintf(&b, `"context":{"ip":"203.0.113.%d",`+
			`"library":{"name":"analytics.js","version":"2.11.1"},"locale":"de-CH",`+
			`"page":{"path":"/checkout","referrer":"","search":"?step=3","title":"Übersicht – Checkout",`+
			`"url":"https://shop.example.com/checkout?step=3"},`+
			`"userAgent":"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 `+
			`(KHTML, like Gecko) Chrome/118.0.0.0 Safari/537.36"},`, r.IntN(256))
		fmt.Fprintf(&b, `"integrations":{"All":true,"Mixpanel":false},`+
			`"properties":{"order_id":%q,"value":%d.%02d,"currency":"EUR","products":[`,
			id(), r.IntN(500), r.IntN(100))
		for j := range int(r.ExpFloat64() * 2) {
			if j > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `{"product_id":%q,"sku":"G-%d","name":"Monopoly: 3rd Edition","price":%d,`+
				`"quantity":1,"category":"Games"}`, id(), i, r.IntN(100))
		}
		fmt.Fprintf(&b, `]},"receivedAt":"2020-06-19T17:39:31.%03dZ","sentAt":"2020-06-19T17:39:30.%03dZ",`+
			`"timestamp":"2020-06-19T17:39:30.%03dZ"}`, r.IntN(1000), r.IntN(1000), r.IntN(1000))
		records = append(records, []byte(b.String()))
	}
	return records
}

func TestGeneratedCallsMapAsInTheReference(t *testing.T) {
	for _, record := range sample(500) {
		requireSame(t, record, 1)
	}
}
