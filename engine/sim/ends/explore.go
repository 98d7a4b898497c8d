package ends

import (
	"crypto/sha256"
	"slices"
)

// A Result is what an exploration found. Found is empty or the broken promise with the steps to it.
type Result struct {
	States, Depth, Quiet int
	Whole                bool // every state within the bound was seen
	Found                string
}

type key [16]byte

// A node is a state seen: how it was reached, and one step that the sites take from here by
// themselves, so that the end of the exploration can follow each of them to a quiet state.
type node struct {
	parent int32
	onward int32 // -1: none
	step   Step
}

// An explorer goes breadth-first: the first way to a state is a shortest one.
type explorer struct {
	*model
	seen  map[key]int32
	nodes []node
	bytes []byte
}

// Explore visits every state within the bound, at most limit of them.
func Explore(b Bound, limit int) Result {
	e := &explorer{model: newModel(b), seen: map[key]int32{}}
	e.add(e.first(), -1, Step{})
	var r Result
	level := []State{*e.first()}
	for at := 0; len(level) > 0; r.Depth++ {
		var following []State
		for i := range level {
			quiet, found := e.expand(&level[i], int32(at), &following)
			if quiet {
				r.Quiet++
			}
			if at++; found != "" {
				r.States, r.Found = len(e.nodes), found
				return r
			}
			if len(e.nodes) > limit {
				r.States = len(e.nodes)
				return r
			}
		}
		level = following
	}
	r.States, r.Whole = len(e.nodes), true
	r.Found = e.stuck()
	return r
}

func (e *explorer) add(w *State, parent int32, s Step) (id int32, fresh bool) {
	e.bytes = w.encode(e.bytes[:0], e.Sites)
	sum := sha256.Sum256(e.bytes)
	k := key(sum[:16])
	if id, ok := e.seen[k]; ok {
		return id, false
	}
	id = int32(len(e.nodes))
	e.seen[k] = id
	e.nodes = append(e.nodes, node{parent, -1, s})
	return id, true
}

func (e *explorer) expand(w *State, at int32, following *[]State) (quiet bool, found string) {
	quiet = true
	e.each(w, func(s Step, after *State) bool {
		bad := e.bad
		id, fresh := e.add(after, at, s)
		if rules[s.Rule].system {
			quiet = false
			e.nodes[at].onward = id
		}
		if bad != "" {
			found = e.trace(at, &s, bad)
			return false
		}
		if fresh {
			*following = append(*following, *after)
		}
		return true
	})
	if found != "" {
		return false, found
	}
	if bad := e.always(w); bad != "" {
		return false, e.trace(at, nil, bad)
	}
	if quiet {
		if bad := e.quiet(w); bad != "" {
			return false, e.trace(at, nil, bad)
		}
	}
	return quiet, ""
}

// stuck follows from each state what the sites do by themselves: all must come to rest.
func (e *explorer) stuck() string {
	rests := make([]uint8, len(e.nodes)) // 1 on the way, 2 comes to rest
	for id := range e.nodes {
		var way []int32
		at := int32(id)
		for at >= 0 && rests[at] == 0 {
			rests[at] = 1
			way = append(way, at)
			at = e.nodes[at].onward
		}
		if at >= 0 && rests[at] == 1 {
			return e.trace(at, nil, "the sites never come to rest")
		}
		for _, n := range way {
			rests[n] = 2
		}
	}
	return ""
}

func (e *explorer) trace(at int32, last *Step, bad string) string {
	var steps []Step
	if last != nil {
		steps = append(steps, *last)
	}
	for ; at > 0; at = e.nodes[at].parent {
		steps = append(steps, e.nodes[at].step)
	}
	slices.Reverse(steps)
	return newModel(e.Bound).tell(steps, bad)
}
