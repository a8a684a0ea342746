package ldtest

import "math/rand/v2"

// plan holds the faults for future requests.
type plan struct {
	down   *Fault // if set, for every request
	script []Fault
	rng    *rand.Rand
	rate   float64
	faults []Fault // drawn from by rng
	poison func(event []byte) bool
	limit  int // size in bytes at which a body is rejected
}

// takeNext returns the fault for the next request. That is the fault of Down if there is one.
// Otherwise, if the request delivers events, it is the next one in the script, or else a random
// one.
func (p *plan) takeNext(delivers bool) Fault {
	switch {
	case p.down != nil:
		return *p.down
	case !delivers:
		return Fault{}
	case len(p.script) > 0:
		f := p.script[0]
		p.script = p.script[1:]
		return f
	case p.rate > 0 && p.rng.Float64() < p.rate:
		return p.faults[p.rng.IntN(len(p.faults))]
	}
	return Fault{}
}

// Script appends faults to the script. Each POST to either endpoint uses up one fault. Script
// panics if a fault is invalid.
func (s *Server) Script(faults ...Fault) {
	mustBeValid(faults)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan.script = append(s.plan.script, faults...)
}

// Random applies one of the faults, with probability rate, to each POST to either endpoint that has
// no scripted fault. If no faults are given, it uses [TransientFaults]. The same seed produces the
// same sequence of faults. Rate 0 disables random faults.
func (s *Server) Random(seed uint64, rate float64, faults ...Fault) {
	if len(faults) == 0 {
		faults = TransientFaults()
	}
	mustBeValid(faults)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan.rng, s.plan.rate, s.plan.faults = rand.New(rand.NewPCG(seed, 0)), rate, faults
}

// Poison makes the fake respond with 400 to every request that contains a matching event. Nil
// disables it.
func (s *Server) Poison(matches func(event []byte) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan.poison = matches
}

// Limit makes the fake respond with 413 to bodies of the given uncompressed size or larger. Zero
// restores Config.MaxBytes.
func (s *Server) Limit(bytes int) {
	if bytes == 0 {
		bytes = s.cfg.MaxBytes
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan.limit = bytes
}

// Down applies the fault to every request, regardless of its path, until [Server.Up] is called.
// Scripted faults are not used up meanwhile.
func (s *Server) Down(fault Fault) {
	mustBeValid([]Fault{fault})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan.down = &fault
}

// Up ends [Server.Down].
func (s *Server) Up() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan.down = nil
}

func mustBeValid(faults []Fault) {
	for _, f := range faults {
		if err := f.validate(); err != nil {
			panic(err)
		}
	}
}
