package main

import "fmt"

// peakMemory is the forwarder's peak memory for one topic.
type peakMemory struct {
	Partitions int                `json:"partitions"`
	Records    int                `json:"records"`
	PeakMB     map[string]float64 `json:"peak_megabytes"` // by contender; median over the rounds
}

// memory measures the forwarder's peak memory with few and many partitions, and with a tenth of the
// records.
func (b *bench) memory() (all []peakMemory, err error) {
	for _, n := range []int{partitions, 64} {
		for _, records := range []int{max(b.records/10, 1), b.records} {
			b.say("memory: %d partitions, %d records", n, records)
			t, err := b.produce(fmt.Sprintf("bench-memory-%d-%d", n, records), n, records)
			if err != nil {
				return nil, err
			}
			m := peakMemory{n, records, map[string]float64{}}
			peaks := map[string][]float64{}
			for round := range b.rounds {
				for _, c := range b.contenders[1:] { // without the floor
					r, err := c.run(c, t, fmt.Sprint(t.name, round))
					switch {
					case err != nil:
						return nil, err
					case r.lost > 0:
						return nil, fmt.Errorf("the %s lost %d events or records", c.name, r.lost)
					}
					peaks[c.name] = append(peaks[c.name], float64(r.Peak)/1e6)
					m.PeakMB[c.name] = median(peaks[c.name])
				}
			}
			all = append(all, m)
		}
	}
	return all, nil
}
