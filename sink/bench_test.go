package sink

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// benchmarkEvents holds 1,000 events of about 400 bytes, as rendered by the transform, with values
// that vary like real ones.
var benchmarkEvents = func() (events [][]byte) {
	random := rand.New(rand.NewPCG(1, 2))
	names := []string{"Order Completed", "Product Viewed", "Product Added", "Checkout Started", "Signed Up"}
	for i := range 1000 {
		events = append(events, fmt.Appendf(nil,
			`{"kind":"custom","key":%q,"userKey":"%016x","creationDate":%d,"metricValue":%d.%02d,`+
				`"data":{"order_id":"%016x","currency":"USD","value":%[4]d.%02[5]d,`+
				`"products":[{"product_id":"%08[7]x","sku":"G-%[8]d","name":"Monopoly: 3rd Edition","price":19,`+
				`"quantity":%[9]d,"category":"Games"}],`+
				`"coupon":"hasbros","affiliation":"Google Store","path":"/checkout/%[10]d"}},`,
			names[random.IntN(len(names))], random.Uint64(), 1592588370692+int64(i)*731, random.IntN(500),
			random.IntN(100), random.Uint64(), random.Uint32(), random.IntN(1e6), random.IntN(9), random.IntN(1e5)))
	}
	return events
}()

// renderInto copies the events into a buffer, one per record, and returns the length of the body.
func renderInto(buffer *Buffer, now time.Time) (length int) {
	for i, e := range benchmarkEvents {
		buffer.Extend(append(buffer.Bytes(), e...), 1, int64(i), now)
	}
	return buffer.Len()
}

func BenchmarkExtend(b *testing.B) {
	buffer, now := NewBuffer(1000, 1<<20), time.Now()
	b.ReportAllocs()
	for b.Loop() {
		b.SetBytes(int64(renderInto(buffer, now)))
		buffer.Reset()
	}
}

// BenchmarkSeal measures Extend and Seal together, which is the cost of a batch for the partition's
// goroutine, without the transform.
func BenchmarkSeal(b *testing.B) {
	for _, compress := range []bool{false, true} {
		b.Run(fmt.Sprintf("gzip=%v", compress), func(b *testing.B) {
			buffer, now := NewBuffer(1000, 1<<20), time.Now()
			b.ReportAllocs()
			var sent int
			for b.Loop() {
				b.SetBytes(int64(renderInto(buffer, now)))
				sent = len(buffer.Seal(Source{}, 0, 0, 1000, compress).whole.body)
			}
			b.ReportMetric(float64(sent), "sent-B")
		})
	}
}

func BenchmarkGzip(b *testing.B) {
	buffer := NewBuffer(1000, 1<<20)
	renderInto(buffer, time.Now())
	raw := buffer.Bytes()
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		deflate(raw)
	}
}

func BenchmarkPayloadID(b *testing.B) {
	batch, destination := sample()
	b.ReportAllocs()
	for b.Loop() {
		batch.payloadID(&batch.whole, destination)
	}
}
