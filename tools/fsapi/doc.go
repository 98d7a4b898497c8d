// Package fsapi is what a reference node and its clients agree on, below
// /v1/fs/ of the admin address.
//
//	POST ops       operations in, results out, both at once, in one order
//	GET  stat      ?path=                     Stat
//	GET  ls        ?path=&page=&limit=&attr=  Listing, names in byte order; attr=1: with inodes
//	GET  cat       ?path=&offset=&length=     the bytes
//	GET  sums      ?path=&block=              Sums: which blocks of a file differ from another's
//	GET  xattrs    ?path=                     Xattr lines
//	GET  digest                               Digest of everything
//	GET  walk      ?path=                     WalkRow lines, depth first
//	GET  decided   ?after=                    DecidedRow lines, by shard, log and seq
//
// stat, ls, sums and xattrs with current=1 wait until the Store shows all that the
// log of the path's shard holds, as operations do. With writer=1 as well, a site that does
// not write answers EROFS with status 409, instead of what it has.
//
// JSON has units in its keys and schema 1. Bytes that are not UTF-8 are in KEY_b64. Lines are newline-delimited JSON; a
// stream that breaks off ends without the last HTTP chunk. An error is an Error
// with a status of 4xx or 5xx.
//
// # Frames of ops
//
// Little-endian; content travels as raw bytes. The client sends operations:
//
//	 0  u32 bytes behind this field     28  u32 uid
//	 4  u8  version 1, u8 0             32  u32 gid
//	 6  u16 op                          36  u32 mode
//	 8  u16 flags                       40  u64 offset (Write) or size (Truncate)
//	10  u16 bytes of path               48  i64 atime, ns
//	12  request id (16 bytes)           56  i64 mtime, ns
//	64  u16 bytes of target             66  path, target, data: the rest
//
// and the server answers each in turn, when it is applied and flushed there:
//
//	0  u32 bytes behind this field     12  u32 site
//	4  u8  kind 1 result, 2 end        16  incarnation (16 bytes)
//	5  u8  flag 1: repeated; end: code 32  u64 seq
//	6  u16 errno, 0 = done             40  text: the rest
//	8  u32 shard
//
// An end follows the last result: code 0 all answered, 1 try again later, 2 not
// without a change; errno EROFS with code 2: another site writes. Operations
// without a result then are in doubt: sent again with the same request id they happen once.
//
// Limits: an operation's frame 1 MiB + 16 KiB; 256 operations or 2 MiB are
// decided as one group of one shard; 16 streams at once, 4 MiB of memory each.
// It does not authenticate: the admin address is for loopback and trusted nets.
package fsapi
