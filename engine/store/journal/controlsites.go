package journal

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/claudefs/repl/wire"
)

// Control records of sites that are taken in or removed while a node runs: version 2 of the
// control state. A release that reads version 1 only refuses it by name.

// siteLearner is bit 0 of a site record's flags; the others are zero.
const siteLearner = 1

// How large such records are at most.
const (
	siteRecordMax    = recordBytes + 4 + 1 + 1 + peerNameBytesMax + 1 + SiteAddrsMax*(1+SiteAddrBytesMax)
	removedRecordMax = recordBytes + 4 + 8 + 1 + peerNameBytesMax + 1 + removedByBytesMax
)

// versionOf is the version of a control batch with these records.
func versionOf(records []ControlRecord) uint8 {
	for i := range records {
		if records[i].Site != nil || records[i].Removed != nil {
			return controlVersionSites
		}
	}
	return controlVersion
}

func siteRecordBytes(s *wire.SiteRecord) int {
	n := recordBytes + 4 + 1 + 1 + len(s.Name) + 1
	for _, addr := range s.Addrs {
		n += 1 + len(addr)
	}
	return n
}

func removedRecordBytes(s *wire.RemovedSite) int {
	return recordBytes + 4 + 8 + 1 + len(s.Name) + 1 + min(len(s.By), removedByBytesMax)
}

// appendShort appends text of at most 255 bytes with its length.
func appendShort(b []byte, text string) []byte { return append(append(b, uint8(len(text))), text...) }

// appendMember encodes a site that is taken in or removed.
func appendMember(b []byte, r *ControlRecord, emit func([]byte) []byte) ([]byte, error) {
	le := binary.LittleEndian
	if s := r.Removed; s != nil {
		if len(s.Name) > peerNameBytesMax || s.Site == 0 {
			return b, fmt.Errorf("removed site %08x with a name of %d bytes: %w",
				uint32(s.Site), len(s.Name), wire.ErrLimit)
		}
		f := le.AppendUint64(le.AppendUint32(nil, uint32(s.Site)), uint64(s.At))
		f = appendShort(appendShort(f, s.Name), s.By[:min(len(s.By), removedByBytesMax)])
		return emit(appendRecord(b, recordRemoved, f)), nil
	}
	s, flags := r.Site, uint8(0)
	if s.Learner {
		flags = siteLearner
	}
	f := appendShort(append(le.AppendUint32(nil, uint32(s.Site)), flags), s.Name)
	f = append(f, uint8(len(s.Addrs)))
	fits := len(s.Name) <= peerNameBytesMax && s.Site != 0 && len(s.Addrs) <= SiteAddrsMax
	for _, addr := range s.Addrs {
		fits = fits && len(addr) <= SiteAddrBytesMax
		f = appendShort(f, addr)
	}
	if !fits {
		return b, fmt.Errorf("site %08x with a name of %d bytes and %d addresses, at most %d of %d bytes: %w",
			uint32(s.Site), len(s.Name), len(s.Addrs), SiteAddrsMax, SiteAddrBytesMax, wire.ErrLimit)
	}
	return emit(appendRecord(b, recordSite, f)), nil
}

// fields takes what appendMember put into a record. bad: there is less.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) take(n int) []byte {
	if f.bad = f.bad || len(f.b) < n; f.bad {
		return make([]byte, n)
	}
	b := f.b[:n]
	f.b = f.b[n:]
	return b
}

func (f *fields) short() string { return string(f.take(int(f.take(1)[0]))) }

// end says whether the record ends here, and is whole.
func (f *fields) end(what string, site wire.SiteID) error {
	if f.bad || len(f.b) > 0 || site == 0 {
		return fmt.Errorf("control record of %s site %08x: %w", what, uint32(site), wire.ErrProtocol)
	}
	return nil
}

func foldSite(c *Control, b []byte) error {
	f := fields{b: b}
	s := wire.SiteRecord{Site: wire.SiteID(binary.LittleEndian.Uint32(f.take(4)))}
	flags := f.take(1)[0]
	s.Learner, s.Name = flags == siteLearner, f.short()
	count := int(f.take(1)[0])
	f.bad = f.bad || count > SiteAddrsMax || flags > siteLearner
	for range count {
		s.Addrs = append(s.Addrs, f.short())
	}
	if err := f.end("a", s.Site); err != nil {
		return err
	}
	c.Removed = slices.DeleteFunc(c.Removed, func(o wire.RemovedSite) bool { return o.Site == s.Site })
	i, found := slices.BinarySearchFunc(c.Sites, s.Site,
		func(o wire.SiteRecord, site wire.SiteID) int { return cmp.Compare(o.Site, site) })
	if !found {
		c.Sites = slices.Insert(c.Sites, i, wire.SiteRecord{})
	}
	c.Sites[i] = s
	return nil
}

func foldRemoved(c *Control, b []byte) error {
	f, le := fields{b: b}, binary.LittleEndian
	s := wire.RemovedSite{Site: wire.SiteID(le.Uint32(f.take(4))), At: wire.Stamp(le.Uint64(f.take(8)))}
	s.Name, s.By = f.short(), f.short()
	f.bad = f.bad || len(s.By) > removedByBytesMax
	if err := f.end("a removed", s.Site); err != nil {
		return err
	}
	c.drop(s.Site)
	c.Removed = append(slices.DeleteFunc(c.Removed, func(o wire.RemovedSite) bool { return o.Site == s.Site }), s)
	c.Removed = c.Removed[max(0, len(c.Removed)-RemovedSitesMax):]
	return nil
}

// drop takes a site off what is known of peers.
func (c *Control) drop(site wire.SiteID) {
	c.Peers = slices.DeleteFunc(c.Peers, func(p wire.RegisteredPeer) bool { return p.Site == site })
	c.Sites = slices.DeleteFunc(c.Sites, func(s wire.SiteRecord) bool { return s.Site == site })
}

func (c *Control) removed(site wire.SiteID) bool {
	return slices.ContainsFunc(c.Removed, func(s wire.RemovedSite) bool { return s.Site == site })
}
