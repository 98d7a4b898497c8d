package node

import "github.com/claudefs/repl/wire"

// What a START says goes to all rooms that compare positions of its shard; package stream has
// the flow (opens.go).

// learn notes a START that a journal takes or has. An error: another incarnation of its epoch
// is known.
func (n *Node) learn(s *wire.Start) error {
	if before := s.Before; before.Seq != 0 {
		n.t.Learn(s.Log, before.Incarnation, n.role.Known.EpochOf(s.Log.Shard, before.Incarnation))
	}
	n.t.Learn(s.Log, s.Incarnation, s.Epoch)
	if err := n.mirrors.Learn(s); err != nil {
		return err
	}
	if s.Log.Site == n.t.C.Site {
		n.mirrors.OweOwn(s.Log)
	}
	return nil
}

// held is where the journals end durably in a log.
func (n *Node) held(log wire.LogID) wire.Position {
	if o := n.ownLog(log); o != nil {
		return o.Tail
	}
	if m := n.mirrorLog(log); m != nil {
		return m.Durable
	}
	return wire.Position{}
}

// ownRow is what pages show of an own log.
func (n *Node) ownRow(s wire.Shard) wire.Position {
	if n.role.Own() {
		return n.out.Closed(s)
	}
	return n.own[s].Tail
}
