package uring

import (
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// underway knows each operation in flight by its user, for kernels that cannot
// cancel everything at once (before 5.19, so below SetupCoop).
type underway struct {
	prepared []*SQE
	users    map[uint64]int
}

// submitted: the kernel took the first count of what was prepared.
func (u *underway) submitted(count int) {
	for _, s := range u.prepared[:count] {
		u.users[s.user]++
	}
	u.prepared = u.prepared[:copy(u.prepared, u.prepared[count:])]
}

// ended: an operation of user has had its last completion. A message from another
// ring has a user too, which is unknown here or, at worst, one operation's of ours.
func (u *underway) ended(user uint64) {
	if n := u.users[user]; n > 1 {
		u.users[user] = n - 1
	} else {
		delete(u.users, user)
	}
}

// drain ends what is in flight. Messages from other rings make inFlight too
// small, so the kernel's word that nothing is left to cancel counts as well.
func (r *Ring) drain() error {
	deadline := time.Now().Add(closeWithin)
	for r.stats.Submitted > 0 {
		asked, found := r.prepareCancels(), false
		for asked > 0 {
			if _, err := r.SubmitAndWait(1, 10*time.Millisecond); err != nil {
				return err
			}
			r.Completions(func(c Completion) {
				if c.User == closeUser {
					asked--
					found = found || c.Res > 0 || c.Res == -int32(unix.EALREADY)
				}
			})
			if time.Now().After(deadline) {
				return fmt.Errorf("%d operations still in flight", r.inFlight)
			}
		}
		left := r.inFlight > 0
		if r.underway != nil {
			left = len(r.underway.users) > 0
		}
		if !found && !left {
			return nil
		}
		runtime.Gosched()
	}
	return nil
}

// prepareCancels asks for the end of everything, or of as much as fits, and
// returns how many answers will come.
func (r *Ring) prepareCancels() (asked int) {
	if r.underway == nil {
		r.Next().cancelEverything(closeUser)
		return 1
	}
	for user := range r.underway.users {
		if r.Space() == 0 {
			break
		}
		r.Next().Cancel(closeUser, user)
		asked++
	}
	if asked == 0 { // nothing known, which an answer confirms as ENOENT does
		r.Next().Nop(closeUser)
		asked++
	}
	return asked
}
