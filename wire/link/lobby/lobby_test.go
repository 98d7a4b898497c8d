package lobby

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

type door struct{ closed bool }

func (d *door) Close() error {
	d.closed = true
	return nil
}

const (
	strangers = "192.0.2.1:4000"
	peers     = "[::ffff:198.51.100.7]:4000"
)

func TestOldestSilentOneMakesRoom(t *testing.T) {
	l := New(Options{Max: 4})
	var doors [6]door
	var guests []*Guest
	for i := range doors {
		guests = append(guests, l.Enter(&doors[i], fmt.Sprintf("192.0.2.%d:1", i)))
		require.NotNil(t, guests[i])
		if i == 0 {
			require.True(t, guests[0].Spoke(&doors[0]))
		}
	}
	require.Equal(t, 3, l.Len(), "a quarter is not for strangers")
	require.Equal(t, [6]door{1: {true}, 2: {true}, 3: {true}}, doors)
	require.False(t, guests[1].Spoke(&doors[1]))
	require.Equal(t, Counts{Entered: 6, Pushed: 3}, l.Counts())
	for _, g := range guests {
		g.Leave()
		g.Leave()
	}
	require.Zero(t, l.Len())
}

func TestThoseWhoHaveSpokenStay(t *testing.T) {
	l := New(Options{Max: 4})
	for range 3 {
		require.True(t, l.Enter(&door{}, strangers).Spoke(&door{}))
	}
	require.Nil(t, l.Enter(&door{}, strangers))
	require.Equal(t, uint64(1), l.Counts().Refused)
	l.PushOne() // nobody is silent
	require.Equal(t, 3, l.Len())
}

func TestPeersHaveAShareOfTheirOwn(t *testing.T) {
	l := New(Options{Max: 8})
	l.Favor("198.51.100.7")
	l.Favor("no address")
	for range 100 {
		require.NotNil(t, l.Enter(&door{}, strangers))
	}
	require.Equal(t, 6, l.Len())
	first := &door{}
	require.NotNil(t, l.Enter(first, peers))
	require.NotNil(t, l.Enter(&door{}, peers))
	for range 100 {
		require.NotNil(t, l.Enter(&door{}, strangers))
	}
	require.Equal(t, 8, l.Len())
	require.False(t, first.closed, "no stranger pushes a peer out")
	for range 5 { // a peer pushes strangers out, before its like
		require.NotNil(t, l.Enter(&door{}, peers))
	}
	require.False(t, first.closed)
	require.Equal(t, 8, l.Len())
}

func TestFileLimitBoundsPlaces(t *testing.T) {
	files := 80
	l := New(Options{})
	l.files = func() int { return files }
	for range 100 {
		require.NotNil(t, l.Enter(&door{}, strangers))
	}
	require.Equal(t, 8, l.Len(), "an eighth, less a quarter")
	files = 1
	require.NotNil(t, l.Enter(&door{}, strangers))
}

func TestStayGivesTheYoungTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Options{Max: 1, Stay: time.Second})
		first := &door{}
		require.NotNil(t, l.Enter(first, strangers))
		require.Nil(t, l.Enter(&door{}, strangers))
		begin := time.Now()
		require.NotNil(t, l.EnterIn(&door{}, strangers, time.Minute))
		require.Equal(t, time.Second, time.Since(begin))
		require.True(t, first.closed)
		require.Nil(t, l.EnterIn(&door{}, strangers, 100*time.Millisecond))
	})
}

func TestClosedLobbyTakesNobody(t *testing.T) {
	l := New(Options{})
	silent, spoken, later := &door{}, &door{}, &door{}
	l.Enter(silent, strangers)
	l.Enter(&door{}, strangers).Spoke(spoken)
	l.Close()
	require.True(t, silent.closed && spoken.closed)
	require.Nil(t, l.EnterIn(later, strangers, time.Hour))
	require.Zero(t, l.Len())
}

func TestKnownAddressesAreBounded(t *testing.T) {
	l := New(Options{})
	for i := range 2 * favoredMax {
		l.Favor(fmt.Sprintf("10.0.%d.%d:9500", i/256, i%256))
	}
	require.Len(t, l.known, favoredMax)
}
