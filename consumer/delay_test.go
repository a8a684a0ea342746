package consumer

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segment-to-launchdarkly/forwarder/sink/ldtest"
)

// A batch's age begins when its first event is read. Its delay begins at the timestamp of its
// oldest record with events. Earlier records without events do not count.
func TestDelayIsMeasuredOncePerBatch(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.produce(1, page)
		time.Sleep(time.Hour)
		produced := time.Now()
		w.produce(1, nil)
		time.Sleep(10 * time.Minute)
		w.produce(1, nil)
		w.ld.Down(ldtest.Fault{Status: 503})
		m := w.join(nil)
		time.Sleep(30 * time.Second)
		if age := m.gauges(t)[prefix+"oldest_batch_age_seconds"]; age < 20 || age > 30 {
			t.Errorf("age of the oldest batch: %v s, want about 30 s since the first event was read", age)
		}
		w.ld.Up()
		w.awaitDelivered(5 * time.Minute)
		delay := time.Since(produced).Seconds()
		synctest.Wait()
		families, err := m.reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() != prefix+"delivery_delay_seconds" {
				continue
			}
			h := f.GetMetric()[0].GetHistogram()
			if h.GetSampleCount() != 1 || math.Abs(h.GetSampleSum()-delay) > 60 {
				t.Errorf("%d delays of %v s in total, want one of about %v s", h.GetSampleCount(), h.GetSampleSum(), delay)
			}
		}
		m.leave(t)
	})
}
