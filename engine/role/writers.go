package role

import (
	"fmt"

	"github.com/claudefs/repl/wire"
)

// Writers says which site writes which domain. The zero value lets nobody write.
type Writers struct {
	Primary wire.SiteID // writes domain 0, the only one
	Epoch   wire.Epoch  // in which it does
}

// Writes says whether a site writes its logs now.
func (w Writers) Writes(site wire.SiteID) bool { return site == w.Primary }

// Judge says by its header whether a batch comes from the writer of its log, in the epoch
// that this site knows. Code 0: it does.
func (w Writers) Judge(h *wire.BatchHeader) (code wire.RefusalCode, text string) {
	switch {
	case h.Domain != 0:
		return wire.RefuseNotWriter, fmt.Sprintf(
			"seq %d is of domain %08x, the cluster has one writer", h.FirstSeq, h.Domain)
	case !w.Writes(h.Site):
		return wire.RefuseNotWriter, fmt.Sprintf(
			"seq %d is of site %08x, the primary is site %08x", h.FirstSeq, h.Site, w.Primary)
	case h.Epoch != w.Epoch:
		return wire.RefuseEpoch, fmt.Sprintf(
			"seq %d is of epoch %s, site %08x writes in epoch %s", h.FirstSeq, h.Epoch, w.Primary, w.Epoch)
	}
	return 0, ""
}
