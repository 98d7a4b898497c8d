package engine

import (
	"slices"
	"time"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/wire/link"
)

// A frame of a megabyte takes seconds on a slow path, and no other comes meanwhile.
// That is no silence as long as its bytes do: the kernel counts them.

// movement is what the kernel had counted when a silent link was looked at last.
type movement struct {
	heard    time.Duration // when the silence began, Mono
	received uint64
}

// moving lists the links that have been silent for so long, and to which bytes came
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
	before := l.moved
	l.moved = movement{heard, link.InfoOf(l.conn).ReceivedBytes}
	return before.heard == heard && l.moved.received > before.received
}
