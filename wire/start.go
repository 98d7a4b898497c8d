package wire

// FirstEpoch is that of logs whose STARTs name no other logs: directories from before epochs.
const FirstEpoch Epoch = 1

// Start is what is kept of a START batch, longer than the batch itself: which incarnation it
// opens, and where older logs of the shard end.
type Start struct {
	Log         LogID
	Incarnation Incarnation
	Epoch       Epoch
	Rows        []LogEnd // as the batch has them
	// Before is where its log ended, in the journal that has the batch, when it came; zero: it
	// had nothing, or that is not known. The batch does not say it.
	Before Position
}

// StartBodyBytes is the size of a START batch's body with so many rows.
func StartBodyBytes(rows int) int { return startCountBytes + rows*startRowBytes }

// StartOf is what a START batch says; its body was checked. Nothing is shared with it.
func StartOf(b *BatchRef) (Start, error) {
	rows, err := DecodeStart(b.Body(), nil)
	return Start{Log: b.Header.Log(), Incarnation: b.Header.Incarnation, Epoch: b.Header.Epoch, Rows: rows}, err
}

// OpensEpoch says that a batch is a START whose rows bind: one above the first epoch.
func (h *BatchHeader) OpensEpoch() bool { return h.Kind == BatchStart && h.Epoch > FirstEpoch }

// StartsOf returns what the STARTs among batches say that are above the first epoch, in their
// order; nil if there are none. An error names the batch.
func StartsOf(batches []BatchRef) (starts []Start, err error) {
	for i := range batches {
		if !batches[i].Header.OpensEpoch() {
			continue
		}
		s, err := StartOf(&batches[i])
		if err != nil {
			return nil, err
		}
		starts = append(starts, s)
	}
	return starts, nil
}

// Names says whether a row is about an incarnation, and where it ends.
func (s *Start) Names(i Incarnation) (end Position, ok bool) {
	for r := range s.Rows {
		if s.Rows[r].End.Incarnation == i {
			return s.Rows[r].End, true
		}
	}
	return Position{}, false
}

// Uncovered lists the rows of a START that the journals do not reach. It is taken only when there is
// none: else a site would confirm entries whose past it is missing. tail is where the
// journals end in an incarnation, zero if they have nothing of it.
func (s *Start) Uncovered(tail func(LogID, Incarnation) Position) (rows []LogEnd) {
	for _, row := range s.Rows {
		if !tail(row.Log, row.End.Incarnation).Covers(row.End) {
			rows = append(rows, row)
		}
	}
	return rows
}
