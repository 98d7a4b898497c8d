// Package mend makes one shard equal to the same shard of another site: at one view of that
// site, by digests of parts, and proven by them. Everything that differs is in one file,
// complete and flushed, before anything here changes. From then on the end needs nobody.
//
//	      site-b, whose shard is mended                      site-a, the source
//	Job ── hold the shard ─────────────── MendOpen ────────▶ a view; its journals keep what follows
//	  │    Gather: digests of parts  ◀─── cursors ──────────
//	  │      equal: nothing        ────── MendParts ───────▶
//	  │      differs: 64 times smaller ◀─ digests ──────────
//	  │      at most 64 rows       ────── MendRows ────────▶
//	  │    Spool: rows, cursors    ◀───── rows, ≤ 1 MiB ────
//	  │    Spool: every part's digest, the end, flushed
//	  │    Store.Mend: piece 0 ▸ torn … piece n
//	  │    digest of every part = the source's?  no: the file is dropped, and Gather begins again
//	  └─── Store.Mend: last piece ▸ cursors, whole; the file goes
//
// Gather is pure: answers come in, questions and records for the file go out.
//
// # What may happen meanwhile
//
//   - The link or the source goes, and its view with it. If the next view has the same
//     cursors, it has the same rows, and the file goes on. Else each part in the file is
//     asked for by its digest, so that only what changed since is sent again.
//   - This site is killed, or loses power: the file ends before the first record whose bytes
//     do not hold. An incomplete one goes on as above. A complete one is applied again from
//     its first piece.
//   - There is no room for the file: the shard is as it was, and waits.
//   - The bytes of a complete file do not hold any more, while its shard is torn: it stays
//     torn, and is mended again from any source.
//
// # Invariants
//
//   - I7: a mended shard has the source's rows, by the digest of every part, at its cursors.
//   - I9: each record of the file, and each frame, has a checksum.
//   - I10: one file, of one shard; one question at a time; about 150 bytes of memory for each
//     64 rows that differ, and 8 MiB.
//   - I12: the source's floors of the shard's logs stay where they are from before the view
//     is opened until the mending ends, or its link.
//
// # What it does not do
//
// Decide which shard is mended, from where, or hold it: the engine does. Orphans: what only
// this site has is the caller's to show before (Accept). Views of several sites.
package mend
