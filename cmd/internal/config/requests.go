package config

// RequestRate returns the expected requests per second to LaunchDarkly for events that arrive
// independently of each other, at the given rate per second, in one partition. The first event of a
// batch opens it, and the batch collects more until it reaches MaxAge or MaxEvents. RequestRate
// disregards MaxBytes, retries, and splits.
func (b *Batch) RequestRate(events float64) float64 {
	return events / min(1+events*b.MaxAge.Seconds(), float64(b.MaxEvents))
}
