// Package step defines the types of one step of the heart: its input, its effects, the
// configuration, and what a node finds when it starts. It decides nothing but how two
// positions of a log relate ([Relate]) and which peers are configured ([Members]).
//
//	Input ──▶ ┌─────────────────────────────────────────────┐ ──▶ Effects
//	 Now ───▶ │ Turn: configuration, names, tickets, events │
//	          └──▲─────────▲──────────▲─────────▲───────────┘
//	           role    admission    fetch     stream       rooms of package node
//
// The rooms of the heart share one [Turn]: it carries the step's time and effects, so a
// room appends what it wants done in the order in which it decides it, and no room has to
// hand on what another one wants.
//
// # Limits
//
// Effects keep the memory of the largest step. A Turn lists each stopped log once.
//
// # What it does not do
//
// It does not order effects of different kinds: see [Effects]. It does not check an input:
// that is the room's that takes it.
package step
