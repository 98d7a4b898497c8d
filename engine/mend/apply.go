package mend

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/wire"
)

// ErrNotEqual: the rows here are not those of the source although all pieces were applied.
var ErrNotEqual = errors.New("the mended shard is not equal to the source")

// Apply applies a complete file from its first piece, proves by digests that the shard is
// equal to the source, and only then ends the mending with the source's cursors. done is
// called after each piece with the bytes of its rows. ErrNotEqual: the shard stays torn.
func (s *Spool) Apply(ctx context.Context, to store.Mender, done func(bytes int)) error {
	next := uint64(0)
	piece := func(p *store.MendPiece) error {
		p.Shard, p.Mend, p.Index = s.head.Shard, s.head.Mend, next
		if err := to.Mend(ctx, p); err != nil {
			return err
		}
		next++
		done(p.Bytes())
		return nil
	}
	if err := s.pieces(ctx, piece); err != nil {
		return err
	}
	if err := s.prove(ctx, to); err != nil {
		return err
	}
	return to.Mend(ctx, &store.MendPiece{
		Shard: s.head.Shard, Mend: s.head.Mend, Index: next, Last: true, Cursors: s.cursors,
	})
}

// pieces makes pieces of the parts of the file: rows of neighbours go together, as many as a
// piece takes. The same file makes the same pieces. A piece is borrowed for the call.
func (s *Spool) pieces(ctx context.Context, each func(*store.MendPiece) error) error {
	if len(s.parts) == 0 {
		return each(&store.MendPiece{Lo: []byte{}, Hi: []byte{}}) // it tears the shard, and no more
	}
	p := store.MendPiece{Lo: s.parts[0].Lo}
	size := 0
	cut := func(hi []byte) error {
		p.Hi = hi
		err := each(&p)
		p, size = store.MendPiece{Lo: hi}, 0
		return err
	}
	for i := range s.parts {
		part := &s.parts[i]
		if i > 0 && !bytes.Equal(s.parts[i-1].Hi, part.Lo) {
			if err := cut(s.parts[i-1].Hi); err != nil {
				return err
			}
			p.Lo = part.Lo
		}
		err := s.rows(ctx, part, func(key, value []byte) error {
			n := len(key) + len(value)
			if len(p.Rows) > 0 && size+n > store.MendPieceBytesMax {
				if err := cut(bytes.Clone(key)); err != nil {
					return err
				}
			}
			p.Rows = append(p.Rows, store.MendRow{Key: bytes.Clone(key), Value: bytes.Clone(value)})
			size += n
			return nil
		})
		if err != nil {
			return err
		}
	}
	return cut(s.parts[len(s.parts)-1].Hi)
}

// check reads every piece once: what the source gave is one, before anything changes.
func (s *Spool) check(ctx context.Context) error {
	next := uint64(0)
	return s.pieces(ctx, func(p *store.MendPiece) error {
		p.Shard, p.Mend, p.Index = s.head.Shard, s.head.Mend, next
		next++
		if err := p.Check(); err != nil {
			return fmt.Errorf("%w: %w", wire.ErrProtocol, err)
		}
		return nil
	})
}

// rows visits the rows of a part. Key and value are borrowed.
func (s *Spool) rows(ctx context.Context, part *held, visit func(key, value []byte) error) error {
	var buffer []byte
	for _, x := range part.rows {
		at := len(buffer)
		buffer = slices.Grow(buffer, x.bytes)[:at+x.bytes]
		if n, err := s.f.ReadAt(buffer[at:], x.at); n < x.bytes {
			return fmt.Errorf("%s/%s at offset %d: %w", s.dir, spoolName, x.at, errors.Join(err, io.ErrUnexpectedEOF))
		}
		rest := buffer
		for {
			key, value, more, ok, err := wire.NextRow(rest)
			if err != nil {
				return fmt.Errorf("%s/%s at offset %d: %w", s.dir, spoolName, x.at, err)
			}
			if !ok {
				break
			}
			if err := errors.Join(visit(key, value), ctx.Err()); err != nil {
				return err
			}
			rest = more
		}
		buffer = append(buffer[:0], rest...)
	}
	if len(buffer) > 0 {
		return fmt.Errorf("%s/%s: the rows from %x on end within a row: %w", s.dir, spoolName, part.Lo,
			wire.ErrProtocol)
	}
	return nil
}

// prove compares the shard here with the source, part for part.
func (s *Spool) prove(ctx context.Context, to store.Mender) error {
	view, err := to.MendView(ctx, s.head.Shard)
	if err != nil {
		return err
	}
	for i := range s.cover {
		part := &s.cover[i]
		digest, err := view.Digest(ctx, part.Lo, part.Hi)
		if err == nil && digest != part.Digest {
			err = fmt.Errorf("shard %d, rows from %x to %x: %w", s.head.Shard, part.Lo, part.Hi, ErrNotEqual)
		}
		if err != nil {
			return errors.Join(err, view.Close())
		}
	}
	return view.Close()
}
