package fsclient

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/admin"
	"github.com/claudefs/repl/tools/fsapi"
)

// hinting is a node that answers with hints, and does what it is asked for if it writes.
func hinting(t *testing.T, site string, hints func() engine.Hints) (addr string) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := hints()
		h.Schema, h.Kind, h.Site = 1, "hints", site
		switch {
		case r.URL.Path == admin.HintsPath:
			_ = json.NewEncoder(w).Encode(h)
		case h.Writer != site:
			w.WriteHeader(http.StatusConflict)
			_ = json.NewEncoder(w).Encode(fsapi.Error{Text: "another site does", Errno: "EROFS"})
		default:
			_ = json.NewEncoder(w).Encode(fsapi.Stat{Schema: 1, Path: site})
		}
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func says(epoch uint64, writer string, sites ...engine.SiteHint) func() engine.Hints {
	return func() engine.Hints { return engine.Hints{Epoch: epoch, Writer: writer, Sites: sites} }
}

// TestHighestEpochLeadsToTheWriter: a former writer that is cut off calls itself the writer still.
func TestHighestEpochLeadsToTheWriter(t *testing.T) {
	old := hinting(t, "site-a", says(1, "site-a"))
	b := hinting(t, "site-b", says(2<<32, "site-b"))
	c := New(old, b)
	defer c.Close()
	s, err := c.Stat(t.Context(), "/")
	require.NoError(t, err)
	require.Equal(t, "site-b", s.Path)
	require.Equal(t, b, c.Addr())
}

// TestStandbyLeadsToTheWriter: one address is enough where the site knows the others'.
func TestStandbyLeadsToTheWriter(t *testing.T) {
	b := hinting(t, "site-b", says(5, "site-b"))
	a := hinting(t, "site-a", says(5, "site-b", engine.SiteHint{Site: "site-b", Admin: b}))
	c := New(a)
	defer c.Close()
	s, err := c.stat(t.Context(), current("/"))
	require.NoError(t, err)
	require.Equal(t, "site-b", s.Path)

	// It gives up where nobody knows that site's address.
	lost := New(hinting(t, "site-a", says(5, "site-b")))
	defer lost.Close()
	lost.RetryFor = time.Hour
	_, err = lost.stat(t.Context(), current("/"))
	require.ErrorIs(t, err, ErrElsewhere)
	require.ErrorIs(t, err, ErrRefused)
}

// TestWriterThatIsNotYetOneIsAwaited: between two epochs no site writes, and that passes.
func TestWriterThatIsNotYetOneIsAwaited(t *testing.T) {
	var asked atomic.Int64
	b := hinting(t, "site-b", func() engine.Hints {
		if asked.Add(1) < 6 {
			return says(1, "site-a")()
		}
		return says(2, "site-b")()
	})
	a := hinting(t, "site-a", says(2, "site-b"))
	c := New(a, b)
	defer c.Close()
	c.RetryFor = time.Hour
	s, err := c.stat(t.Context(), current("/"))
	require.NoError(t, err)
	require.Equal(t, "site-b", s.Path)

	asked.Store(0)
	c = New(a, b)
	defer c.Close()
	_, err = c.stat(t.Context(), current("/"))
	require.ErrorIs(t, err, ErrElsewhere, "no time is given")
	require.False(t, errors.Is(err, ErrUnreachable))
}
