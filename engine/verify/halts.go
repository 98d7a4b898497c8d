package verify

import (
	"errors"
	"fmt"
	"time"

	"github.com/claudefs/repl/wire"
)

// Halts is what stands still at a site, as of now. What cannot come is not waited for.
type Halts struct {
	// Here are logs of which nothing more comes into the journals here, and why.
	Here map[wire.LogID]error
	// Towards are own logs that are left out of the session with a peer.
	Towards map[wire.SiteID]map[wire.LogID]Halt
	// Silent are sites of whose logs nothing comes, for want of a session, and why.
	Silent map[wire.SiteID]error
	// Unsent are sites to which nothing goes, for want of a session.
	Unsent map[wire.SiteID]bool
	// LeftOut counts the logs that a site leaves out of its session with this one.
	LeftOut map[wire.SiteID]int
}

// Halt is why a log is left out.
type Halt struct {
	Why  error
	Fork bool // the histories differ (I4)
}

// forks are the logs that have stopped towards a peer because the histories differ.
func (h *Halts) forks(peer wire.SiteID) map[wire.LogID]bool {
	forks := make(map[wire.LogID]bool)
	for log, halt := range h.Towards[peer] {
		if halt.Fork {
			forks[log] = true
		}
	}
	return forks
}

// copyHalts is why the copy of a log here does not grow: nil while it may. still is for how
// long it has not.
func (h *Halts) copyHalts(log wire.LogID, still time.Duration) error {
	if err := h.Here[log]; err != nil {
		return err
	}
	if err := h.Silent[log.Site]; err != nil {
		return &unreached{err}
	}
	if n := h.LeftOut[log.Site]; n > 0 && still >= stillMax {
		return fmt.Errorf("its site leaves %d logs out of the session with this one, and says why in its status", n)
	}
	return nil
}

// stillMax is how long what may come in a moment is waited for.
const stillMax = 2 * time.Second

// unreached is why a point is not reached now, although no log is stopped.
type unreached struct{ why error }

func (u *unreached) Error() string { return errPoint.Error() + ": " + u.why.Error() }

func (u *unreached) Is(err error) bool { return err == errPoint }

func (u *unreached) Unwrap() error { return u.why }

// halts is what stands still here. A session that is lost has the time that links are given.
func (v *Verifier) halts() *Halts {
	h, now := v.Site.Halts(), time.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	for site := range v.silent {
		if h.Silent[site] == nil {
			delete(v.silent, site)
		}
	}
	for site := range h.Silent {
		if v.silent[site].IsZero() {
			v.silent[site] = now
		}
		if now.Sub(v.silent[site]) < linkWaitMax {
			delete(h.Silent, site)
		}
	}
	return h
}

// haltedError is why a log was not compared that stands still: it lasts, unless for want of
// a session.
func haltedError(err error) error {
	if errors.Is(err, errPoint) {
		return err
	}
	return &lasting{err}
}

// stand is since when something has stood at a seq.
type stand struct {
	seq   wire.Seq
	since time.Time
}

// at says for how long it has stood there.
func (s *stand) at(seq wire.Seq) time.Duration {
	if now := time.Now(); seq != s.seq || s.since.IsZero() {
		*s = stand{seq, now}
	}
	return time.Since(s.since)
}

// wait is somebody's wait for a point of a log.
type wait struct {
	v     *Verifier
	log   wire.LogID
	seq   wire.Seq
	stand stand
	lost  time.Time // the Store has waited for a repair; zero = it does not
}

// ended is why the point will not come, as things stand; nil: it may.
func (w *wait) ended() error {
	site, now := w.v.Site, time.Now()
	if err := site.Stopped(w.log); err != nil {
		return err
	}
	j := site.Journal(w.log)
	if j == nil {
		return nil
	}
	if end := tailIn(j, w.log).Seq; end < w.seq {
		if err := w.v.halts().copyHalts(w.log, w.stand.at(end)); err != nil {
			return err
		}
	}
	cursors, err := w.v.Store.Cursors(w.log.Shard)
	switch {
	case err != nil:
		return err
	case !j.NextLost(w.log, positionIn(cursors, w.log)):
		w.lost = time.Time{}
	case w.lost.IsZero():
		w.lost = now
	case now.Sub(w.lost) >= stillMax:
		return &unreached{errors.New("the Store waits for a repair of what damage took")}
	}
	return nil
}
