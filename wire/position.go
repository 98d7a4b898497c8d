package wire

import "fmt"

// Positions are compared here and nowhere else: seqs count within one incarnation, so
// seqs of two incarnations say nothing about each other. Of two positions of a log:
//
//	                            Order of p to q       p.Covers(q)
//	both zero                   OrderLevel            yes
//	p zero                      OrderBefore           no
//	q zero                      OrderAfter            yes
//	one incarnation             by seq                from q's seq on
//	others, p's epoch above     OrderAfter            yes: a START opens behind what it names
//	others, p's epoch below     OrderBefore           no
//	others, an epoch not known  OrderUnknown          no
//
// How far is not which history: at equal seqs the chains tell (I4). Of a position and a
// batch of its log, see Fit.

// Position is the end of a batch. Equal seq and chain mean equal history. The
// zero Position is "before the first batch of an unknown incarnation".
type Position struct {
	Incarnation Incarnation
	Seq         Seq
	Chain       Chain
}

func (p Position) String() string {
	return fmt.Sprintf("%s:%d:%s", p.Incarnation, p.Seq, p.Chain)
}

// Cursor is how far one log has come, here or at a peer: durable, applied or
// confirmed, as the field that holds it says.
type Cursor struct {
	Log      LogID
	Position Position // Seq counts in the incarnation that Position names
	Epoch    Epoch    // in which that incarnation was written; 0 = not known
}

// Order is how one position of a log lies to another.
type Order uint8

const (
	OrderUnknown Order = iota // other incarnations, and nothing says which is older
	OrderBefore
	OrderLevel // one seq of one incarnation; the chains may differ
	OrderAfter
)

func (o Order) String() string {
	switch o {
	case OrderBefore:
		return "before"
	case OrderLevel:
		return "level"
	case OrderAfter:
		return "after"
	}
	return "unknown"
}

// Order is that of a Lineage that knows nothing.
func (p Position) Order(q Position) Order { return (*Lineage)(nil).Order(p, q) }

// Covers says that whoever has come to p has come to q. Where the order is not known it
// does not say so.
func (p Position) Covers(q Position) bool { return (*Lineage)(nil).Covers(p, q) }

// Beyond says that p lies after q for certain: not where the order is not known.
func (p Position) Beyond(q Position) bool { return p.Order(q) == OrderAfter }

// Same says whether both are of one incarnation; the zero Position is of each.
func (p Position) Same(q Position) bool {
	return p.Incarnation == q.Incarnation || p.Seq == 0 || q.Seq == 0
}

// SeqIn is p's seq in an incarnation: 0 where p is of another one.
func (p Position) SeqIn(i Incarnation) Seq {
	if p.Incarnation != i {
		return 0
	}
	return p.Seq
}

// EntriesAfter is how many entries of p's incarnation lie behind q: all, where q is of
// another one.
func (p Position) EntriesAfter(q Position) int64 {
	switch {
	case q.Seq == 0 || p.Incarnation != q.Incarnation:
		return int64(p.Seq)
	case p.Seq <= q.Seq:
		return 0
	}
	return int64(p.Seq - q.Seq)
}

// Lineage is the incarnations of one log whose epochs are known. One incarnation has one
// writer in one epoch, so epochs order them. The nil Lineage knows none. Its memory is 24
// bytes for each incarnation; a log opens one for each epoch in which its site writes.
// Not for concurrent use.
type Lineage struct {
	known []born
}

type born struct {
	incarnation Incarnation
	epoch       Epoch
}

// Learn notes the epoch of an incarnation. Zero values tell nothing. What is known stays:
// a second epoch for one incarnation cannot be true.
func (l *Lineage) Learn(i Incarnation, e Epoch) {
	if i != (Incarnation{}) && e != 0 && l.Epoch(i) == 0 {
		l.known = append(l.known, born{i, e})
	}
}

// Epoch is that of an incarnation; 0 = not known.
func (l *Lineage) Epoch(i Incarnation) Epoch {
	if l != nil {
		for _, b := range l.known {
			if b.incarnation == i {
				return b.epoch
			}
		}
	}
	return 0
}

// Order is how p lies to q; see the table above.
func (l *Lineage) Order(p, q Position) Order {
	switch {
	case p.Seq == 0 || q.Seq == 0 || p.Incarnation == q.Incarnation:
		return order(uint64(p.Seq), uint64(q.Seq))
	case l == nil:
		return OrderUnknown
	}
	a, b := l.Epoch(p.Incarnation), l.Epoch(q.Incarnation)
	if a == 0 || b == 0 || a == b { // two incarnations of one epoch are two histories
		return OrderUnknown
	}
	return order(uint64(a), uint64(b))
}

// Covers says that whoever has come to p has come to q.
func (l *Lineage) Covers(p, q Position) bool { return l.Order(p, q) >= OrderLevel }

// Lower is the one of two positions that covers no more than the other, and zero where
// nothing says which that is.
func (l *Lineage) Lower(p, q Position) Position {
	switch l.Order(p, q) {
	case OrderUnknown:
		return Position{}
	case OrderAfter:
		return q
	}
	return p
}

func order(p, q uint64) Order {
	switch {
	case p < q:
		return OrderBefore
	case p > q:
		return OrderAfter
	}
	return OrderLevel
}

// Fit is how a batch lies to a position of its log.
type Fit uint8

const (
	FitNext      Fit = iota + 1 // it continues the position, by seq and chain
	FitHeld                     // it ends before the position
	FitEnds                     // it ends at the position, by seq and chain
	FitFork                     // it ends at the position's seq, with another chain
	FitStraddles                // the position's seq lies within it
	FitGap                      // batches between are missing
	FitParts                    // by its seq it is next, and it continues another chain
	FitOpens                    // it is the first batch of another incarnation
	FitStrange                  // it is a later batch of another incarnation
)

// Fit says how a batch lies to the position. To the zero Position one batch is next: the
// first of any incarnation.
func (p *Position) Fit(h *BatchHeader) Fit {
	first, last := h.FirstSeq, h.LastSeq()
	switch {
	case p.Seq != 0 && h.Incarnation != p.Incarnation:
		if first == 1 {
			return FitOpens
		}
		return FitStrange
	case last < p.Seq:
		return FitHeld
	case last == p.Seq && h.Chain == p.Chain:
		return FitEnds
	case last == p.Seq:
		return FitFork
	case first <= p.Seq:
		return FitStraddles
	case first > p.Seq+1:
		return FitGap
	case h.Prev != p.Chain:
		return FitParts
	}
	return FitNext
}

// Holds says whether a batch of that Fit lies before the position, in its incarnation.
func (f Fit) Holds() bool { return f == FitHeld || f == FitEnds }
