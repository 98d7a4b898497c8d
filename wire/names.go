package wire

import "strconv"

// name looks n up in a table whose first value belongs to 1.
func name(table []string, kind string, n int) string {
	if n >= 1 && n <= len(table) {
		return table[n-1]
	}
	return kind + " " + strconv.Itoa(n)
}

var batchKindNames = []string{"data", "start", "marker", "control"}

func (k BatchKind) String() string { return name(batchKindNames, "batch kind", int(k)) }

var ackLevelNames = []string{"received", "durable", "applied"}

func (l AckLevel) String() string { return name(ackLevelNames, "ack level", int(l)) }

// Codes of a session begin at 1, those of a log at 32.
var (
	sessionCodeNames = []string{
		"version", "cluster", "site", "site collision", "shards", "session", "feature",
		"digest kind", "primary", "malformed", "goodbye", "superseded", "internal",
		"fenced", "identity", "removed",
	}
	logCodeNames = []string{
		"unknown incarnation", "chain", "gap", "epoch", "order", "suspect",
		"not retained", "shard range", "not writer",
	}
)

func (c RefusalCode) String() string {
	if c >= RefuseUnknownIncarnation && int(c-RefuseUnknownIncarnation) < len(logCodeNames) {
		return logCodeNames[c-RefuseUnknownIncarnation]
	}
	return name(sessionCodeNames, "refusal code", int(c))
}
