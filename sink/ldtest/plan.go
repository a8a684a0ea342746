package ldtest

import "math/rand/v2"

// plan describes the faults for future requests.
type plan struct {
	down   *Fault // fault for every request; nil if there is none
	script []Fault
	rng    *rand.Rand
	rate   float64
	faults []Fault // faults that rng draws from
	poison func(event []byte) bool
	limit  int // bodies of at least this many bytes are rejected
}

// takeNext returns the fault for the next request. If Down has set a fault, takeNext returns that
// fault. Otherwise, a request that delivers events gets the next scripted fault or, if the script
// is empty, possibly a random fault.
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

// Script appends faults to the script. Each POST to either endpoint consumes one fault. Script
// panics if a fault is invalid.
func (s *Server) Script(faults ...Fault) {
	mustBeValid(faults)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan.script = append(s.plan.script, faults...)
}

// Random makes each POST to either endpoint fail with the given probability, unless a scripted
// fault applies to it. Each fault is drawn from the given faults or, if there are none, from
// [TransientFaults]. The same seed produces the same sequence of faults. A rate of 0 disables
// random faults.
func (s *Server) Random(seed uint64, rate float64, faults ...Fault) {
	if len(faults) == 0 {
		faults = TransientFaults()
	}
	mustBeValid(faults)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan.rng, s.plan.rate, s.plan.faults = rand.New(rand.NewPCG(seed, 0)), rate, faults
}

// Poison makes the fake respond with 400 to every request that contains a matching event. Nil means
// that no event matches.
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
// Scripted faults are not consumed in the meantime.
func (s *Server) Down(fault Fault) {
	mustBeValid([]Fault{fault})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan.down = &fault
}

// Up ends the effect of [Server.Down].
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
