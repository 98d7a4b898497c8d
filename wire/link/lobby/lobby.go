package lobby

import (
	"container/list"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/socket"
)

const (
	// maxDefault is Options.Max where that is 0.
	maxDefault = 512
	// filesPart of the limit of open files is what a lobby takes at most. A process
	// has two: what came in, and what began like a link.
	filesPart = 8
	// favoredMax bounds the addresses of peers that are remembered.
	favoredMax = 256
	// enterEvery is how often EnterIn looks.
	enterEvery = 20 * time.Millisecond
)

// Options of a Lobby. The zero value is ready to use.
type Options struct {
	// Max bounds the connections; 0 means 512. The limit of open files may say less.
	Max int
	// Stay is how long a silent connection keeps its place at least: while all are
	// younger, nobody else gets in. 0 = no longer than until the next one comes.
	Stay time.Duration
}

// Lobby counts connections that are not links yet. Any goroutine may call its methods.
type Lobby struct {
	max   int
	stay  time.Duration
	files func() int // the limit of open files; 0 = unknown

	mu      sync.Mutex
	guests  list.List // of *Guest, the oldest first
	favored int       // of guests
	known   []netip.Addr
	closed  bool
	counts  Counts
}

// Counts of a lobby's life.
type Counts struct {
	Entered uint64 // connections that got a place
	Pushed  uint64 // silent ones that were closed for a newer one
	Refused uint64 // connections that found no place
}

// Guest is one connection in a Lobby.
type Guest struct {
	lobby   *Lobby
	conn    io.Closer
	place   *list.Element // nil = it has left
	favored bool
	spoken  bool
	since   time.Time
}

// New returns an empty lobby.
func New(o Options) *Lobby {
	if o.Max == 0 {
		o.Max = maxDefault
	}
	return &Lobby{max: o.Max, stay: o.Stay, files: socket.FilesMax}
}

// Enter gives a connection from addr, host:port, a place until Leave. A lobby that is
// full closes its oldest silent connection for it; nil where there is none, and after
// Close: the connection is the caller's to close.
func (l *Lobby) Enter(c io.Closer, addr string) *Guest {
	from := hostOf(addr)
	l.mu.Lock()
	g := &Guest{lobby: l, conn: c, favored: slices.Contains(l.known, from), since: time.Now()}
	pushed, room := l.makeRoom(g)
	if room {
		g.place = l.guests.PushBack(g)
		l.counts.Entered++
		if g.favored {
			l.favored++
		}
	} else {
		l.counts.Refused++
	}
	l.mu.Unlock()
	if pushed != nil {
		_ = pushed.Close() // nobody used it
	}
	if !room {
		return nil
	}
	return g
}

// EnterIn is Enter, but that it waits for a place as long as d, or until Close.
func (l *Lobby) EnterIn(c io.Closer, addr string, d time.Duration) *Guest {
	for end := time.Now().Add(d); ; time.Sleep(enterEvery) {
		if g := l.Enter(c, addr); g != nil || l.over() || time.Now().After(end) {
			return g
		}
	}
}

func (l *Lobby) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// makeRoom takes a silent guest off the list if that gives g a place. l.mu is held.
func (l *Lobby) makeRoom(g *Guest) (pushed io.Closer, room bool) {
	if l.closed {
		return nil, false
	}
	most := l.max
	if files := l.files(); files > 0 {
		most = max(1, min(most, files/filesPart))
	}
	strangersMost := max(1, most-most/4)
	strangers := l.guests.Len() - l.favored
	switch {
	case l.guests.Len() < most && (g.favored || strangers < strangersMost):
		return nil, true
	case g.favored && strangers > 0:
		if pushed = l.push(g, false); pushed == nil {
			pushed = l.push(g, true)
		}
	default:
		pushed = l.push(g, g.favored)
	}
	return pushed, pushed != nil
}

// push takes the oldest silent guest of one kind off the list. l.mu is held.
func (l *Lobby) push(g *Guest, favored bool) io.Closer {
	for e := l.guests.Front(); e != nil; e = e.Next() {
		o := e.Value.(*Guest)
		if o.favored != favored || o.spoken {
			continue
		}
		if g.since.Sub(o.since) < l.stay {
			return nil // and so are all behind it
		}
		l.counts.Pushed++
		l.remove(o)
		return o.conn
	}
	return nil
}

// remove takes a guest off the list. l.mu is held.
func (l *Lobby) remove(g *Guest) {
	if g.place == nil {
		return
	}
	l.guests.Remove(g.place)
	g.place = nil
	if g.favored {
		l.favored--
	}
}

// Spoke notes that a whole first frame came: the connection keeps its place until
// Leave. From here on Close of the lobby closes c instead of it. False when the
// connection was closed for another one meanwhile.
func (g *Guest) Spoke(c io.Closer) bool {
	g.lobby.mu.Lock()
	defer g.lobby.mu.Unlock()
	g.spoken, g.conn = true, c
	return g.place != nil
}

// Leave gives the place back, once. Of nil it does nothing.
func (g *Guest) Leave() {
	if g == nil {
		return
	}
	g.lobby.mu.Lock()
	defer g.lobby.mu.Unlock()
	g.lobby.remove(g)
}

// Favor keeps a share of the places for an address, host:port or host alone. It ignores
// what is not an IP address.
func (l *Lobby) Favor(addr string) {
	ip := hostOf(addr)
	if !ip.IsValid() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.known, ip); i >= 0 {
		l.known = slices.Delete(l.known, i, i+1)
	} else if len(l.known) == favoredMax {
		l.known = slices.Delete(l.known, 0, 1)
	}
	l.known = append(l.known, ip)
}

// PushOne closes the oldest silent connection, if there is one: where the system has
// no descriptor left for the next one.
func (l *Lobby) PushOne() {
	l.mu.Lock()
	g := &Guest{since: time.Now()}
	pushed := l.push(g, false)
	if pushed == nil {
		pushed = l.push(g, true)
	}
	l.mu.Unlock()
	if pushed != nil {
		_ = pushed.Close() // nobody used it
	}
}

// Len is how many connections have a place.
func (l *Lobby) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.guests.Len()
}

// Spoken is how many of them have had their first frame.
func (l *Lobby) Spoken() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for e := l.guests.Front(); e != nil; e = e.Next() {
		if e.Value.(*Guest).spoken {
			n++
		}
	}
	return n
}

// Counts returns the counters.
func (l *Lobby) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts
}

// AddTo adds what is here, and was, to in.
func (l *Lobby) AddTo(in *link.Incoming) {
	counts := l.Counts()
	in.Silent += l.Len() - l.Spoken()
	in.Accepted += counts.Entered
	in.Evicted += counts.Pushed
	in.Refused += counts.Refused
}

// Close closes every connection that has a place. Nobody enters any more.
func (l *Lobby) Close() {
	l.mu.Lock()
	l.closed = true
	var all []io.Closer
	for e := l.guests.Front(); e != nil; e = l.guests.Front() {
		g := e.Value.(*Guest)
		all = append(all, g.conn)
		l.remove(g)
	}
	l.mu.Unlock()
	for _, c := range all {
		_ = c.Close() // nobody used it
	}
}

// hostOf is the address of host:port, or of an address alone; else the zero one.
func hostOf(addr string) netip.Addr {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		addr = host
	}
	ip, _ := netip.ParseAddr(addr)
	return ip.Unmap().WithZone("")
}
