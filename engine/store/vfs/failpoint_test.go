package vfs_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/store/vfs"
)

func TestFailpointsTextIsReadBack(t *testing.T) {
	for _, op := range vfs.FailpointOps() {
		for _, after := range []bool{false, true} {
			p := vfs.Failpoint{Op: op, Call: 17, After: after}
			got, err := vfs.ParseFailpoint(p.String())
			require.NoError(t, err)
			require.Equal(t, p, got)
		}
	}
	for text, why := range map[string]string{
		"": "KIND:NUMBER:WHEN", "flush:1": "KIND:NUMBER:WHEN", "read:1:before": "dirflush", "flush:0:before": "from 1",
		"flush:x:after": "from 1", "flush:1:during": "before or after",
	} {
		_, err := vfs.ParseFailpoint(text)
		require.ErrorIs(t, err, vfs.ErrFailpoint, text)
		require.ErrorContains(t, err, why)
	}
}

// FuzzFailpoint: a text is refused with its class, or prints as one that is the same
// failpoint.
func FuzzFailpoint(f *testing.F) {
	f.Add("flush:17:before")
	f.Add("dirflush:+01:after")
	f.Add("write:0:after")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := vfs.ParseFailpoint(text)
		if err != nil {
			if !errors.Is(err, vfs.ErrFailpoint) {
				t.Fatal(err)
			}
			return
		}
		if again, err := vfs.ParseFailpoint(p.String()); err != nil || again != p || p.Call < 1 {
			t.Fatalf("%q is %+v, and its text %+v: %v", text, p, again, err)
		}
	})
}

// TestFailpointStrikesAtItsCall looks at the disk at the moment of the strike:
// before a call it is as it was, behind it as the call made it.
func TestFailpointStrikesAtItsCall(t *testing.T) {
	for text, want := range map[string]string{
		"create:2:before": "f=", "create:2:after": "f= g=",
		"write:2:before": "f=1 g=", "write:2:after": "f=1 g=2*",
		"flush:1:before": "f=1* g=", "flush:1:after": "f=1 g=",
		"dirflush:1:before": "f=1 g=2", "dirflush:1:after": "f=1 g=2 durable",
		"rename:1:before": "f=1 g=2 durable", "rename:1:after": "g=1 durable",
		"remove:1:before": "g=1 durable", "remove:1:after": "durable",
	} {
		m, struck := vfs.NewMem(vfs.MemOptions{}), 0
		p, err := vfs.ParseFailpoint(text)
		require.NoError(t, err)
		d := vfs.AtFailpoint(m, p, func() {
			struck++
			require.Equal(t, want, look(t, m), text)
		})
		f, err := d.Create("f")
		require.NoError(t, err)
		g, err := d.Create("g")
		require.NoError(t, err)
		require.NoError(t, f.WriteAt([][]byte{[]byte("1")}, 0))
		require.NoError(t, f.Sync())
		require.NoError(t, g.WriteAt([][]byte{[]byte("2")}, 0))
		require.NoError(t, g.Sync())
		require.NoError(t, d.SyncDir("."))
		require.NoError(t, d.Rename("f", "g"))
		require.NoError(t, d.Remove("g"))
		require.Equal(t, 1, struck, text)
	}
}

// look tells what is on a disk: each file's content, a star where a power cut
// could take it back, and whether the names f and g survive one.
func look(t *testing.T, m *vfs.Mem) string {
	t.Helper()
	text, unsynced := "", map[string]bool{}
	m.Crash(func(u vfs.Unsynced) vfs.Fate {
		unsynced[u.Name] = unsynced[u.Name] || u.Kind == vfs.UnsyncedSector
		return vfs.Keep
	})
	for _, name := range m.Names("") {
		text += fmt.Sprintf("%s=%s", name, content(t, m, name))
		if unsynced[name] {
			text += "*"
		}
		text += " "
	}
	if len(m.Crash(all(vfs.Drop)).Names("")) > 0 {
		text += "durable "
	}
	return text[:max(0, len(text)-1)]
}

// TestQueuesFailpointsAreWhereItSays: before the queue has the write, while it is
// under way, and when it ended and nobody was told.
func TestQueuesFailpointsAreWhereItSays(t *testing.T) {
	for text, want := range map[string]string{
		"write:2:before": "1 begun, 0 told", "write:2:after": "2 begun, 0 told",
		"flush:2:before": "2 begun, 0 told", "flush:2:after": "2 begun, 1 told",
	} {
		m, begun, told, struck := vfs.NewMem(vfs.MemOptions{}), 0, 0, 0
		p, err := vfs.ParseFailpoint(text)
		require.NoError(t, err)
		d := vfs.AtFailpoint(m, p, func() {
			struck++
			f, err := m.Open("f")
			require.NoError(t, err)
			size, err := f.Size()
			require.NoError(t, err)
			begun = int(size)
			require.Equal(t, want, fmt.Sprintf("%d begun, %d told", begun, told), text)
		})
		f, err := d.Create("f")
		require.NoError(t, err)
		q, err := d.(vfs.Queuer).OpenQueue(vfs.QueueOptions{Depth: 2})
		require.NoError(t, err)
		q.Write(f, [][]byte{{1}}, 0, 7)
		q.Write(f, [][]byte{{2}}, 1, 8)
		for range 2 {
			told += len(q.Wait(nil, true))
		}
		require.Equal(t, 1, struck, text)
		require.NoError(t, q.Close())
	}
}
