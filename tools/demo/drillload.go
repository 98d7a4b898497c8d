package demo

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/fsclient"
	"github.com/claudefs/repl/tools/namespace"
	"github.com/claudefs/repl/wire"
)

const (
	// attemptMax is how long a client waits for one site before it asks the next: one that is
	// frozen accepts connections all the same.
	attemptMax = 2 * time.Second
	// anySite is a client's choice that nobody restricts.
	anySite = -1
)

// promise is an entry that a client was told is done.
type promise struct {
	ref     wire.Ref
	at      int  // which site said so
	durable bool // every other site had it durably when the drill looked, as after Durable(1)
	left    bool // it was not when a site was promoted, which need not have taken it over
}

// drillLoad are clients that change the namespace at the site that writes, wherever that is:
// each operation is tried at one site after another, under one request id, until it is
// acknowledged. Each makes new names or writes to one file of its own, so that an operation
// stays possible whatever a failover loses, and is refused only where it is done twice.
type drillLoad struct {
	admins []string     // of the sites
	data   int          // bytes of a write, at most
	gate   sync.RWMutex // held to write while nothing may be under way
	only   [clientCount]atomic.Int32
	ended  chan error
	cancel context.CancelFunc

	mu      sync.Mutex
	acked   map[string]promise // by request id, in hex as in a decided row
	last    time.Time          // of the newest acknowledgement
	longest time.Duration      // between two of them, since measure
	counts  []int64            // acknowledged, by site
}

// startDrillLoad starts the clients, whose directories are made when it returns.
func startDrillLoad(ctx context.Context, sites *drillSites, seed uint64, data int) (*drillLoad, error) {
	l := &drillLoad{
		admins: sites.admins, data: data, acked: map[string]promise{}, counts: make([]int64, len(sites.admins)),
		ended: make(chan error, 1), last: time.Now(),
	}
	for i := range l.only {
		l.only[i].Store(anySite)
	}
	var clients []*loadClient
	for id := range clientCount {
		c := &loadClient{id: id, random: rand.New(rand.NewPCG(seed, uint64(id)+1))}
		clients = append(clients, c)
		for top := range topsPerLoad {
			for _, op := range []*namespace.Operation{
				c.operation(engine.OpMkDir, c.top(top)), c.operation(engine.OpCreate, c.top(top)+"/base"),
			} {
				if err := l.do(ctx, c, op); err != nil {
					return nil, err
				}
			}
		}
	}
	ctx, l.cancel = context.WithCancel(ctx)
	var running sync.WaitGroup
	for _, c := range clients {
		running.Go(func() { // ends with ctx, which the first failure ends
			if err := l.run(ctx, c); err != nil {
				l.fail(err)
			}
		})
	}
	go func() { // ends with the clients
		running.Wait()
		close(l.ended)
	}()
	return l, nil
}

// fail keeps the first failure and ends the clients.
func (l *drillLoad) fail(err error) {
	select {
	case l.ended <- err:
	default:
	}
	l.cancel()
}

// failed is why the clients ended, if they did.
func (l *drillLoad) failed() error {
	select {
	case err, ok := <-l.ended:
		if ok {
			return fmt.Errorf("clients: %w", err)
		}
	default:
	}
	return nil
}

// stop ends the clients and waits for them.
func (l *drillLoad) stop() {
	l.cancel()
	for range l.ended { // closed behind the last client
	}
}

func (l *drillLoad) run(ctx context.Context, c *loadClient) error {
	for ctx.Err() == nil {
		l.gate.RLock()
		err := l.do(ctx, c, l.next(c))
		l.gate.RUnlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// next is a new name, or a write to a client's own file.
func (l *drillLoad) next(c *loadClient) *namespace.Operation {
	top := c.top(c.random.IntN(topsPerLoad))
	if c.random.IntN(2) == 0 {
		return c.operation(engine.OpCreate, c.name(top))
	}
	o := c.operation(engine.OpWrite, top+"/base")
	o.Offset, o.Data = uint64(c.random.IntN(writeMax)), make([]byte, 1+c.random.IntN(l.data))
	for i := range o.Data {
		o.Data[i] = byte(c.random.Uint32())
	}
	return o
}

// do has one operation acknowledged by whichever site writes, and remembers it.
func (l *drillLoad) do(ctx context.Context, c *loadClient, op *namespace.Operation) error {
	site := 0
	for ctx.Err() == nil {
		if only := int(l.only[c.id].Load()); only != anySite {
			site = only
		}
		attempt, cancel := context.WithTimeout(ctx, attemptMax)
		outcomes, at, err := l.attempt(attempt, site, op)
		cancel()
		if len(outcomes) == 1 {
			if err := outcomes[0].Err; err != nil {
				return fmt.Errorf("%s refused request %x, which it can do only once: %w",
					drillNames[site], op.Request, err)
			}
			l.note(op, at, outcomes[0].Ref)
			return nil
		}
		if errors.Is(err, fsclient.ErrAnswer) {
			return err
		}
		site = (site + 1) % len(l.admins)
		if site == 0 {
			l.rest(ctx)
		}
	}
	return nil
}

// attempt asks one site, which may name the one that writes; at: which it was that answered. Each
// attempt has a client of its own: one that was led to the writer stays there.
func (l *drillLoad) attempt(ctx context.Context, site int, op *namespace.Operation) (
	outcomes []fsclient.Outcome, at int, err error) {
	client := fsclient.New(l.admins[site])
	defer client.Close()
	outcomes, err = client.Do(ctx, *op)
	if at = slices.Index(l.admins, client.Addr()); at < 0 {
		at = site
	}
	return outcomes, at, err
}

// rest lets a moment pass between two rounds over all sites.
func (l *drillLoad) rest(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, pollEvery)
	defer cancel()
	<-ctx.Done()
}

func (l *drillLoad) note(op *namespace.Operation, site int, ref wire.Ref) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.longest = max(l.longest, now.Sub(l.last))
	l.last = now
	l.acked[hex.EncodeToString(op.Request[:])] = promise{ref: ref, at: site}
	l.counts[site]++
}

// measure begins to look for the longest time without an acknowledgement.
func (l *drillLoad) measure() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last, l.longest = time.Now(), 0
}

// stall is the longest time without an acknowledgement since measure.
func (l *drillLoad) stall() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.longest
}

// pin has half of the clients ask one site only, the others another.
func (l *drillLoad) pin(a, b int) {
	for i := range l.only {
		l.only[i].Store(int32([]int{a, b}[i%2]))
	}
}

// free lets all clients ask any site.
func (l *drillLoad) free() { l.pin(anySite, anySite) }

// count is how many operations a site acknowledged.
func (l *drillLoad) count(site int) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts[site]
}

// leave marks what is not durable at every site, before one of them is promoted.
func (l *drillLoad) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for request, p := range l.acked {
		p.left = !p.durable
		l.acked[request] = p
	}
}

// kept marks what was acknowledged as durable at every site, but for what a promotion has left.
func (l *drillLoad) kept() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for request, p := range l.acked {
		p.durable = !p.left
		l.acked[request] = p
	}
}
