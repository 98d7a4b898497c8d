package verify

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/wire"
)

// lonely is a Site without journals and peers, whose applier may have stopped.
type lonely struct{ stopped error }

// primary is the site that writes.
func primary() wire.SiteID { return 1 }

func (l *lonely) Name(wire.SiteID) string                          { return "site-a" }
func (l *lonely) Ask(node.Input)                                   {}
func (l *lonely) Journal(wire.LogID) *journal.Journal              { return nil }
func (l *lonely) Due(_ wire.LogID, at wire.Position) wire.Position { return at }
func (l *lonely) Stopped(wire.LogID) error                         { return l.stopped }
func (l *lonely) Halts() *Halts                                    { return &Halts{} }
func (l *lonely) Closed() context.Context                          { return context.Background() }

// batch applies the entries [first, last] of a log of site 1, and says so.
func batch(t *testing.T, v *Verifier, s *store.Mem, first, last wire.Seq) {
	t.Helper()
	h := &wire.BatchHeader{Site: 1, FirstSeq: first, Count: uint32(last - first + 1)}
	require.NoError(t, s.Apply(t.Context(), &store.Change{
		Batch: h, Cursors: []store.Cursor{{Log: h.Log(), Position: wire.Position{Seq: last}}},
	}))
	v.Passed(t.Context(), h)
}

// A view is taken at the first end of a batch at or after the point, and no later one.
func TestViewIsTakenWhereTheBatchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := store.NewMem()
		v := New(Config{Site: new(lonely), ID: 1, Primary: primary, Shards: 1, Store: s})
		views := make(chan store.View, 1)
		go func() { // Ends when the point is passed.
			view, err := v.viewAt(t.Context(), wire.LogID{Site: 1}, 5, func() bool { return true })
			if err != nil {
				t.Error(err)
			}
			views <- view
		}()
		synctest.Wait() // It is armed: the clock stands still until everybody waits.
		batch(t, v, s, 1, 4)
		batch(t, v, s, 5, 7)
		batch(t, v, s, 8, 9)
		view := <-views
		require.EqualValues(t, 7, seqIn(view.Cursors(), wire.LogID{Site: 1}))
		require.NoError(t, view.Close())
		require.Zero(t, v.points.armed.Load())
	})
}

// A log that is applied no more does not come to its point: the reason ends the wait (I14).
func TestStoppedLogEndsTheWaitForAPoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("unknown operation")
		v := New(Config{Site: &lonely{why}, ID: 1, Primary: primary, Shards: 1, Store: store.NewMem()})
		_, err := v.viewAt(t.Context(), wire.LogID{Site: 1}, 5, func() bool { return true })
		require.ErrorIs(t, err, why)
		require.Zero(t, v.points.armed.Load())
	})
}

// Who asks after Close has begun gets no goroutine that nobody waits for.
func TestQuestionAfterCloseStartsNothing(t *testing.T) {
	v := New(Config{Site: new(lonely), ID: 1, Primary: primary, Shards: 1, Store: store.NewMem()})
	v.Close()
	v.Asked(&node.Asked{Link: 1, Ask: wire.Verify{ID: 1, Kind: wire.VerifyTails}})
	require.Empty(t, v.answers)
}
