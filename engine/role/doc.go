// Package role answers one question, for every room that asks it: who may write which log,
// at which epoch. It is pure.
//
// One site writes all logs of domain 0 in an epoch: the configured primary in the first one,
// [First], and in each later one the site that its number names ([WriterOf]). Both are constant in
// the life of a heart: where a higher epoch is heard, of a hello or a refusal, a new heart begins
// with it ([Role.Hear], [Role.Fenced]; docs/decisions/0017).
//
// Which site writes is durable state of a directory. A new directory does not know it
// yet: it may be a new site of a cluster in which another one writes, or the writer's own,
// replaced. Until it is founded, its default says nothing:
//
//	         every configured peer took our session, so it names the same primary,
//	         or there is no peer; or an operator named it, and VerifyWait passed
//	new ───────────────────────────────────────────────────────────────────────▶ founded
//	 │ ▲
//	 ▼ │ it takes our session, or we take its
//	refused: a peer names another primary
//
// [Directory] tells the two apart. A site that was started alone has it on record that it
// writes. While it holds no entry and has no peer, that is worth nothing: a flag may have
// been missing. It is taken off the record before there can be a peer.
//
// A site that had peers and is started without any takes no appends either: a flag may be
// missing, and the others may have gone on.
//
// # Where logs end
//
// [Next] numbers epochs, and [Ends] says where closed logs end, by START batches alone.
// docs/ends.md has the rules, and the bounded model that walks compare [Ends] with.
//
// # Invariants
//
//   - I5, one writer per domain and epoch: [Writers.Judge] is the only place that says
//     whether a batch comes from its writer, [Role.Own] the only one that says whether
//     this site writes. A peer's word counts against a directory that is not founded, and
//     against no other.
//
// # Limits
//
// One record per peer. No call costs more than the peers there are.
//
// # What it does not do
//
// It has no witness and no lease: an operator moves the writer.
// It admits nothing: package admission does, and asks here.
package role
