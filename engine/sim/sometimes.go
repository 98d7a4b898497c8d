package sim

import "github.com/claudefs/repl/engine/sim/plan"

// sometimes is the hook that the site's rooms get; nil where no point is awake.
func (s *site) sometimes() func(string) bool {
	awake := s.plan().Sometimes
	if awake == 0 {
		return nil
	}
	return func(point string) bool {
		for i := range plan.Points {
			if plan.Points[i].Name != point {
				continue
			}
			if awake>>i&1 == 0 || !s.rare.OneIn(plan.Points[i].OneIn) {
				return false
			}
			s.w.mark(plan.Points[i].Mark)
			return true
		}
		return false
	}
}
