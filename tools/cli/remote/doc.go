// Package remote asks a running node over the admin address: how it is, and to compare
// itself with its peers.
//
//	Status(addr) ──GET http://addr/v1/status──▶ engine.Status
//	Verify(addr) ──POST http://addr/v1/verify─▶ engine.VerifyProgress …, engine.VerifyReport
//
// An answer is whole, decoded and of schema 1, or an error: nobody there
// (ErrUnreachable), or something there that is not a node of this release
// (ErrAnswer). Limits: answers up to 64 MiB, 10 s for a status and for the first
// line of a verification. It holds no state and may be used by any goroutine. It does
// not retry: callers know how long
// they want to wait.
package remote
