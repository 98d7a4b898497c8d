package plan

import (
	"cmp"
	"slices"
	"time"

	"github.com/claudefs/repl/engine/node"
)

// drawLoss takes a standby away in a third of the worlds of three sites. Where the
// primary loses what it had, or bits flip in it, each standby may hold a last copy.
func (p *Plan) drawLoss(s Stream) {
	if p.SiteCount < 3 || !s.OneIn(3) {
		return
	}
	f := Item{
		At: s.Between(p.Duration/4, p.Duration), Kind: Lose, Site: 1 + s.IntN(p.SiteCount-1), Draw: s.Uint64(),
	}
	if s.OneIn(2) {
		f.Kind = CutOff
	}
	if !slices.ContainsFunc(p.Items, func(f Item) bool { return f.Kind.takesOwnData() }) {
		p.Items = append(p.Items, f)
	}
}

// drawClone clones standbys in an eighth of the worlds, where nobody else loses what
// he had: else two could take the last copy of an entry.
func (p *Plan) drawClone(s Stream) {
	loses := func(f Item) bool { return f.Kind.takesOwnData() || f.Kind.takesDisk() }
	if s.OneIn(16) && p.SiteCount == 2 && !p.HostLog {
		p.drawFork(s)
		return
	}
	if !s.OneIn(8) || slices.ContainsFunc(p.Items, loses) {
		return
	}
	for range 1 + s.IntN(3) {
		p.Items = append(p.Items, Item{
			At: s.Between(p.Duration/20, p.Duration*3/4), Kind: Clone, Site: 1 + s.IntN(p.SiteCount-1),
			Span: s.Between(100*time.Millisecond, 6*time.Second), Draw: s.Uint64(),
		})
	}
	p.Retain = false
}

// drawFork clones the primary, once, and its original takes appends meanwhile. Nothing
// else harms the media of that world.
func (p *Plan) drawFork(s Stream) {
	p.Items = slices.DeleteFunc(p.Items, func(f Item) bool { return f.Kind == Unconfigure || f.Kind.harmsMedia() })
	p.Items = append(p.Items, Item{
		At: s.Between(p.Duration/20, p.Duration/2), Kind: Clone, Site: 0,
		Span: s.Between(time.Second, 8*time.Second), Draw: s.Uint64(),
	})
	p.Retain = false
	p.VerifyWait = min(p.VerifyWait, 4*time.Second) // not an hour
}

// drawFounding turns half of the losses of whole disks into these.
func (p *Plan) drawFounding(s Stream) {
	for i := range p.Items {
		switch f := &p.Items[i]; {
		case f.Kind == WipePrimary && s.OneIn(2):
			f.Kind = LoseOwn
		case f.Kind == WipeStandby && s.OneIn(2):
			f.Kind = Usurp
		}
	}
}

// drawMedia draws it apart from the other faults. Heads are struck in worlds without
// other harm to media, in which segments go round: then only heads say where idle logs
// stand and who the peers are.
func (p *Plan) drawMedia(s Stream) {
	add := func(kind Kind, count int) {
		for range count {
			f := p.drawFault(kind, s)
			p.Items = append(p.Items, f)
			if kind == CopyBack { // what the opening did not flush goes then
				cut := p.drawFault(Power, s)
				cut.Site, cut.Phase = f.Site, PhaseAny
				cut.At = f.At + f.Span + s.Between(time.Second, 3*time.Second)
				p.Items = append(p.Items, cut)
			}
		}
	}
	harmed := slices.ContainsFunc(p.Items, func(f Item) bool { return f.Kind.harmsMedia() })
	if !harmed && s.OneIn(2) {
		add(HeadFlip, 2+s.IntN(8))
	}
	if s.OneIn(4) {
		add(NoFiles, 1+s.IntN(4))
	}
	if s.OneIn(4) {
		add(CopyBack, 1+s.IntN(2))
	}
}

// drawEpochs has the writer begin new epochs, in some of the worlds whose media nothing harms
// and whose sites stay: nothing becomes an orphan then, and every entry keeps its place. A host
// with a log of its own is left out: it reads its own entries.
func (p *Plan) drawEpochs(s Stream) {
	apart := func(f Item) bool {
		switch f.Kind {
		case Lose, CutOff, CopyBack, HeadFlip, Unconfigure:
			return true
		}
		return f.Kind.harmsMedia()
	}
	if p.HostLog {
		return
	}
	if s.OneIn(5) {
		p.Items = slices.DeleteFunc(p.Items, apart)
		p.drawMoves(s)
		return
	}
	if slices.ContainsFunc(p.Items, apart) {
		return
	}
	for range 1 + s.IntN(6) {
		f := p.drawFault(NewEpoch, s)
		f.Site = 0
		p.Items = append(p.Items, f)
	}
}

// drawMoves has an operator move the writer between sites, sometimes on both sides of a cut.
// Segments stay: orphans and Stores past an end would need what was given back.
func (p *Plan) drawMoves(s Stream) {
	p.Moves, p.Retain = true, false
	p.VerifyWait = min(p.VerifyWait, 4*time.Second) // not an hour
	for range 1 + s.IntN(5) {
		f := p.drawFault([]Kind{Switchover, Switchover, Promote}[s.IntN(3)], s)
		p.Items = append(p.Items, f)
		if f.Kind != Promote || s.OneIn(3) {
			continue
		}
		cut := p.drawFault(CutBoth, s)
		cut.At, cut.Site, cut.Span = f.At-s.Between(0, time.Second), f.Site, s.Between(time.Second, 6*time.Second)
		p.Items = append(p.Items, cut)
		if s.OneIn(2) {
			back := p.drawFault(Promote, s)
			back.At = f.At + s.Between(0, 2*time.Second)
			p.Items = append(p.Items, back)
		}
	}
}

// drawMembers has the third site join late in most worlds in which no site loses what it had, and
// go and come back in some: then it is sometimes new. Its operators do nothing else meanwhile, and
// nothing is given back that a new site needs.
func (p *Plan) drawMembers(s Stream) {
	loses := func(f Item) bool {
		return f.Kind.takesOwnData() || f.Kind.takesDisk() || f.Kind == Clone || f.Kind == Lose ||
			f.Kind == CutOff || f.Kind == NewEpoch
	}
	if p.SiteCount < 3 || p.Moves || s.OneIn(4) || slices.ContainsFunc(p.Items, loses) {
		return
	}
	p.Items = slices.DeleteFunc(p.Items, func(f Item) bool { return f.Kind == Unconfigure })
	p.Retain = false
	at := s.Between(p.Duration/20, p.Duration/3)
	if s.OneIn(4) {
		at = 0 // it is there from the beginning
	} else {
		p.Items = append(p.Items, Item{At: at, Kind: TakeIn, Site: ThirdSite, Draw: s.Uint64()})
	}
	for range s.IntN(3) {
		at += s.Between(time.Second, 12*time.Second)
		p.Items = append(p.Items, Item{At: at, Kind: Dismiss, Site: ThirdSite, Draw: s.Uint64()})
		if at += s.Between(50*time.Millisecond, 6*time.Second); s.OneIn(4) {
			return // it stays away
		}
		p.Items = append(p.Items, Item{
			At: at, Kind: TakeIn, Site: ThirdSite, Span: s.Between(20*time.Millisecond, time.Second), Draw: s.Uint64(),
		})
	}
}

// Patience is what silence it takes to end a link.
func (p *Plan) Patience() time.Duration {
	return cmp.Or(p.HeartbeatTimeout, node.HeartbeatTimeoutDefault)
}

// drawPatterns strikes with a random half of the patterns. In a third of the
// worlds links end after a shorter silence, so that more of them do.
func (p *Plan) drawPatterns(s Stream) {
	if s.OneIn(3) {
		p.HeartbeatTimeout = s.Between(600*time.Millisecond, 2*time.Second)
		p.HeartbeatEvery = p.HeartbeatTimeout / time.Duration(2+s.IntN(12))
	}
	timeout := p.Patience()
	for k := Isolate; k <= Flap; k++ {
		strikes := 1 + s.IntN(3)
		if s.OneIn(2) || p.SiteCount == 2 && k <= IsolateOut {
			continue
		}
		if k == Flap {
			strikes = 1
		}
		for range strikes {
			f := Item{
				At: s.Between(p.Duration/50, p.Duration), Kind: k, Site: s.IntN(p.SiteCount),
				Span: s.Between(50*time.Millisecond, 3*time.Second), Draw: s.Uint64(),
			}
			if k == Flap {
				f.Span, f.Count = s.Between(timeout*3/4, timeout*5/4), 2+s.IntN(3)
			}
			p.Items = append(p.Items, f)
		}
	}
}
