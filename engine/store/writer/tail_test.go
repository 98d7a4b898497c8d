package writer

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/wire"
)

// TestAppendsGoOnBehindWhatIsGivenBack: each row of the table of tail.go, told to a log
// that was told once, before and after an append.
func TestAppendsGoOnBehindWhatIsGivenBack(t *testing.T) {
	tail := func(incarnation byte, seq wire.Seq) journal.Tail {
		return journal.Tail{Position: wire.Position{Incarnation: wire.Incarnation{incarnation}, Seq: seq}}
	}
	for name, c := range map[string]struct {
		pending bool
		told    journal.Tail
		want    bool
	}{
		"where it is":                      {false, tail(9, 5), false},
		"given back":                       {false, tail(9, 8), true},
		"durable, and an append behind it": {true, tail(9, 5), false},
		"a lower seq of another":           {false, tail(8, 3), true},
		"a higher seq of another":          {false, tail(8, 7), true},
		"of another, and an append":        {true, tail(8, 7), false},
	} {
		w, _ := newWriter(t, 1)
		require.True(t, w.GoOn(0, tail(9, 5), 0), name)
		at := tail(9, 5)
		if c.pending {
			ref, err := w.Append(0, entry(1), 0)
			require.NoError(t, err, name)
			at.Position.Seq = ref.Seq
		}
		require.Equal(t, c.want, w.GoOn(0, c.told, 0), name)
		if c.want {
			at = c.told
		}
		incarnation, seq := w.Tail(0)
		require.Equal(t, at.Position.Incarnation, incarnation, name)
		require.Equal(t, at.Position.Seq, seq, name)
	}
}
