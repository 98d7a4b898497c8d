// Package event promises that what happened is reported as facts, and put into words once.
//
//	heart, shell ─▶ a type of this package ─▶ hook of the host: the type, its text
//	                                       ├─▶ log: text, and a level by the table
//	                                       ├─▶ audit trail: text, if the table says so
//	                                       └─▶ metrics: a count by kind
//
// Each type has the facts as fields, a kind, and the sentence for people. The heart makes
// no sentences: two places that report the same fact use the same type. [Kinds] is the
// one table of what a kind means, whether it is an alarm and whether it is audited.
//
// An event is made when something happened, never per entry, so it may allocate.
//
// It does not deliver, limit or count events: the shell does.
package event
