package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/claudefs/repl/wire"
)

var (
	// ErrTorn is what a Store answers about a shard whose mending has begun and has not
	// ended: its state is of no moment. Mending it again from the first piece ends it.
	ErrTorn = errors.New("torn: its mending has not ended; let the node run, its status shows the progress")

	// ErrMendOrder: a piece is not the next one of the mending that the shard is in. The
	// shard is as it was; the mending begins again from its first piece.
	ErrMendOrder = errors.New("piece of a mending out of order")

	// ErrMendPiece: a piece contradicts itself, or does not belong to its shard. The shard
	// is as it was. The same piece is refused again: the rows are to be asked for again.
	ErrMendPiece = errors.New("bad piece of a mending")
)

// Limits of mending.
const (
	// MendPieceBytesMax bounds keys and values of a piece of more than one row.
	MendPieceBytesMax = 1 << 20
	// MendKeyBytesMax bounds the key of a row: a key of an entry, and what the Store adds.
	MendKeyBytesMax = wire.EntryKeyBytesMax + 32
	// MendRowBytesMax bounds key and value of one row: an entry's payload, and what the
	// Store adds. A Store cuts what is larger into several rows.
	MendRowBytesMax = wire.BatchBytesMax
)

// Mender is a Store that can make one shard equal to the same shard of another Mender of
// its kind. A Store without it is valid: where its state is wrong, the host copies it.
//
// A mended shard consists of rows: pairs of a key and a value, in the order of their keys. Both are
// the Store's own and mean nothing to the engine. Two Menders of a kind have equal rows
// at equal cursors. The rows are everything that decides what the shard answers, and what
// becomes of later changes:
//
//   - the state of all keys;
//   - request ids that the Store knows, and its list of decided entries, if it keeps
//     them: those of entries that did not survive vanish, those taken over are known;
//   - allocators, such as the next inode number: they lie above everything in the rows;
//   - unstable versions and losers.
//
// What differs from site to site without an effect, such as the number of a commit, is
// not in the rows, or left out of their values.
//
//	source                                  target
//	MendView ─ digests of parts ──────────▶ MendView: which parts differ
//	         ─ rows of those parts ───────▶ file, complete and flushed
//	                                        Mend piece 0 ▸ torn, durably
//	                                        Mend piece 1 … n, each one commit
//	                                        MendView: digest = the source's?
//	                                        Mend last piece ▸ cursors, whole
//
// From the first digest of the target to the last piece nothing is applied to its shard,
// and the digests are taken after a Sync: so a crash leaves what was compared, and the
// pieces in the file are enough, however often they begin again. Nobody makes the file durably
// absent before Mend of the last piece has returned, nor applies anything before it is absent.
//
// A shard between its first and its last piece is torn, over a crash and a restart as
// well. Meanwhile Cursors, Durable, Versions, Apply, Export, Digest and View of that shard
// return an error that wraps ErrTorn, and the host refuses its own clients what they ask
// of it. Other shards go on. What the host keeps in memory of the shard, such as changes
// that are not applied yet, it forgets.
type Mender interface {
	// MendView holds a moment of the shard's rows. Like View it must not wait. Of a torn
	// shard it shows the rows that are there.
	MendView(ctx context.Context, shard wire.Shard) (MendView, error)

	// Mend applies one piece: one commit, all or nothing, in order with Apply. The torn
	// mark of piece 0 and the cursors of the last piece are durable when it returns; what
	// lies between may become durable later, in order. After a crash the pieces are applied
	// again, from the first; the result is the same. p is borrowed for the call. After an
	// error that wraps ErrMendOrder or ErrMendPiece nothing was done; after another error the
	// outcome is unknown until a restart. The engine calls Mend of a shard from one goroutine at
	// a time, and never beside Apply.
	Mend(ctx context.Context, p *MendPiece) error
}

// MendView is one shard's rows as of one moment, while the shard goes on. For one
// goroutine at a time. Its method set includes that of View; its keys are those of rows.
type MendView interface {
	// Torn says that the shard is torn: it is not a source, and Cursors are none.
	Torn() bool

	// Cursors are those of the moment, sorted by log.
	Cursors() []Cursor

	// Digest is one hash over the rows of [lo, hi) (nil = unbounded), keys and values. It
	// depends on the rows alone: equal rows have equal digests at all sites.
	Digest(ctx context.Context, lo, hi []byte) ([32]byte, error)

	// Keys visits the keys of the rows of [lo, hi), rising, until visit returns an error,
	// which it returns. A key is borrowed for the visit.
	Keys(ctx context.Context, lo, hi []byte, visit func(key []byte) error) error

	// Rows is Keys with the values. Both are borrowed for the visit.
	Rows(ctx context.Context, lo, hi []byte, visit func(key, value []byte) error) error

	// Close gives the view back: as long as it is open, it may pin disk space.
	Close() error
}

// MendID names one mending: the pieces that were taken from one view. Random; zero is
// invalid.
type MendID [16]byte

// MendRow is one row: a key of 1 to MendKeyBytesMax bytes.
type MendRow struct{ Key, Value []byte }

// MendPiece is what one commit of a mending does: the rows of [Lo, Hi) become Rows, and
// those that are not named vanish.
type MendPiece struct {
	Shard wire.Shard
	Mend  MendID
	// Index is the piece's place: 0 begins the mending, or begins it again.
	Index  uint64
	Lo, Hi []byte    // keys of rows; Hi nil = unbounded; equal and not nil = no rows
	Rows   []MendRow // strictly rising by key, all within [Lo, Hi)

	// Last ends the mending: the caller has compared the digest of all rows with the
	// view's. Such a piece is not piece 0 and has no range; Cursors become the shard's, sorted by
	// log, and logs that they do not name have none.
	Last    bool
	Cursors []Cursor
}

// Bytes is the sum of the lengths of keys and values.
func (p *MendPiece) Bytes() int {
	n := 0
	for i := range p.Rows {
		n += len(p.Rows[i].Key) + len(p.Rows[i].Value)
	}
	return n
}

// Check returns an error that wraps ErrMendPiece if p contradicts itself or a limit.
func (p *MendPiece) Check() error {
	err := p.check()
	if err != nil {
		err = fmt.Errorf("shard %d, piece %d: %w: %w", p.Shard, p.Index, ErrMendPiece, err)
	}
	return err
}

func (p *MendPiece) check() error {
	switch {
	case p.Mend == MendID{}:
		return errors.New("it names no mending")
	case p.Last && (p.Index == 0 || len(p.Rows) > 0 || p.Lo != nil || p.Hi != nil):
		return errors.New("the last piece is the first, or has rows")
	case !p.Last && len(p.Cursors) > 0:
		return errors.New("cursors in a piece that is not the last")
	case p.Hi != nil && bytes.Compare(p.Lo, p.Hi) > 0:
		return fmt.Errorf("range from %x to %x", p.Lo, p.Hi)
	case len(p.Rows) > 1 && p.Bytes() > MendPieceBytesMax:
		return fmt.Errorf("%d bytes in %d rows, limit %d", p.Bytes(), len(p.Rows), MendPieceBytesMax)
	}
	for i := range p.Cursors {
		if c := &p.Cursors[i]; c.Log.Shard != p.Shard || i > 0 && p.Cursors[i-1].Log.Compare(c.Log) >= 0 {
			return fmt.Errorf("cursor of log %s is of another shard, or not sorted", c.Log)
		}
	}
	var before []byte
	for i := range p.Rows {
		r := &p.Rows[i]
		switch {
		case len(r.Key) == 0 || len(r.Key) > MendKeyBytesMax || len(r.Key)+len(r.Value) > MendRowBytesMax:
			return fmt.Errorf("row of %d and %d bytes, limits %d for the key, %d together",
				len(r.Key), len(r.Value), MendKeyBytesMax, MendRowBytesMax)
		case i > 0 && bytes.Compare(before, r.Key) >= 0,
			bytes.Compare(r.Key, p.Lo) < 0, p.Hi != nil && bytes.Compare(r.Key, p.Hi) >= 0:
			return fmt.Errorf("row %x does not lie behind %x in the range from %x to %x", r.Key, before, p.Lo, p.Hi)
		}
		before = r.Key
	}
	return nil
}

// TornMark is what a Mender keeps of a torn shard, in the same commit as each piece. The
// zero mark is that of a whole shard.
type TornMark struct {
	Mend MendID
	Next uint64 // the index of the next new piece
}

// Err is nil for a whole shard, else an error that wraps ErrTorn.
func (m TornMark) Err(shard wire.Shard) error {
	if m == (TornMark{}) {
		return nil
	}
	return fmt.Errorf("shard %d, next is piece %d: %w", shard, m.Next, ErrTorn)
}

// After returns the mark after p: piece 0 always begins; another one must be of the same
// mending, and follow what was taken or repeat it. The error wraps ErrMendOrder.
func (m TornMark) After(p *MendPiece) (TornMark, error) {
	switch {
	case p.Index == 0:
		return TornMark{Mend: p.Mend, Next: 1}, nil
	case m == (TornMark{}):
		return m, fmt.Errorf("shard %d: piece %d, and no mending has begun: %w", p.Shard, p.Index, ErrMendOrder)
	case m.Mend != p.Mend:
		return m, fmt.Errorf("shard %d: piece %d of mending %x, the shard is in mending %x: %w",
			p.Shard, p.Index, p.Mend, m.Mend, ErrMendOrder)
	case p.Index > m.Next || p.Last && p.Index != m.Next:
		return m, fmt.Errorf("shard %d: piece %d, next is %d: %w", p.Shard, p.Index, m.Next, ErrMendOrder)
	case p.Last:
		return TornMark{}, nil
	}
	m.Next = max(m.Next, p.Index+1)
	return m, nil
}
