package link

// Spinner decides whether a receiver looks on before it sleeps. Where looking was
// in vain, the next times are left out, twice as many each time, up to 1,024; one
// that was not makes up for all. The zero Spinner looks. For one goroutine.
type Spinner struct{ skip, skips int }

const spinSkipsMax = 1 << 10

// Worth says whether to look this time; if so, Done follows.
func (s *Spinner) Worth() bool {
	if s.skip > 0 {
		s.skip--
		return false
	}
	return true
}

// Done says whether looking found what it looked for.
func (s *Spinner) Done(found bool) {
	if found {
		s.skips = 0
	} else {
		s.skips = min(max(1, 2*s.skips), spinSkipsMax)
	}
	s.skip = s.skips
}
