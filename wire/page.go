package wire

import (
	"encoding/binary"
	"fmt"
	"slices"
)

const (
	pageHeaderBytes  = 1 + 2
	pageRowBytes     = 8 + positionBytes + 8
	pageFlagsDefined = PageResume | PageLast
)

// Page flags.
const (
	PageResume uint8 = 1 // part of the answer to a hello: all logs
	PageLast   uint8 = 2 // the last page of the answer
)

// PageEntryMax is the most rows a page may hold.
const PageEntryMax = 4096

// CursorPage carries positions of changed logs, of all logs the site mirrors.
type CursorPage struct {
	Flags   uint8
	Entries []PageEntry // strictly rising by log
}

// PageEntry is one row of a CursorPage.
type PageEntry struct {
	Log     LogID
	Durable Position // the mirror's flushed tail
	Applied Seq      // in the Store, same incarnation; ≤ Durable.Seq
}

// AppliedAt is where the Store is. Its chain is known only at the end of what is durable.
func (e *PageEntry) AppliedAt() Position {
	switch e.Applied {
	case 0:
		return Position{}
	case e.Durable.Seq:
		return e.Durable
	}
	return Position{Incarnation: e.Durable.Incarnation, Seq: e.Applied}
}

// AppendTo appends a whole frame. More than PageEntryMax rows panic.
func (m *CursorPage) AppendTo(dst []byte, session uint32) []byte {
	if len(m.Entries) > PageEntryMax {
		panic(fmt.Sprintf("wire: cursor page of %d rows, limit %d", len(m.Entries), PageEntryMax))
	}
	at := len(dst)
	le := binary.LittleEndian
	dst = slices.Grow(dst, EnvelopeBytes+pageHeaderBytes+len(m.Entries)*pageRowBytes)
	dst = openFrame(dst, FrameCursorPage, session, 0)
	dst = append(dst, m.Flags)
	dst = le.AppendUint16(dst, uint16(len(m.Entries)))
	for i := range m.Entries {
		row := &m.Entries[i]
		dst = appendLog(dst, row.Log)
		dst = appendPosition(dst, row.Durable)
		dst = le.AppendUint64(dst, uint64(row.Applied))
	}
	return closeFrame(dst, at)
}

// Decode reads a cursor page's body and reuses m.Entries.
func (m *CursorPage) Decode(body []byte) error {
	r := bodyReader{kind: FrameCursorPage, body: body}
	m.Entries = m.Entries[:0]
	m.Flags = r.u8("flags")
	count := int(r.u16("row count"))
	switch {
	case m.Flags&^pageFlagsDefined != 0:
		r.refuse("reserved flags %02x", m.Flags)
	case m.Flags == PageLast:
		r.refuse("last page of no answer")
	case count > PageEntryMax:
		r.refuse("%d rows, limit %d", count, PageEntryMax)
	case len(body) != pageHeaderBytes+count*pageRowBytes:
		r.refuse("%d rows in a body of %d bytes", count, len(body))
	}
	if r.err != nil {
		return r.err
	}
	m.Entries = slices.Grow(m.Entries, count)
	for range count {
		row := PageEntry{Log: r.log(), Durable: r.position(), Applied: Seq(r.u64("applied"))}
		if n := len(m.Entries); n > 0 && m.Entries[n-1].Log.Compare(row.Log) >= 0 {
			r.refuse("row %d: log %s does not rise", n, row.Log)
		}
		if row.Applied > row.Durable.Seq {
			r.refuse("log %s: applied seq %d over durable seq %d", row.Log, row.Applied, row.Durable.Seq)
		}
		if r.err != nil {
			return r.err
		}
		m.Entries = append(m.Entries, row)
	}
	return r.end()
}
