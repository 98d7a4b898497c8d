package cli

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/claudefs/repl/tools/fsnode"
)

const (
	// openingEvery is how often a server that is still opening says so.
	openingEvery = 2 * time.Second
	// openingGrace is how long it may take to give its files back when it is told to end
	// before it was ready.
	openingGrace = 2 * time.Second
)

// openNode opens the node, and says what it is at where that takes long. It returns
// neither node nor error where the server was told to end meanwhile: nobody has been
// answered yet, and what was found stays as it is, so the process may end at once.
func (a *app) openNode(ctx context.Context, f *serverFlags, o fsnode.Options) (*fsnode.Node, error) {
	var at atomic.Pointer[string]
	o.Opening = func(text string) { at.Store(&text) }
	o.Opening("taking the directory")
	type result struct {
		node *fsnode.Node
		err  error
	}
	opened := make(chan result, 1)
	go func() { // Ends with Open; if that hangs, with the process.
		node, err := fsnode.Open(ctx, o)
		opened <- result{node, err}
	}()
	tick := time.NewTicker(openingEvery)
	defer tick.Stop()
	begin, asked := time.Now(), ctx.Done()
	var late <-chan time.Time
	for {
		select {
		case r := <-opened:
			switch {
			case r.err == nil:
				return r.node, nil // told to end or not: it closes in good order
			case ctx.Err() != nil:
				return nil, nil
			}
			return nil, openFailure(f, r.err)
		case <-tick.C:
			text := fmt.Sprintf("opening for %s: %s", time.Since(begin).Truncate(time.Second), *at.Load())
			fmt.Fprintln(a.stderr, text)
			tellSystem("STATUS=" + text)
		case <-asked:
			asked, late = nil, time.After(openingGrace)
			fmt.Fprintln(a.stderr, "stopped while opening")
		case <-late:
			return nil, nil
		}
	}
}

// tellSystem tells systemd, where the server is a service of Type=notify.
func tellSystem(state string) { _, _ = daemon.SdNotify(false, state) } // nobody may listen
