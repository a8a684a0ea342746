//go:build linux

package chaos

import "time"

// pulse measures how late this process gets the processor. On a machine that is overloaded, members miss heartbeats
// through no fault of theirs, and nothing that is about time can be judged.
type pulse struct {
	end  chan struct{}
	late chan time.Duration
}

const (
	pulseEvery = 20 * time.Millisecond
	pulseLimit = 300 * time.Millisecond
)

func watchPulse() *pulse {
	p := &pulse{make(chan struct{}), make(chan time.Duration)}
	go func() {
		var latest time.Duration
		for {
			due := time.Now().Add(pulseEvery)
			select {
			case <-time.After(pulseEvery):
				latest = max(latest, time.Since(due))
			case <-p.end:
				p.late <- latest
				return
			}
		}
	}()
	return p
}

// stop returns by how much the latest beat was late.
func (p *pulse) stop() time.Duration {
	close(p.end)
	return <-p.late
}
