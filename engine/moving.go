package engine

import (
	"slices"
	"time"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/wire/link"
)

// A frame of a megabyte takes seconds on a slow path, and nothing else is heard
// meanwhile, at either end. That is no silence as long as its bytes move: the kernel
// counts them.

// largeBytes on their way are more than heartbeats, which the kernel of a machine
// confirms although its process stands still.
const largeBytes = 64 << 10

// movement is what the kernel had counted when a silent link was looked at last.
type movement struct {
	heard           time.Duration // when the silence began, Mono
	received, acked uint64
}

// moving lists the links that have been silent for so long, and whose bytes have moved
// since they were looked at last in this silence.
func (ls *links) moving(now, silent time.Duration) (ids []node.LinkID) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for id, l := range ls.open {
		if heard := time.Duration(l.heard.Load()); now-heard >= silent && l.moves(heard) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (l *peerLink) moves(heard time.Duration) bool {
	info, before := link.InfoOf(l.conn), l.moved
	l.moved = movement{heard, info.ReceivedBytes, info.AckedBytes}
	return before.heard == heard && (info.ReceivedBytes > before.received ||
		info.AckedBytes > before.acked && info.UnackedBytes > largeBytes)
}
