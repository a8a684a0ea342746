package consumer

import (
	"testing"
	"time"
)

func TestEveryTrackCallIsDeliveredOnceAndCommitted(t *testing.T) {
	inWorld(t, 6, func(w *world) {
		w.produce(1000, nil)
		m := w.join(nil)
		w.settled(time.Minute)
		w.produce(1000, nil)
		w.settled(time.Minute)
		m.leave(t)
		if got := w.committed(); got != 2000 {
			t.Errorf("committed %d offsets of 2000", got)
		}
		if n := w.sentTwice(); n > 0 {
			t.Errorf("%d requests sent twice", n)
		}
	})
}
