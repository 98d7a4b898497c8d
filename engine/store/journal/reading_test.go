package journal

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whoever waits for Open sees how far it is, and may end it.
func TestOpenTellsHowFarItIs(t *testing.T) {
	j, o := controlJournal(t)
	require.NoError(t, j.Close())
	var read, total int64
	o.Reading = func(r, of int64) error {
		require.GreaterOrEqual(t, r, read)
		require.LessOrEqual(t, r, of)
		read, total = r, of
		return nil
	}
	j, _, err := Open(o)
	require.NoError(t, err)
	require.NoError(t, j.Close())
	require.Positive(t, read)
	require.Positive(t, total)

	enough := errors.New("enough")
	o.Reading = func(int64, int64) error { return enough }
	_, _, err = Open(o)
	require.ErrorIs(t, err, enough)
	o.Reading = nil
	j, _, err = Open(o)
	require.NoError(t, err)
	require.NoError(t, j.Close())
}
