package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

// Questions of a mending use what a comparison has: the one question of a link, the answerer
// that keeps a view for its asker, parts and their digests. A mending asks for rows as well.

// ErrView: the view that a question names is gone. The next one opens another.
var ErrView = errors.New("the view is gone")

// ErrNoRows: the asked site's Store has no rows to give, or its shard is torn.
var ErrNoRows = errors.New("it cannot give rows")

// restCountMax bounds how far an answer counts what follows it.
const restCountMax = 1 << 30

// rowsView is one view of a shard's rows, kept from question to question.
type rowsView struct {
	id   uint64 // 0 = there is none
	view store.MendView
}

func (r *rowsView) forget() {
	if r.view != nil {
		_ = r.view.Close() // only read from
	}
	*r = rowsView{}
}

// mend works out the answer to a question of a mending.
func (w *answerer) mend(ctx context.Context, ask *wire.Mend) *wire.Rows {
	out := &wire.Rows{ID: ask.ID}
	var err error
	switch {
	case int64(ask.Shard) >= int64(w.here.Shards):
		err = fmt.Errorf("it has %d shards, no shard %d: %w", w.here.Shards, ask.Shard, ErrNoRows)
	case ask.Kind == wire.MendOpen:
		err = w.openRows(ctx, ask.Shard, out)
	case ask.View != w.rows.id:
		err = fmt.Errorf("view %d of shard %d: %w", ask.View, ask.Shard, ErrView)
	case ask.Kind == wire.MendParts:
		out.View = w.rows.id
		r := &ask.Ranges[0]
		out.Parts, err = partsOf(ctx, w.rows.view, r.Lo, unbounded(r.Hi), ask.Count, &w.pace)
	default:
		out.View = w.rows.id
		err = w.fillRows(ctx, ask, out)
	}
	if err == nil {
		return out
	}
	code := wire.RefuseInternal
	switch {
	case errors.Is(err, ErrView):
		code = wire.RefuseGap
	case errors.Is(err, ErrNoRows), errors.Is(err, store.ErrTorn):
		code = wire.RefuseFeature
	}
	return &wire.Rows{ID: ask.ID, Code: code, Text: err.Error()}
}

// openRows takes a view of a shard, in the place of the one that was kept.
func (w *answerer) openRows(ctx context.Context, shard wire.Shard, out *wire.Rows) error {
	w.forget()
	mender, ok := w.here.Store.(store.Mender)
	if !ok {
		return fmt.Errorf("its Store has no rows: %w", ErrNoRows)
	}
	view, err := mender.MendView(ctx, shard)
	if err != nil {
		return err
	}
	if view.Torn() {
		return errors.Join(fmt.Errorf("shard %d: %w", shard, store.ErrTorn), view.Close())
	}
	w.rows = rowsView{id: uint64(time.Now().UnixNano()), view: view} // no other life of this site has it
	out.View, out.Cursors = w.rows.id, slices.Clone(view.Cursors())
	return nil
}

// fillRows puts the rows of the first ranges into an answer: as many whole ranges as fit, at
// least one, which may be cut.
func (w *answerer) fillRows(ctx context.Context, ask *wire.Mend, out *wire.Rows) error {
	for i := range ask.Ranges {
		r, at := &ask.Ranges[i], len(out.Data)
		skip := 0
		if i == 0 {
			skip = int(ask.Skip)
		}
		var piece wire.RowsPiece
		rest, fits := 0, true
		err := w.pace.work(ctx, func() (err error) {
			piece.Digest, err = w.rows.view.Digest(ctx, r.Lo, unbounded(r.Hi))
			if err != nil || piece.Digest == r.Digest {
				return err
			}
			out.Data, rest, err = appendRows(ctx, w.rows.view, r, skip, i == 0, out.Data)
			if fits = !errors.Is(err, errEnough); !fits {
				err = nil
			}
			return err
		})
		if err != nil {
			return err
		}
		if !fits {
			out.Data = out.Data[:at]
			return nil
		}
		piece.Bytes = uint32(len(out.Data) - at)
		out.Pieces, out.Rest = append(out.Pieces, piece), uint32(rest)
		if rest > 0 {
			return nil
		}
	}
	return nil
}

// appendRows appends the rows of a range behind the first skip bytes of them, as many as an
// answer takes. What does not fit is cut off, and counted as rest; without cut it is errEnough.
func appendRows(
	ctx context.Context, v store.MendView, r *wire.MendRange, skip int, cut bool, data []byte,
) (all []byte, rest int, err error) {
	var row []byte
	err = v.Rows(ctx, r.Lo, unbounded(r.Hi), func(key, value []byte) error {
		size := wire.RowBytes(key, value)
		if skip >= size {
			skip -= size
			return nil
		}
		row = wire.AppendRow(row[:0], key, value)[skip:]
		skip = 0
		room := wire.RowsBytesMax - len(data)
		if len(row) > room && !cut {
			return errEnough
		}
		data = append(data, row[:min(room, len(row))]...)
		if rest += max(0, len(row)-room); rest > restCountMax {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) && cut {
		err = nil
	}
	return data, rest, err
}

// unbounded reads the end of a range: none on the wire is nil.
func unbounded(hi []byte) []byte {
	if len(hi) == 0 {
		return nil
	}
	return hi
}

func cloneMend(m *wire.Mend) *wire.Mend {
	out := *m
	out.Ranges = slices.Clone(m.Ranges)
	for i := range out.Ranges {
		r := &out.Ranges[i]
		r.Lo, r.Hi = bytes.Clone(r.Lo), bytes.Clone(r.Hi)
	}
	return &out
}

// cloneRows copies what the heart lends.
func cloneRows(a *wire.Rows) *wire.Rows {
	out := *a
	out.Cursors, out.Pieces, out.Data = slices.Clone(a.Cursors), slices.Clone(a.Pieces), bytes.Clone(a.Data)
	out.Parts = slices.Clone(a.Parts)
	for i := range out.Parts {
		out.Parts[i].Hi = bytes.Clone(out.Parts[i].Hi)
	}
	return &out
}

// Talk is the questions of a mending to one peer. It holds the place of the one comparison
// of this site. For one goroutine.
type Talk struct {
	run *verification
}

// Talk begins one; ErrRunning if a comparison or another Talk is under way. End ends it.
func (v *Verifier) Talk(site wire.SiteID) (*Talk, error) {
	if !v.one.TryLock() {
		return nil, ErrRunning
	}
	return &Talk{&verification{here: v, peer: peer{site, v.Site.Name(site)}}}, nil
}

// Ask asks one question, of which it sets the ID, and waits for its answer. node.ErrNoLink:
// there is none to the peer now. ErrView and ErrNoRows are the peer's.
func (t *Talk) Ask(ctx context.Context, q *wire.Mend) (*wire.Rows, error) {
	all := t.run.here
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(all.Site.Closed(), cancel)()
	asked := t.run.register()
	defer asked.drop()
	q.ID = asked.id
	all.Site.Ask(&node.VerifyAsk{Peer: t.run.peer.site, Mend: q})
	select {
	case r := <-asked.answer:
		if r.err != nil {
			return nil, r.err
		}
		return r.rows, t.refused(r.rows)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// refused is why an answer is none.
func (t *Talk) refused(a *wire.Rows) error {
	name := t.run.peer.name
	switch {
	case a == nil:
		return fmt.Errorf("site %s: another answer: %w", name, wire.ErrProtocol)
	case a.Code == 0:
		return nil
	case a.Code == wire.RefuseGap:
		return &atPeer{name, a.Text, ErrView}
	case a.Code == wire.RefuseFeature:
		return &atPeer{name, a.Text, ErrNoRows}
	}
	return &atPeer{name, a.Text, nil}
}

// End gives the peer's view back, and what it pins.
func (t *Talk) End() {
	t.run.end()
	t.run.here.one.Unlock()
}
