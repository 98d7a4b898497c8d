package demo

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/fsclient"
	"github.com/claudefs/repl/tools/namespace"
	"github.com/claudefs/repl/wire"
)

const (
	clientCount = 6
	topsPerLoad = 5   // top-level directories of a client: so many shards
	namesMax    = 120 // files that a client keeps at a time
	writeMax    = 3000
)

// load is a number of clients that change site-a's namespace, each in its own
// directories, one operation at a time, until stopped. Every operation is
// tried again under the same request id until it is acknowledged, so each
// client knows its files exactly, and an answer that contradicts them is a
// lost or repeated operation.
type load struct {
	gate  sync.RWMutex // held to write while the sites are compared
	count atomic.Int64 // acknowledged

	mu    sync.Mutex
	acked ledger
}

// submit is how a client's operation gets to site-a: it returns when the
// operation is acknowledged or refused, or ctx ends.
type submit func(ctx context.Context, op *namespace.Operation) (fsclient.Outcome, error)

// loadClient is one client with what it knows.
type loadClient struct {
	id     int
	random *rand.Rand
	serial uint64
	files  []string
}

// start starts the clients; the result comes when all have ended: nil after
// ctx did.
func (l *load) start(ctx context.Context, seed uint64, do submit) <-chan error {
	ctx, cancel := context.WithCancelCause(ctx)
	var clients sync.WaitGroup
	for id := range clientCount {
		c := &loadClient{id: id, random: rand.New(rand.NewPCG(seed, uint64(id)+1))}
		clients.Go(func() { // ends with ctx, which the first failure ends
			if err := l.run(ctx, c, do); err != nil {
				cancel(err)
			}
		})
	}
	ended := make(chan error, 1)
	go func() { // ends with the clients
		clients.Wait()
		err := context.Cause(ctx)
		cancel(nil)
		ended <- err
	}()
	return ended
}

func (l *load) run(ctx context.Context, c *loadClient, do submit) error {
	for top := range topsPerLoad {
		if err := l.do(ctx, do, c.operation(engine.OpMkDir, c.top(top))); err != nil {
			return err
		}
	}
	for ctx.Err() == nil {
		if err := l.do(ctx, do, c.next()); err != nil {
			return err
		}
	}
	return nil
}

// errRefused: something that was acknowledged before is not there any more.
var errRefused = errors.New("site-a refused what must be possible")

// do has one operation acknowledged and remembers it.
func (l *load) do(ctx context.Context, do submit, op *namespace.Operation) error {
	l.gate.RLock()
	defer l.gate.RUnlock()
	outcome, err := do(ctx, op)
	switch {
	case ctx.Err() != nil:
		return nil // the outcome does not matter any more
	case err != nil:
		return err
	case outcome.Err != nil:
		return fmt.Errorf("%w: %w", errRefused, outcome.Err)
	}
	l.mu.Lock()
	l.acked[outcome.Ref]++
	l.mu.Unlock()
	l.count.Add(1)
	return nil
}

// refs is a copy of what was acknowledged so far.
func (l *load) refs() ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.acked)
}

func (c *loadClient) top(n int) string { return fmt.Sprintf("/client%d-%d", c.id, n) }

// operation is a new operation with a request id of its own.
func (c *loadClient) operation(op wire.Op, path string) *namespace.Operation {
	c.serial++
	o := &namespace.Operation{Op: op, Path: path, UID: uint32(1000 + c.id), GID: 100, Mode: 0o640}
	if op == engine.OpMkDir {
		o.Mode = 0o755
	}
	binary.BigEndian.PutUint64(o.Request[:], uint64(c.id)+1)
	binary.BigEndian.PutUint64(o.Request[8:], c.serial)
	return o
}

// name is a path that was never used before.
func (c *loadClient) name(top string) string { return fmt.Sprintf("%s/f%d", top, c.serial+1) }

// next draws an operation that fits the client's files, and takes its effect
// for granted: it is tried until it has one.
func (c *loadClient) next() *namespace.Operation {
	draw := c.random.IntN(100)
	if len(c.files) == 0 || draw < 30 && len(c.files) < namesMax {
		path := c.name(c.top(c.random.IntN(topsPerLoad)))
		c.files = append(c.files, path)
		return c.operation(engine.OpCreate, path)
	}
	at := c.random.IntN(len(c.files))
	path := c.files[at]
	switch {
	case draw < 60:
		o := c.operation(engine.OpWrite, path)
		o.Offset, o.Data = uint64(c.random.IntN(writeMax)), c.data()
		return o
	case draw < 72:
		to := c.name(path[:len(c.top(0))])
		c.files[at] = to
		o := c.operation(engine.OpRename, path)
		o.Target = to
		return o
	case draw < 82:
		o := c.operation(engine.OpSetAttr, path)
		o.Flags, o.Mode = namespace.FlagMode, uint32(c.random.IntN(0o1000))
		return o
	case draw < 88:
		o := c.operation(engine.OpSetXattr, path)
		o.Target, o.Data = "user.mark", c.data()
		return o
	case draw < 92:
		o := c.operation(engine.OpTruncate, path)
		o.Size = uint64(c.random.IntN(writeMax))
		return o
	case draw < 95 && len(c.files) < namesMax:
		to := c.name(path[:len(c.top(0))])
		c.files = append(c.files, to)
		o := c.operation(engine.OpLink, path)
		o.Target = to
		return o
	}
	c.files[at] = c.files[len(c.files)-1]
	c.files = c.files[:len(c.files)-1]
	return c.operation(engine.OpUnlink, path)
}

// data is 1 to writeMax random bytes.
func (c *loadClient) data() []byte {
	b := make([]byte, 1+c.random.IntN(writeMax))
	for i := range b {
		b[i] = byte(c.random.Uint32())
	}
	return b
}
