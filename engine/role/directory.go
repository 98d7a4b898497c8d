package role

import "github.com/claudefs/repl/wire"

// Directory is what a data directory and its Store show of who writes.
type Directory struct {
	Site   wire.SiteID // whose it is
	Record wire.SiteID // the writer on record; 0 = none
	Epoch  wire.Epoch  // in which it writes; 0 = none is on record
	Peers  bool        // peers are registered
	Logs   []wire.LogID
}

// Writer is the site that the directory knows to write; 0 = it is new, or was only ever
// started alone and holds nothing. The logs of one site say more than a record of this
// one: that may be older than the peers of this directory.
func (d *Directory) Writer() wire.SiteID {
	if d.Epoch > First { // no flag made that: an operator, or the writer itself, did
		return d.Record
	}
	var writer wire.SiteID
	several := false
	for _, log := range d.Logs {
		if log.Shard != wire.ShardControl {
			several = several || writer != 0 && log.Site != writer
			writer = log.Site
		}
	}
	switch {
	case writer != 0 && !several:
		return writer
	case d.Record != d.Site || d.Peers || several:
		return d.Record
	}
	return 0
}

// Stale says that the record counts for nothing. It is taken off before a peer can be
// registered, because beside one it would count.
func (d *Directory) Stale() bool { return d.Record != 0 && d.Writer() == 0 }
