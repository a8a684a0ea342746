package ldtest

import "math/rand/v2"

// plan is which faults are to come.
type plan struct {
	down   *Fault // for every request, while set
	script []Fault
	rng    *rand.Rand
	rate   float64
	faults []Fault // what rng draws from
	poison func(event []byte) bool
	limit  int // bytes from which on a body is refused
}

// next returns the fault for the request that has just arrived: Down's, else, if
// it delivers to a door, the script's next, else one drawn at random.
func (p *plan) next(delivers bool) Fault {
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

// Script adds faults that are used up in order, one a POST to either door.
// It panics on a fault that makes no sense.
func (s *Server) Script(faults ...Fault) {
	mustBeValid(faults)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan.script = append(s.plan.script, faults...)
}

// Random gives each request that meets no scripted fault, with probability rate,
// one of the faults ([Passing], if none are named). The seed fixes the sequence
// over the order of arrival. Rate 0 ends it.
func (s *Server) Random(seed uint64, rate float64, faults ...Fault) {
	if len(faults) == 0 {
		faults = Passing()
	}
	mustBeValid(faults)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan.rng, s.plan.rate, s.plan.faults = rand.New(rand.NewPCG(seed, 0)), rate, faults
}

// Poison refuses with 400, and without effect, every request with an event that
// matches. Nil ends it.
func (s *Server) Poison(matches func(event []byte) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan.poison = matches
}

// Limit refuses with 413 bodies of so many bytes, uncompressed, or more. 0 sets
// it back to Config.MaxBytes.
func (s *Server) Limit(bytes int) {
	if bytes == 0 {
		bytes = s.cfg.MaxBytes
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan.limit = bytes
}

// Down does the fault to every request, whatever it asks for, until [Server.Up].
// Scripted faults wait.
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
